"""From a file to a model without writing Python: a definition drafted from a data source, trained, predicted."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.evaluate.datasource import Column, DataSource

from .conftest import Shell

pytestmark = [pytest.mark.spark, pytest.mark.dynamodb]

ROWS = 600
NASTY = 'x"); import os #'
# As the command infers them, and as people edit them: a number that is a category.
KINDS = {
    "At": ("timestamp", "text"),
    "station": ("int", "numeric"),
    "hr": ("int", "numeric"),
    "workingday": ("int", "binary"),
    "weathersit": ("int", "categorical"),
    "temp": ("double", "numeric"),
    "said": ("string", "text"),
    "Kind of day": ("string", "categorical"),
    NASTY: ("double", "numeric"),
    "cnt": ("double", "numeric"),
}
ASKED = ("--entity", "station", "--event-time", "At")


@pytest.fixture(scope="module")
def rides(shell: Shell) -> Path:
    random = np.random.default_rng(9)
    path = shell.home.parent / "rides.csv"
    with path.open("w", newline="") as out:
        lines = csv.writer(out)
        lines.writerow(KINDS)
        for row in range(ROWS):
            hour, working, weather = row % 24, row // 24 % 7 < 5, int(random.integers(1, 4))
            temp, other = round(float(random.normal(15, 5)), 1), round(float(random.normal()), 3)
            is_free = row // 24 % 10 == 3
            day = "it's a holiday" if is_free else "plain, or so"
            told = 100 + 30 * is_free + 6 * hour - 20 * working - 25 * (weather == 3) + 3 * temp + 10 * other
            count = round(told + float(random.normal(0, 2)), 1)
            at = f"2011-01-{1 + row // 24:02d} {hour:02d}:00:00"
            shown = "" if row % 40 == 0 else temp
            lines.writerow([at, row % 5, hour, int(working), weather, shown, f"ride {row}", day, other, count])
    source = DataSource(tuple(Column(name, *kind) for name, kind in KINDS.items()), "cnt")
    path.with_name("rides.csv.toml").write_text(source.to_toml())
    return path


def test_a_drafted_definition_trains_and_predicts(shell: Shell, rides: Path) -> None:
    made = shell.json("datasource", "rides.csv", "--definition", "./rides.py", *ASKED)
    assert (made["definition"], made["next"]) == ("rides.py:rides", "headrace run rides.py:rides --input rides.csv")
    text = (rides.parent / "rides.py").read_text()
    assert """Field("x_import_os", "double", aliases=('x"); import os #',))""" in text
    assert "# left out: 'said' (text, string)" in text
    assert 'OneHot("kind_of_day"),' in text

    ran = shell.json("run", "rides.py:rides", "--input", "rides.csv")
    assert (ran["entities"], ran["champion_after"]) == (5, 1)
    assert ran["held_out"]["records_seen"] == ROWS * 3 // 10
    assert ran["held_out"]["records_failed"] == 0
    with gzip.open(ran["held_out"]["predictions"], "rt", newline="") as lines:
        told = np.array(list(csv.reader(lines))[1:], dtype=float)
    missed = np.sqrt(((told[:, 1] - told[:, 0]) ** 2).mean())
    assert missed < 0.15 * told[:, 0].std(), "the noise is 2, and some temperatures are not known"

    with rides.open(newline="") as lines:
        held_out = list(csv.DictReader(lines))[-ROWS * 3 // 10 :]
    records = rides.with_name("records.jsonl")
    names = {"hr": "hr", "workingday": "workingday", "weathersit": "weathersit", "temp": "temp", NASTY: "x_import_os"}
    some: list[dict[str, Any]] = [
        {
            **{name: float(row[column]) if row[column] else None for column, name in names.items()},
            "kind_of_day": row["Kind of day"],
        }
        for row in held_out[:25]
    ]
    assert any(record["temp"] is None for record in some)
    records.write_text("".join(json.dumps(record) + "\n" for record in some))
    done = shell.run("predict", "rides.py:rides", "records.jsonl")
    single = [json.loads(line)["prediction"] for line in done.stdout.splitlines()]
    assert single == told[:25, 1].tolist()


def test_a_file_that_is_there_is_not_overwritten(shell: Shell, rides: Path) -> None:
    mine = rides.with_name("mine.py")
    mine.write_text("# mine\n")
    done = shell.run("datasource", "rides.csv", "--definition", "mine.py", *ASKED, expect=2)
    assert "mine.py is there already; name another file, or overwrite it: --replace" in done.stderr
    assert mine.read_text() == "# mine\n"
    assert "goes with --definition" in shell.run("datasource", "rides.csv", "--replace", expect=2).stderr
