"""The store in DynamoDB keeps the contract, on DynamoDB Local."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from store_cases import NOW, ONE, SEGMENTS, TTL, TWO, begin, entry, go, publish, served, together, version
from store_suite import StoreSuite

from headrace.errors import LeaseHeld, StoreError
from headrace.schemas import Vector
from headrace.stores.dynamodb import DynamoDBStore
from headrace.stores.port import LedgerEntry, Progress, Store, Version, Write

pytestmark = pytest.mark.dynamodb


@pytest.fixture
def store(dynamodb: str) -> Iterator[DynamoDBStore]:
    opened = DynamoDBStore(f"t.{uuid.uuid4().hex}", "us-east-1", dynamodb, retry_s=20, create=True)
    opened.prepare()
    yield opened
    opened.close()


class TestDynamoDBStore(StoreSuite):
    @pytest.fixture
    def store(self, store: DynamoDBStore) -> Store:
        return store


class _Interrupted(DynamoDBStore):
    """Runs `meanwhile` once, after the ledger or a progress was read and before what follows from it is written."""

    meanwhile = staticmethod(lambda: None)

    def ledger(self, definition: str) -> list[LedgerEntry]:
        found = super().ledger(definition)
        self._interrupt()
        return found

    def progress(self, definition: str, generation: int) -> Progress | None:
        found = super().progress(definition, generation)
        self._interrupt()
        return found

    def _interrupt(self) -> None:
        run, self.meanwhile = self.meanwhile, lambda: None
        run()


@pytest.fixture
def interrupted(store: DynamoDBStore, dynamodb: str) -> _Interrupted:
    return _Interrupted(store._table.name, "us-east-1", dynamodb, retry_s=20)


def test_a_promote_between_reading_and_writing_stops_a_publication(
    store: DynamoDBStore, interrupted: _Interrupted
) -> None:
    publish(store, 7, ONE)
    lease = store.acquire_lease(SEGMENTS, "late", NOW, TTL)
    interrupted.meanwhile = lambda: go(store, 7)
    with pytest.raises(StoreError, match="not above the champion"):
        interrupted.open_publication(lease, entry(6))
    assert [e.generation for e in store.ledger(SEGMENTS)] == [7]


def test_a_lease_lost_between_reading_and_writing_stops_a_publication(
    store: DynamoDBStore, interrupted: _Interrupted
) -> None:
    lease = store.acquire_lease(SEGMENTS, "late", NOW, TTL)
    interrupted.meanwhile = lambda: store.acquire_lease(SEGMENTS, "heir", NOW + TTL, TTL)
    with pytest.raises(LeaseHeld, match="found heir"):
        interrupted.open_publication(lease, entry(6))
    assert store.ledger(SEGMENTS) == []


def test_a_publication_between_reading_and_writing_is_seen_by_the_promote(
    store: DynamoDBStore, interrupted: _Interrupted
) -> None:
    publish(store, 5, ONE)
    go(store, 5)
    publish(store, 7, TWO, (5, ONE))
    interrupted.meanwhile = lambda: begin(store, 6, 5)
    assert go(interrupted, 7).skip == {6}
    store.write_versions(SEGMENTS, 6, [Write("z", version("late"), False)])
    assert served(store) == TWO


@pytest.mark.parametrize(
    "moved", [{"vector": Vector({("topic", "0"): 9})}, {"as_of": NOW + TTL}], ids=lambda moved: next(iter(moved))
)
def test_what_was_counted_between_reading_and_taking_over_is_kept(
    store: DynamoDBStore, interrupted: _Interrupted, moved: dict[str, Any]
) -> None:
    standing = store.take_over(SEGMENTS, 1, "one", Vector(), NOW)
    interrupted.meanwhile = lambda: store.advance(replace(standing, **moved))
    taken = interrupted.take_over(SEGMENTS, 1, "two", Vector(), NOW)
    assert taken == replace(standing, **moved, epoch=2, owner="two") == store.progress(SEGMENTS, 1)


def test_an_item_that_is_too_big_is_named(store: DynamoDBStore) -> None:
    big = Version(b"x" * 410_000, "{}")
    with pytest.raises(StoreError, match=r"entity 'whale' does not fit.*found 410\d\d\d bytes.*409600"):
        store.write_versions(SEGMENTS, 1, [Write("a", version("a"), False), Write("whale", big, False)])


def test_versions_that_are_too_big_together_are_named(store: DynamoDBStore) -> None:
    half = Version(b"x" * 250_000, "{}")
    store.write_versions(SEGMENTS, 1, [Write("whale", half, False)])
    with pytest.raises(StoreError, match=r"entity 'whale' does not fit.*all retained versions.*purge"):
        store.write_versions(SEGMENTS, 2, [Write("whale", half, True)])


def test_many_big_items_are_split_over_calls(store: DynamoDBStore) -> None:
    big = Version(b"x" * 380_000, "é" * 5_000)
    report = store.write_versions(SEGMENTS, 1, [Write(f"{n}", big, False) for n in range(30)])
    assert (report.items, report.calls) == (30, 3)
    assert store.read(SEGMENTS, [f"{n}" for n in range(30)]) == {f"{n}": {1: big} for n in range(30)}


def test_an_entity_too_long_for_a_key_is_named_and_unknown_to_reads(store: DynamoDBStore) -> None:
    long = "é" * 1100
    with pytest.raises(StoreError, match=r"cannot be a key.*found 2209 bytes"):
        store.write_versions(SEGMENTS, 1, [Write(long, version("x"), False)])
    assert store.read(SEGMENTS, [long]) == {}


def test_hundreds_of_versions_of_one_item_are_removed(store: DynamoDBStore) -> None:
    for generation in range(1, 251):
        store.write_versions(SEGMENTS, generation, [Write("a", version("x"), generation > 1)])
    store.remove_versions(SEGMENTS, {"a": range(1, 250)})
    assert store.read(SEGMENTS, ["a"]) == {"a": {250: version("x")}}
    store.remove_versions(SEGMENTS, {"a": range(1, 251)})
    assert store.read(SEGMENTS, ["a"]) == {}


def test_a_missing_table_is_named(dynamodb: str) -> None:
    absent = DynamoDBStore("not-there", "us-east-1", dynamodb)
    for call in (
        lambda: absent.champion(SEGMENTS),
        lambda: absent.read(SEGMENTS, ["a"]),
        lambda: absent.write_versions(SEGMENTS, 1, [Write("a", version("x"), False)]),
        absent.prepare,
    ):
        with pytest.raises(StoreError, match=r"table.*does not exist"):
            call()


def test_preparing_twice_at_once_makes_one_table(dynamodb: str) -> None:
    name = f"t.{uuid.uuid4().hex}"
    stores = [DynamoDBStore(name, "us-east-1", dynamodb, create=True) for _ in range(3)]
    assert together(*(one.prepare for one in stores)) == [None] * 3
    assert stores[0].champion(SEGMENTS).generation == 0
