"""The challenger scores what the champion is asked to, beside the answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from published import FITTED, LEARNER, NOW, learned, promote, publish, version
from starlette.testclient import TestClient

from headrace.batch.promote import challenge
from headrace.config import load
from headrace.serving.api import create_app
from headrace.serving.lookup import Lookups
from headrace.serving.reading import InThreads
from headrace.serving.rehearsal import CAPACITY, Rehearsal
from headrace.stores.memory import MemoryStore

RECORDS = [{"temperature": 20, "wind": 3.0}, {"temperature": 10.0, "wind": 5}]


@pytest.fixture
def store() -> MemoryStore:
    """The challenger, 2, tells 10 more wherever the temperature is not the mean."""
    made = MemoryStore()
    publish(made, "rides", 1, {"a": version(1, 1)}, **learned())
    promote(made, "rides", 1)
    steeper = learned()
    steeper["theta"] = {**steeper["theta"], "learner": {**FITTED, "coefficients": [1.2, -0.5]}}
    publish(made, "rides", 2, {"a": version(1, 2)}, **steeper)
    challenge(made, "rides", 2)
    return made


def rehearsal(store: MemoryStore, **changed: Any) -> Rehearsal:
    options = {"share": 1.0, "cache_s": 0.0, "timeout_s": 5.0} | changed
    return Rehearsal(InThreads(store), lambda: NOW, **options)


def offer(store: MemoryStore, to: Rehearsal, records: list[Any] = RECORDS) -> None:
    scorer = Lookups(store, 0, lambda: NOW).scorer("rides")
    to.offer("rides", scorer.served, records, scorer.predict(records, now=NOW), live=True)


def run(made: Rehearsal, until: Callable[[], bool]) -> None:
    async def going() -> None:
        task = asyncio.create_task(made.run())
        async with asyncio.timeout(10):
            while not until():
                await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(going())


def test_what_differs_is_told_without_any_record(store: MemoryStore) -> None:
    made = rehearsal(store)
    for _ in range(3):
        offer(store, made, [*RECORDS, None])
    run(made, lambda: made.counts["rides"].compared == 6 if made.counts else False)
    told = made.told("rides")
    assert told is not None
    assert [told[name] for name in ("champion", "challenger", "compared", "differing", "refused")] == [1, 2, 6, 3, 0]
    assert told["outputs"]["prediction"]["gap"]["max"] == pytest.approx(10.0)
    assert "examples" not in told
    assert (made.counts["rides"].differing, made.counts["rides"].dropped) == (3, 0)
    assert made.told("other") is None


def test_without_a_challenger_or_beyond_the_share_nothing_waits(store: MemoryStore) -> None:
    none = rehearsal(store, share=0.0)
    offer(store, none)
    challenge(store, "rides", None)
    alone = rehearsal(store)
    offer(store, alone)
    assert (none.counts, alone.counts) == ({}, {})
    assert (none.told("rides"), alone.told("rides")) == (None, None)


def test_what_it_has_no_room_for_is_counted_and_not_waited_for(store: MemoryStore) -> None:
    made = rehearsal(store)
    for _ in range(CAPACITY + 2):
        offer(store, made)
    assert made.counts["rides"].dropped == 2 * len(RECORDS)


def test_a_challenger_that_reads_other_fields_refuses(store: MemoryStore) -> None:
    other = learned()
    other["description"] = {**other["description"], "learner": type(LEARNER)(("temperature", "rain")).describe()}
    other["theta"] = {**other["theta"], "learner": {**FITTED, "features": ["temperature", "rain"]}}
    publish(store, "rides", 3, {"a": version(1, 2)}, **other)
    challenge(store, "rides", 3)
    made = rehearsal(store)
    offer(store, made)
    run(made, lambda: (made.told("rides") or {}).get("refused") == len(RECORDS))
    assert made.told("rides")["compared"] == 0


def test_a_challenger_without_a_learner_is_dropped_and_the_next_is_asked(store: MemoryStore) -> None:
    publish(store, "rides", 3, {"a": version(1, 2)})
    challenge(store, "rides", 3)
    made = rehearsal(store)
    offer(store, made)
    challenge(store, "rides", 2)
    offer(store, made)
    run(made, lambda: bool(made.counts) and made.counts["rides"].compared == len(RECORDS))
    assert made.counts["rides"].dropped == len(RECORDS)


def test_a_server_tells_of_it_and_of_what_was_not_logged(store: MemoryStore, tmp_path: Path) -> None:
    asked = ["serve.shadow_share=1", "serve.logged_share=1", "serve.require_token=false", f"home={tmp_path}"]
    app = create_app(load(asked, "local"), store, lambda: NOW, None)
    (tmp_path / "answers").write_text("no folder", "utf-8")
    with TestClient(app) as client:
        for _ in range(2):
            assert (
                client.post(
                    "/v1/models/rides:predict",
                    content=json.dumps({"records": RECORDS}),
                    headers={"Content-Type": "application/json"},
                ).status_code
                == 200
            )
        assert client.get("/v1/predictions/rides/a").status_code == 200
        text = ""
        for _ in range(500):
            text = client.get("/metrics").text
            if 'shadow_compared_total{definition="rides"} 4.0' in text and "answers_dropped_total 1.0" in text:
                break
        assert 'headrace_shadow_compared_total{definition="rides"} 4.0' in text
        assert 'headrace_shadow_differing_total{definition="rides"} 2.0' in text
        assert "headrace_answers_dropped_total 1.0" in text
        assert client.get("/v1/definitions/rides").json()["shadow"]["differing"] == 2
