"""`python -m bench [NAME ...|all] [--plots FOLDER]`: one JSON object a metric on standard output.

NAME: one of BENCHES. Needs bench/.venv with the peers (make bench sets it up), and some of them data in $HEADRACE_DATA;
says plainly what is absent. FOLDER: where `divergence` draws.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from bench.divergence_data import FILES
from bench.measure import Metric
from bench.peers import PEER_PYTHON
from headrace import config

_RETAIL = "online_retail/online-retail-dataset.csv.gz"
# What each reads in $HEADRACE_DATA.
BENCHES: dict[str, tuple[str, ...]] = {
    "rfm": (_RETAIL,),
    "publishing": (),
    "guarded": (),
    "starting": (_RETAIL,),
    "freshness": (),
    "catchup": (),
    "kinesis": (),
    "cassandra": (_RETAIL,),
    "sales": (),
    "divergence": FILES,
    "as_of": (),
    "scoring": (),
    "contribution": (),
    "lookups": (),
}


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m bench", description=__doc__.replace("BENCHES", ", ".join(BENCHES)))
    asked.add_argument("names", nargs="*", metavar="NAME")
    asked.add_argument("--plots", type=Path, default=Path(".headrace/plots"), metavar="FOLDER")
    options = asked.parse_args()
    names = [name for name in options.names if name != "all"] or list(BENCHES)
    unknown = sorted({*names} - {*BENCHES})
    folder = config.data_folder() or Path("nowhere")
    absent = sorted({file for name in names for file in BENCHES.get(name, ()) if not (folder / file).is_file()})
    for problem in (
        f"unknown bench {unknown}; there are {', '.join(BENCHES)}" if unknown else "",
        "" if PEER_PYTHON.exists() else "bench/.venv is absent: run `make bench`, which sets up the peers",
        f"data is absent: set HEADRACE_DATA to a folder that holds {', '.join(absent)}" if absent else "",
    ):
        if problem:
            sys.stderr.write(f"bench: {problem}\n")
            return 2
    sys.stderr.write(f"{platform.platform()}, Python {platform.python_version()}\n")
    for name in names:
        with tempfile.TemporaryDirectory(prefix="headrace-bench-") as work:
            for metric in _measured(name, Path(work), folder, options.plots):
                sys.stdout.write(json.dumps(metric.to_json()) + "\n")
                sys.stdout.flush()
    return 0


def _measured(name: str, work: Path, data: Path, plots: Path) -> Iterator[Metric]:
    run = import_module(f"bench.{name}").run
    yield from run(work, data, plots) if name == "divergence" else run(work, data / _RETAIL)


if __name__ == "__main__":
    sys.exit(main())
