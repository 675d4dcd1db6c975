"""The reader of one event loop says what the store says, and gets past throttling, cut answers and old connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import pytest
from dynamodb_stub import Faults, serving
from published import NOW, promote, publish, version

from headrace.errors import StoreError, StoreUnavailable
from headrace.schemas import Vector
from headrace.stores import open_store
from headrace.stores.dynamodb import DynamoDBStore
from headrace.stores.port import Champion, Held, ModelItem, SpeedItem, Version
from headrace.stores.reader import DynamoDBReader
from headrace.testing.plugin import SettingsFactory

T = TypeVar("T")
ENTITIES = [f"e{n}" for n in range(100)]


def asked(store: DynamoDBStore, question: Callable[[DynamoDBReader], Awaitable[T]], attempt_s: float = 2.0) -> T:
    """What a reader of the store says to a question."""

    async def ask() -> T:
        reader = store.reader(attempt_s)
        assert reader is not None
        try:
            return await question(reader)
        finally:
            await reader.close()

    return asyncio.run(ask())


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


@pytest.mark.dynamodb
def test_a_reader_says_what_the_store_says(dynamodb: str, headrace_settings: SettingsFactory) -> None:
    store = open_store(headrace_settings(endpoint=dynamodb).store, None)
    assert isinstance(store, DynamoDBStore)
    store.prepare()
    publish(store, "d", 1, {entity: version(1, 1) for entity in ENTITIES[:60]})
    publish(store, "d", 2, {"e0": None, "e1": version(2, 2)}, base=1)
    publish(store, "dd", 1, {"e0": version(7, 7)})
    item = SpeedItem(b"{}", "{}", Vector({("t", "0"): 3}))
    store.write_speed("d", 2, dict.fromkeys(ENTITIES[50:70], item))
    store.write_speed("d", 1, dict.fromkeys(ENTITIES[:3], item))
    store.write_model("d", 2, ModelItem('{"n":1}', Vector({("t", "0"): 3})))

    async def compare(reader: DynamoDBReader) -> None:
        assert await reader.heads("d", 0, soon()) == (store.champion("d"), None), "published, not promoted"
        for champion in (2, 1):
            promote(store, "d", champion)
            for known in (0, 1, 2):
                assert await reader.heads("d", known, soon()) == (store.champion("d"), store.progress("d", champion))
            store.take_over("d", champion, "driver", Vector({("t", "0"): champion}), NOW)
        for known in (0, 1, 2):
            assert await reader.heads("d", known, soon()) == (store.champion("d"), store.progress("d", 1))
        assert await reader.heads("-", 0, soon()) == (Champion(), None)
        assert await reader.ledger("d", soon()) == store.ledger("d")
        assert [await reader.entry("d", g, soon()) for g in (1, 2, 3)] == [*store.ledger("d"), None]
        assert [await reader.model("d", g, soon()) for g in (1, 2)] == [None, store.read_model("d", 2)]
        whole = store.read_speed("d", 2, ENTITIES)
        assert await reader.held("d", 2, ENTITIES, soon(), states=True) == whole
        bare = {entity: without_states(held) for entity, held in whole.items()}
        assert await reader.held("d", 2, ENTITIES, soon(), states=False) == bare
        for few in ([], ["e0"], ["nobody"], ["e1", "ü" * 2000]):
            assert await reader.held("d", 2, few, soon(), states=True) == store.read_speed("d", 2, few)
        for size in (7, 1000):
            assert await scanned(reader, size, whole=True) == bare
            assert set(await scanned(reader, size, whole=False)) == set(ENTITIES[50:70])

    async def scanned(reader: DynamoDBReader, size: int, *, whole: bool) -> dict[str, Held]:
        found: dict[str, Held] = {}
        start = None
        while True:
            page, start = await reader.page("d", start, size, soon(), generation=2, whole=whole)
            for entity, held in page:
                before = found.get(entity, Held())
                found[entity] = Held(held.versions or before.versions, held.speed or before.speed)
            if start is None:
                return found

    asked(store, compare)
    store.close()


def without_states(held: Held) -> Held:
    versions = {g: v if v.is_tombstone else Version(b"", v.outputs) for g, v in held.versions.items()}
    return Held(versions, None if held.speed is None else replace(held.speed, state=b""))


@pytest.mark.dynamodb
def test_a_table_that_is_not_there_is_named(dynamodb: str, headrace_settings: SettingsFactory) -> None:
    store = open_store(headrace_settings(endpoint=dynamodb).store, None)
    assert isinstance(store, DynamoDBStore)
    with pytest.raises(StoreError, match="the store's table does not exist"):
        asked(store, lambda reader: reader.heads("d", 0, soon()))


@pytest.mark.parametrize(
    "faults",
    [Faults(calls=0.5), Faults(errors=0.5), Faults(unprocessed=0.5), Faults(lost=0.5)],
    ids=["throttled", "failing", "unprocessed", "cut"],
)
def test_half_of_everything_may_fail(faults: Faults) -> None:
    with serving(faults) as stub:
        stub.items = {(f"d#{e}", "batch"): {"v00000001": {"M": {"s": {"B": ""}, "o": {"S": e}}}} for e in ENTITIES}
        store = DynamoDBStore("headrace", "us-east-1", stub.endpoint)

        async def many(reader: DynamoDBReader) -> list[dict[str, Held]]:
            return list(await asyncio.gather(*(held(reader) for _ in range(20))))

        async def held(reader: DynamoDBReader) -> dict[str, Held]:
            return await reader.held("d", 1, ENTITIES, soon(), states=False)

        for found in asked(store, many):
            assert {entity: held.versions[1].outputs for entity, held in found.items()} == {e: e for e in ENTITIES}
        assert len(stub.calls) > 40, "something was repeated"
        assert len(stub.calls) < 40 * 12, "and not in a loop"
        store.close()


def test_a_store_that_is_slow_or_silent_is_given_up_in_time() -> None:
    with serving(latency_s=1.0) as stub:
        store = DynamoDBStore("headrace", "us-east-1", stub.endpoint)

        async def late(reader: DynamoDBReader) -> None:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="did not answer in time"):
                await reader.held("d", 1, ["a"], soon(0.3), states=False)
            assert time.monotonic() - began < 0.8

        asked(store, late, attempt_s=0.1)
        store.close()


def test_an_address_where_nobody_listens_is_given_up_in_time() -> None:
    store = DynamoDBStore("headrace", "us-east-1", "http://127.0.0.1:9")

    async def refused(reader: DynamoDBReader) -> None:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="did not answer in time; found no connection"):
            await reader.heads("d", 0, soon(0.3))
        assert time.monotonic() - began < 0.8

    asked(store, refused)
    store.close()


def test_connections_are_bounded_and_used_again() -> None:
    with serving(latency_s=0.02) as stub:
        store = DynamoDBStore("headrace", "us-east-1", stub.endpoint)

        async def many(reader: DynamoDBReader) -> None:
            for _ in range(2):
                await asyncio.gather(*(reader.held("d", 1, ["a"], soon(), states=False) for _ in range(200)))

        asked(store, many)
        assert len(stub.calls) == 400
        assert stub.connections <= 64
        store.close()
