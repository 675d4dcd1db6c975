"""The gate of a definition from training to promotion, on Spark and DynamoDB Local."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tapped import events, history_file, taps

from headrace.batch.lease import owner_name
from headrace.batch.promote import promote
from headrace.batch.run import run
from headrace.cli import main
from headrace.config import Settings
from headrace.definitions import Definition, Gate
from headrace.errors import GateRefused
from headrace.evaluate.gate import Verdict
from headrace.registry import Registry
from headrace.stores import Opening
from headrace.stores.port import Store

pytestmark = [pytest.mark.spark, pytest.mark.dynamodb]


@pytest.fixture
def settings(headrace_settings: Any, dynamodb: str) -> Settings:
    made: Settings = headrace_settings(endpoint=dynamodb)
    return made


@pytest.fixture
def store(settings: Settings, dynamodb: str) -> Iterator[Store]:
    opened = Opening(settings.store, dynamodb, 20).open()
    opened.prepare()
    yield opened
    opened.close()


def ran(spark: Any, settings: Settings, definition: Definition, source: Path | None, *, force: bool) -> list[str]:
    said: list[str] = []

    def promoted(store: Store, generation: int) -> Any:
        return promote(store, definition.name, generation, now=datetime.now(UTC), force=force)

    run(spark, settings, definition, source, owner=owner_name(), say=said.append, promote=promoted, force=force)
    return said


def test_what_fails_its_gate_is_sealed_and_served_by_force_alone(
    spark: Any, settings: Settings, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = events(200, seed=1)
    gated = dataclasses.replace(taps("taps"), gate=Gate("rmse", at_most=0.5, share=0.4))
    with pytest.raises(GateRefused, match=r"fails its gate by .*expected at most 0\.5; it is sealed, not published"):
        ran(spark, settings, gated, history_file(tmp_path / "one.csv", rows), force=False)
    assert (store.champion("taps").generation, list(store.ledger("taps"))) == (0, [])
    manifest = Registry(settings.registry).load("taps", 1).manifest
    held_out, verdict = manifest.metrics["held_out"], Verdict.of(manifest.gate or {})
    assert verdict.found == held_out["rmse"]
    assert held_out["rows"] == pytest.approx(80, abs=30)
    assert manifest.metrics["rows"] == 200, "what is sealed was fitted on all"
    # x has nothing to do with y, so the error is about the spread of x.
    assert held_out["rmse"] == pytest.approx(np.std([row["x"] for row in rows]), rel=0.2)

    said = ran(spark, settings, gated, None, force=True)
    assert f"gate: {verdict.text}; served all the same" in said
    assert store.champion("taps").generation == 1, "the sealed one was taken up, not trained again"
    assert [entry.info["gate"] for entry in store.ledger("taps")] == [manifest.gate]

    options = ["--set", f"store.endpoint={settings.store.endpoint}", "--set", f"store.table={settings.store.table}"]
    champion = store.champion("taps")
    store.set_champion("taps", champion.epoch, dataclasses.replace(champion, generation=0, epoch=champion.epoch + 1))
    with pytest.raises(SystemExit) as ended:
        main(["promote", "taps", *options])
    assert ended.value.code == 1
    assert f"fails its gate by {verdict.fails_by:g}" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["promote", "taps", "--force", "--json", *options])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["gate"]["fails_by"] == verdict.fails_by
    assert store.champion("taps").generation == 1
