"""The challenger in the champion's shadow, against what a promotion really makes of it."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from overseen import STREAM, overseen
from published import NOW, ledger_info, promote, publish, version

from headrace.batch.promote import challenge
from headrace.batch.promote import promote as flip
from headrace.cli import main
from headrace.config import load
from headrace.definitions.finish import outputs_json
from headrace.errors import AnswerIsNo
from headrace.report import write_comparison
from headrace.schemas import Vector
from headrace.serving.lookup import Lookups
from headrace.serving.shadow import shadow
from headrace.stores import open_store
from headrace.stores.memory import MemoryStore
from headrace.stores.port import SpeedItem


def test_a_comparison_tells_what_differs_and_how_far_each_has_counted() -> None:
    store = overseen()
    challenge(store, "segments", 4)
    found = shadow(store, "segments", now=NOW)
    told = found.to_json()
    assert [told[name] for name in ("champion", "challenger", "compared", "differing")] == [3, 4, 2, 1]
    # The stream was counted for the champion alone; the cut of 4 is a hundred positions later.
    assert (told["behind"], told["ahead"], told["whole"]) == (65, 100, True)
    assert told["outputs"]["cluster"]["gap"]["max"] == 1.0
    assert told["outputs"]["segment"]["changes"] == [{"from": "Champions", "to": "Can't Lose", "entities": 1}]
    assert told["examples"][0]["entity"] == "17850"
    assert "1 of 2 predictions differ (50.0 %); it has counted 65 positions less and 100 more" in found.text
    report = found.to_report(NOW)
    assert (report.kind, report.generation, report.ok) == ("compare", 4, None)
    assert "17850" not in report.facts_text


def test_without_a_challenger_it_says_how_to_name_one() -> None:
    store = overseen()
    with pytest.raises(AnswerIsNo, match="no challenger; found none is named; name one: headrace promote segments"):
        shadow(store, "segments", now=NOW)
    with pytest.raises(AnswerIsNo, match=r"generation 9 .* cannot be compared; found it is not in the table"):
        shadow(store, "segments", now=NOW, generation=9)
    assert shadow(store, "segments", now=NOW, generation=2).challenger == 2


@pytest.mark.parametrize("seed", range(5))
def test_the_challenger_is_answered_as_it_is_once_it_is_promoted(seed: int) -> None:
    """Random publications and streams; the oracle is a look-up after the promotion."""
    draw = random.Random(seed)
    keys = [f"k{n}" for n in range(250)]
    store = MemoryStore()

    def content() -> dict[str, object]:
        chosen = (key for key in keys if draw.random() < 0.5)
        return {key: draw.choice([None, version(draw.randint(0, 2), draw.randint(0, 2))]) for key in chosen}

    publish(store, "segments", 1, {key: version(0, 0) for key in keys if draw.random() < 0.8})
    promote(store, "segments", 1)
    publish(store, "segments", 2, content(), base=1)  # type: ignore[arg-type]
    publish(store, "segments", 3, content(), base=draw.choice([1, 2]))  # type: ignore[arg-type]
    for generation in (1, 3):
        for key in (*keys[:40], "stream-only"):
            if draw.random() < 0.5:
                outputs = outputs_json({"recency": 0}, {"cluster": draw.randint(0, 2)})
                item = SpeedItem(b"{}", outputs, Vector({(STREAM, "0"): 4}), 1)
                store.write_speed("segments", generation, {key: item})
    challenge(store, "segments", 3)
    found = shadow(store, "segments", now=NOW)

    def predictions() -> dict[str, object]:
        lookups = Lookups(store, 0, lambda: NOW)
        asked = [*keys, "stream-only"]
        told = (a for n in range(0, len(asked), 100) for a in lookups.many("segments", asked[n : n + 100]).answers)
        return {answer.entity: dict(answer.prediction) for answer in told}

    before = predictions()
    flip(store, "segments", 3, now=NOW)
    after = predictions()
    both = before.keys() & after.keys()
    assert found.found.compared == len(both)
    assert found.found.differing == sum(before[key] != after[key] for key in both)
    assert found.found.only_champion == len(before.keys() - after.keys())
    assert found.found.only_challenger == len(after.keys() - before.keys())


def test_a_sample_is_bounded_and_said_to_be_one() -> None:
    store = MemoryStore()
    publish(store, "segments", 1, {f"k{n}": version(0, 0) for n in range(300)})
    promote(store, "segments", 1)
    publish(store, "segments", 2, {f"k{n}": version(0, 1) for n in range(300)}, base=1)
    challenge(store, "segments", 2)
    advanced: list[int] = []
    found = shadow(store, "segments", now=NOW, sample=250, advance=advanced.append)
    assert (found.found.compared, found.whole, advanced) == (250, False, [100, 100, 50])
    assert shadow(store, "segments", now=NOW, sample=301).whole


def test_the_page_tells_all_and_nothing_of_a_name_is_markup(tmp_path: Path) -> None:
    store = MemoryStore()
    publish(store, "segments", 1, {"<b>": version(0, 0)}, **ledger_info(1))
    promote(store, "segments", 1)
    publish(store, "segments", 2, {"<b>": version(0, 5)}, base=1)
    found = shadow(store, "segments", now=NOW, generation=2)
    text = write_comparison(tmp_path / "page.html", found.text, found.to_json()).read_text("utf-8")
    assert "challenger 2 against champion 1" in text
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert not re.search(r"https?://|<script|src=", text)


def test_the_commands_name_compare_and_unname(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ["--set", f"home={tmp_path}", "--set", "store.kind=memory", "--set", "store.table=test-shadow", "--json"]
    store = open_store(load([own[1], own[3], own[5]], "local").store, None)
    publish(store, "segments", 1, {"a": version(0, 0), "b": version(1, 1)})
    promote(store, "segments", 1)
    publish(store, "segments", 2, {"a": version(0, 3)}, base=1)

    def ran(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main([*arguments, *own])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out or said.err

    assert ran("compare", "segments")[0] == 1
    assert json.loads(ran("promote", "segments", "-g", "2", "--as", "challenger")[1])["challenger"] == 2
    code, said = ran("compare", "segments", "--all")
    told = json.loads(said)
    assert (code, told["compared"], told["differing"], told["share"]) == (0, 2, 1, 0.5)
    assert Path(told["report"]).read_text("utf-8").startswith("<!doctype html>")
    assert [report.kind for report in store.reports("segments")] == ["compare"]
    rows = json.loads(ran("generations", "segments")[1])["generations"]
    assert [row["champion"] for row in rows] == ["champion", "challenger"]
    assert json.loads(ran("rollback", "segments", "--as", "challenger")[1])["challenger"] is None
