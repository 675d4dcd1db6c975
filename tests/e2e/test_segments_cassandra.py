"""The segments case from Cassandra, by its notebook: load, explore, run, write back, prove, clean up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from online_retail_facts import SEGMENT_COUNTS

from .conftest import Shell

# A Cassandra and six sessions of Spark: minutes.
pytestmark = [pytest.mark.spark, pytest.mark.cassandra, pytest.mark.dynamodb, pytest.mark.slow]

DATA = Path(os.environ.get("HEADRACE_DATA", "/nonexistent")) / "online_retail" / "online-retail-dataset.csv.gz"
NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "segments.ipynb"
KEYSPACE = "cassandra.keyspace=shop"


@pytest.fixture(scope="module")
def told(shell: Shell) -> str:
    """What the notebook prints, run from top to bottom on the real file."""
    if not DATA.is_file():
        pytest.skip("Online Retail is not here: set HEADRACE_DATA to a folder that holds online_retail/")
    shell.run("up", "cassandra")
    cells = [cell for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] for cell in cells)
    script = shell.home.parent / "notebook.py"
    script.write_text("\n\n".join("".join(cell["source"]) for cell in cells), "utf-8")
    variables = {"SEGMENTS_FILE": str(DATA), "SEGMENTS_SETTINGS": json.dumps([KEYSPACE])}
    done = subprocess.run(
        [sys.executable, str(script)],
        check=False,
        env={**shell.environment, **variables},
        cwd=shell.home.parent,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def again(shell: Shell, *arguments: str) -> Any:
    return shell.json(*arguments, "--set", "source=cassandra", "--set", KEYSPACE)


def test_every_fact_of_the_case_comes_out(told: str) -> None:
    assert "541,909 rows in shop.online_retail" in told
    assert "541,909 rows, 536,641 of them distinct" in told
    assert "4,372 customers, inertia 16." in told or "4,372 customers, inertia 17.0" in told
    for segment, customers in SEGMENT_COUNTS.items():
        assert f"{segment:<22}{customers:>7,}" in told
    assert "4,372 keys, no difference" in told


def test_later_runs_use_the_snapshot_and_nothing_is_left_after_cleanup(shell: Shell, told: str) -> None:
    ran = again(shell, "run", "segments")
    assert "ago; --refresh reads it anew" in ran["note"]
    assert ran["entities"] == 4372
    assert sum(ran["counts"]["cluster"].values()) == 4372
    assert ran["results"]["rows"] == 6

    listed = again(shell, "cleanup")
    assert [one["drops"] for one in listed["found"]] == [True] * 4
    assert again(shell, "cleanup", "--yes")["dropped"] == 4
    assert again(shell, "cleanup") == {"found": [], "dropped": 0}
    gone = shell.run("run", "segments", "--set", "source=cassandra", "--set", KEYSPACE, expect=2)
    assert "there is no keyspace 'shop'" in gone.stderr
