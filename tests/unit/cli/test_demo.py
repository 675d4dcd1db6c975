"""What the demo is made of, up to where it starts Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner

from headrace.cli import demo
from headrace.schemas.lake import events_path
from headrace.sources import online_retail
from headrace.sources.purchases import write_purchases


class Reached(Exception):
    """Spark would be started now."""


def test_generated_purchases_are_taken_though_others_have_landed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    purchases = write_purchases(tmp_path / "purchases.csv", customers=20, rows=400, seed=7)
    log = events_path(tmp_path / "home" / "lake", "purchases") / "_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json").touch()
    generated = online_retail.Found(purchases, "generated", "GENERATED DATA IS USED")
    monkeypatch.setattr(online_retail, "find", lambda *_: generated)

    def reached(*_: Any) -> NoReturn:
        raise Reached

    monkeypatch.setattr(demo, "opened_spark", reached)
    settings = [f"home={tmp_path / 'home'}", "store.endpoint=http://127.0.0.1:1", "kafka.bootstrap=127.0.0.1:1"]
    ended = CliRunner().invoke(demo.demo, [word for one in settings for word in ("--set", one)])
    assert isinstance(ended.exception, Reached), ended.output
    assert "GENERATED DATA IS USED" in ended.output
    parts = {path.name: path.read_text("utf-8").count("\n") for path in tmp_path.glob("home/demo/data/*/*.csv")}
    assert sum(parts.values()) == 402, "every purchase on one side of the cut, under a head each"
    assert min(parts["history.csv"], parts["live.csv"]) > 1
