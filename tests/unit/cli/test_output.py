"""What commands print."""

from __future__ import annotations

import json

import pytest

from headrace.cli.output import fields, show, table


def test_a_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    told = fields({"[/a]": "binary", "[red]b": "numeric", "report": "/tmp/" + "long/" * 40 + "page.html"})
    show(False, {}, lambda: told)
    assert capsys.readouterr().out == told + "\n"


def test_json_is_one_line_and_asks_for_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    show(True, {"[/a]": 1}, lambda: pytest.fail("the text is not wanted"))
    assert json.loads(capsys.readouterr().out) == {"[/a]": 1}


def test_a_cell_that_does_not_fit_is_folded_rather_than_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    show(False, {}, lambda: table([{"generation": 1, "created_at": "2026-11-23T03:11:39+00:00"}], "none"))
    out = capsys.readouterr().out
    assert "…" not in out
    assert "39+00:00" in "".join(line.split("│")[-2].strip() for line in out.splitlines() if "│" in line)
