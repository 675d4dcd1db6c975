"""Audit the locked Python dependencies for known vulnerabilities: exit 1 when one is found or one cannot be audited.

Where the database of vulnerabilities does not answer it says NOT RUN and exits 0. That it answers is shown first, by a
package version whose vulnerabilities are public: a mirror that knows packages but not their vulnerabilities would find
none in anything.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements/run.txt", "requirements/dev.txt")
# Source: PYSEC-2019-217, a sandbox escape.
CANARY = "jinja2==2.10"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder) / "canary.txt"
        canary.write_text(f"{CANARY}\n", "utf-8")
        known = audited("--no-deps", "-r", str(canary))
    if known is None or not any(found for found in vulnerable(known)):
        sys.stdout.write(
            f"dependency audit: NOT RUN: the database does not answer here (of {CANARY} it knows nothing)\n"
        )
        return 0
    files = [argument for lock in LOCKS for argument in ("-r", str(ROOT / lock))]
    report = audited("--require-hashes", *files)
    if report is None:
        sys.stdout.write("dependency audit: FAILED: it began, and did not end\n")
        return 1
    found, left_out = vulnerable(report), unaudited(report)
    for line in [*found, *left_out]:
        sys.stdout.write(f"{line}\n")
    total = len(report["dependencies"])
    sys.stdout.write(f"dependency audit: {total} packages, {len(found)} vulnerable, {len(left_out)} not audited\n")
    return 1 if found or left_out else 0


def audited(*arguments: str) -> Mapping[str, Any] | None:
    """pip-audit's report; None where it makes none."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--progress-spinner", "off", "-f", "json"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=900)  # noqa: S603
    try:
        report: Mapping[str, Any] = json.loads(done.stdout)
    except ValueError:
        sys.stderr.write(done.stderr)
        return None
    return report


def vulnerable(report: Mapping[str, Any]) -> list[str]:
    """A line for each package version with vulnerabilities: their names, and the versions that mend them."""
    return [
        f"{one['name']} {one['version']}: "
        + "; ".join(f"{v['id']} (mended in {', '.join(v['fix_versions']) or 'no version'})" for v in one["vulns"])
        for one in report["dependencies"]
        if one.get("vulns")
    ]


def unaudited(report: Mapping[str, Any]) -> list[str]:
    """A line for each package that the database could not be asked about."""
    return [f"{one['name']}: {one['skip_reason']}" for one in report["dependencies"] if "skip_reason" in one]


if __name__ == "__main__":
    sys.exit(main())
