"""What must be true of the repository as a whole."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIB = ROOT / "lib" / "headrace"
# The public defaults, and addresses that are names of formats, examples, data sets or the machine itself.
HOSTS = {
    "repo1.maven.org",
    "github.com",
    "www.apache.org",
    "127.0.0.1",
    "localhost",
}
REGISTRY = re.compile(r"(?i)(maven|pypi|artifact|nexus|mirror|registry|repo|simple|jfrog|index)")
MAX_LINES = 300


def tracked(*paths: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", *paths], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    return path.read_text("utf-8", errors="replace")


def test_git_tracks_the_package():
    # the stock .gitignore of Python projects ignores lib/
    assert LIB / "__init__.py" in tracked("lib")


@pytest.mark.parametrize("name", ["LICENSE", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "README.md", ".ci/run"])
def test_the_papers_are_there(name):
    assert (ROOT / name).stat().st_size > 0
    assert "Apache License" in text_of(ROOT / "LICENSE")


def test_nothing_names_a_folder_of_somebodys_machine():
    # .ci/run alone may default the data folder to a neighbour of the checkout
    elsewhere = re.compile(r"(?<![\w.])/(work|home|root|Users)/\w|\.\./shared")
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in tracked()
        if path != ROOT / ".ci" / "run" and path != Path(__file__)
        for match in elsewhere.finditer(text_of(path))
    }
    assert found == set()


def test_locks_and_settings_name_no_repository_but_the_public_defaults():
    found = {
        f"{path.relative_to(ROOT)}: {host}"
        for path in tracked("lib", "conf", "requirements", "bench", "Makefile", "README.md", "setup.py")
        for host in re.findall(r"https?://([\w.-]+)", text_of(path))
        if host not in HOSTS and REGISTRY.search(host)
    }
    assert found == set()
    options = re.compile(r"^\s*(--index-url|--extra-index-url|--find-links|--trusted-host|-i |-f )", re.MULTILINE)
    assert [path.name for path in tracked("requirements", "bench") if options.search(text_of(path))] == []


def test_the_package_runs_no_text_and_unpickles_nothing():
    dangerous = re.compile(r"\b(pickle|dill|joblib)\b|(?<![\w.])(eval|exec)\(|shell=True")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted(LIB.rglob("*.py"))
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if dangerous.search(line)
    ]
    assert found == []


def test_files_are_short():
    long = {
        str(path.relative_to(ROOT)): count
        for path in sorted(LIB.rglob("*.py"))
        if (count := len(text_of(path).splitlines())) > MAX_LINES
    }
    assert long == {}


def test_help_imports_no_engine():
    heavy = ("pyspark", "pandas", "boto3", "pyarrow", "fastapi", "matplotlib")
    code = (
        "import sys\n"
        "from headrace.cli import main\n"
        "try:\n    main(['--help'])\n"
        f"finally:\n    print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Commands:" in done.stdout
    assert done.stdout.strip().endswith("[]")


def test_bench_names_what_there_is():
    done = subprocess.run(
        [sys.executable, "-m", "headrace.cli", "bench", "rmf", "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "unknown bench ['rmf']; there are rfm, publishing" in done.stderr
