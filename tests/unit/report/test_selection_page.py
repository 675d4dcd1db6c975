"""A selection's table and page: every number is told, refusals too, and nothing of a name is markup."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rich.console import Console

from headrace.evaluate.metrics import Metric
from headrace.evaluate.selection import Selection, Trial
from headrace.report import selection_summary, selection_to_json, write_selection

TURNS = [({"auc": 0.51, "f1_0": 0.3, "rows": 9}, {"auc": 0.53, "f1_0": 0.5, "rows": 8}), ({"auc": 0.75}, {"auc": 0.75})]
FOUND = Selection(
    Metric("auc", greater_is_better=True),
    (
        Trial({"ridge": 0.1, "model": "a<b"}, TURNS[0]),
        Trial({"ridge": 1.0, "model": "a<b"}, TURNS[1]),
        Trial({"ridge": 9.0, "model": "a<b"}, refusal="no sample of class <2>"),
    ),
)


def test_the_table_marks_the_best_and_names_what_was_refused() -> None:
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(selection_summary(FOUND, Path("/r/taps.html")))
    lines = capture.get().splitlines()
    assert [[cell.strip() for cell in line.split("│") if cell.strip()] for line in lines if "a<b" in line] == [
        ["0.1", "a<b", "0.52", "0.014142"],
        ["best", "1.0", "a<b", "0.75", "0"],
        ["9.0", "a<b"],
        ["ridge=9.0, model=a<b was refused: no sample of class <2>"],
    ]
    assert "report /r/taps.html" in lines[-1]


def test_the_json_has_every_turn() -> None:
    told = json.loads(json.dumps(selection_to_json(FOUND)))
    assert (told["metric"], told["greater_is_better"], told["best"]) == ("auc", True, {"ridge": 1.0, "model": "a<b"})
    first, _, refused = told["trials"]
    assert first["mean"] == {"auc": 0.52, "f1_0": 0.4, "rows": 8.5}
    assert first["turns"] == list(TURNS[0])
    assert refused == {"settings": {"ridge": 9.0, "model": "a<b"}, "refusal": "no sample of class <2>"}


def test_the_page_loads_nothing_and_escapes_names(tmp_path: Path) -> None:
    text = write_selection(tmp_path / "reports" / "taps.html", "taps", FOUND).read_text("utf-8")
    assert "best: ridge=1.0, model=a&lt;b" in text
    assert "no sample of class &lt;2&gt;" in text
    assert "a<b" not in text
    assert "± auc" in text
    assert "0.014142" in text
    assert text.count("<svg") == 1
    assert not re.search(r"https?://|<script|src=", text)
