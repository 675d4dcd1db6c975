"""`headrace bench`: the side-by-side measurements of a source checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

import headrace
from headrace.errors import TerminalError


@click.command()
@click.argument("names", nargs=-1, metavar="NAME|all ...", required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a metric (there is no other form).")
def bench(names: tuple[str, ...], as_json: bool) -> int:  # noqa: ARG001 - the contract has it
    """Measure against peers, side by side; `make bench` sets the peers up and runs them all.

    One JSON object a metric: metric, ours, peer, ratio, spread, target, met.
    """
    checkout = Path(headrace.__file__).resolve().parents[2]
    if not (checkout / "bench" / "__main__.py").is_file():
        raise TerminalError(
            "the benches are not in the installed package",
            found=str(checkout),
            expected="a source checkout",
            do="clone the project and run `make bench` there",
        )
    return subprocess.run([sys.executable, "-m", "bench", *names], cwd=checkout, check=False).returncode  # noqa: S603
