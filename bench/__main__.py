"""`python -m bench [NAME ...|all]`: one JSON object a metric on standard output.

NAME: rfm, publishing, guarded, starting, freshness, catchup. Needs bench/.venv with the peers (make bench sets it
up) and Online Retail in $HEADRACE_DATA; says plainly what is absent.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from bench.peers import PEER_PYTHON
from headrace import config

NAMES = ("rfm", "publishing", "guarded", "starting", "freshness", "catchup")


def main() -> int:
    asked = [name for name in sys.argv[1:] if name != "all"] or list(NAMES)
    unknown = sorted({*asked} - {*NAMES})
    folder = config.data_folder()
    source = (folder or Path("nowhere")) / "online_retail" / "online-retail-dataset.csv.gz"
    for problem in (
        f"unknown bench {unknown}; there are {', '.join(NAMES)}" if unknown else "",
        "" if PEER_PYTHON.exists() else "bench/.venv is absent: run `make bench`, which sets up the peers",
        "" if source.is_file() else "Online Retail is absent: set HEADRACE_DATA to a folder that holds online_retail/",
    ):
        if problem:
            sys.stderr.write(f"bench: {problem}\n")
            return 2
    sys.stderr.write(f"{platform.platform()}, Python {platform.python_version()}\n")
    for name in asked:
        with tempfile.TemporaryDirectory(prefix="headrace-bench-") as work:
            for metric in import_module(f"bench.{name}").run(Path(work), source):
                sys.stdout.write(json.dumps(metric.to_json()) + "\n")
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
