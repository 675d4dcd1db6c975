"""Look-ups over a store: one pointer per request, whole generations, and errors that say what to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from published import NOW, promote, publish, version

from headrace.errors import InputError, StoreError, StoreUnavailable
from headrace.serving.lookup import Lookups, UnknownDefinition, UnknownKey
from headrace.stores.memory import MemoryStore
from headrace.stores.port import Champion, Held, LedgerEntry, ModelItem, Progress


class Counted:
    """A store whose reads are counted, can be slow, and can be cut off."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.calls: list[str] = []
        self.delay_s = 0.0
        self.down = False

    def champion(self, definition: str) -> Champion:
        self._called("champion")
        return self.store.champion(definition)

    def ledger(self, definition: str) -> list[LedgerEntry]:
        self._called("ledger")
        return self.store.ledger(definition)

    def progress(self, definition: str, generation: int) -> Progress | None:
        return self.store.progress(definition, generation)

    def read_speed(self, definition: str, generation: int, entities: Sequence[str]) -> dict[str, Held]:
        self._called("read")
        return self.store.read_speed(definition, generation, entities)

    def read_model(self, definition: str, generation: int) -> ModelItem | None:
        return self.store.read_model(definition, generation)

    def _called(self, what: str) -> None:
        self.calls.append(what)
        time.sleep(self.delay_s)
        if self.down:
            raise StoreUnavailable("the store does not answer")


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    publish(made, "segments", 1, {"a": version(1, 1), "b/ü": version(2, 1), "gone": version(3, 1)})
    publish(made, "segments", 2, {"a": version(1, 2), "gone": None}, base=1)
    promote(made, "segments", 2)
    return made


def test_one_answer(store: MemoryStore) -> None:
    found = Lookups(store, 0, lambda: NOW).one("segments", "a")
    assert (found.entity, found.prediction["cluster"], found.generation) == ("a", 2, 2)


@pytest.mark.parametrize("entity", ["z", "gone", "", "A", "a ", "\x00", "a#b", "💧" * 400])
def test_an_unknown_key_is_no_answer(store: MemoryStore, entity: str) -> None:
    with pytest.raises(UnknownKey, match="'segments' has no prediction for entity") as raised:
        Lookups(store, 0, lambda: NOW).one("segments", entity)
    assert raised.value.exit_code == 1


@pytest.mark.parametrize("definition", ["segment", "segments#a", "x" * 1000])
def test_an_unknown_definition_says_what_to_run(store: MemoryStore, definition: str) -> None:
    with pytest.raises(UnknownDefinition, match="headrace run"):
        Lookups(store, 5, lambda: NOW).one(definition, "a")


def test_a_definition_that_was_published_but_never_promoted_is_not_served() -> None:
    store = MemoryStore()
    publish(store, "segments", 1, {"a": version(1, 1)})
    with pytest.raises(UnknownDefinition):
        Lookups(store, 0, lambda: NOW).one("segments", "a")


@pytest.mark.parametrize(
    ("definition", "entity"), [("segments", "x" * 2048), ("segments", "\ud800"), ("", "a"), ("x" * 2049, "a")]
)
def test_what_cannot_be_a_key_is_refused(store: MemoryStore, definition: str, entity: str) -> None:
    with pytest.raises(InputError):
        Lookups(store, 0, lambda: NOW).one(definition, entity)


def test_many_keep_the_order_asked_and_name_what_is_missing(store: MemoryStore) -> None:
    found = Lookups(store, 0, lambda: NOW).many("segments", ["no", "b/ü", "a", "gone", "a", "no"])
    assert [a.entity for a in found.answers] == ["b/ü", "a"]
    assert found.missing == ["no", "gone"]
    assert {a.generation for a in found.answers} == {2}


def test_a_hundred_are_answered_and_one_more_is_refused(store: MemoryStore) -> None:
    lookups = Lookups(store, 0, lambda: NOW)
    assert len(lookups.many("segments", [str(i) for i in range(100)]).missing) == 100
    with pytest.raises(InputError, match="found 101"):
        lookups.many("segments", ["a"] * 101)
    assert lookups.many("segments", []).missing == []


def test_the_pointer_is_read_once_per_request_and_the_ledger_once_per_epoch(store: MemoryStore) -> None:
    counted = Counted(store)
    lookups = Lookups(counted, 0, lambda: NOW)
    lookups.many("segments", ["a", "b/ü", "no"])
    assert counted.calls == ["champion", "ledger", "read"]
    lookups.one("segments", "a")
    assert counted.calls[3:] == ["champion", "read"]
    promote(store, "segments", 1)
    assert lookups.one("segments", "a").generation == 1
    assert counted.calls[5:] == ["champion", "ledger", "read"]


def test_the_pointers_age_is_bounded(store: MemoryStore) -> None:
    counted, elapsed = Counted(store), [0.0]
    lookups = Lookups(counted, 1.0, lambda: NOW, lambda: elapsed[0])
    assert lookups.one("segments", "a").generation == 2
    promote(store, "segments", 1)
    elapsed[0] = 0.99
    assert lookups.one("segments", "a").generation == 2
    elapsed[0] = 1.0
    assert lookups.one("segments", "a").generation == 1
    assert counted.calls.count("champion") == 2


def test_one_reader_fetches_the_pointer_for_all_that_wait(store: MemoryStore) -> None:
    counted = Counted(store)
    counted.delay_s = 0.1
    lookups = Lookups(counted, 60, lambda: NOW)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: lookups.one("segments", "a").generation, range(16)))
    assert found == [2] * 16
    assert counted.calls.count("champion") == 1


def test_a_store_that_is_down_fails_all_that_wait_once_and_recovers(store: MemoryStore) -> None:
    counted = Counted(store)
    counted.delay_s, counted.down = 0.1, True
    lookups = Lookups(counted, 60, lambda: NOW)

    def fails(_: int) -> bool:
        with pytest.raises(StoreUnavailable):
            lookups.one("segments", "a")
        return True

    started = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(fails, range(16)))
    assert time.monotonic() - started < 1.0, "they wait together, not one after the other"
    counted.down = False
    assert lookups.one("segments", "a").generation == 2


def test_a_champion_that_the_ledger_does_not_know_is_named(store: MemoryStore) -> None:
    promote(store, "segments", 7)
    with pytest.raises(StoreError, match="not in the table's ledger; found generation 7"):
        Lookups(store, 0, lambda: NOW).one("segments", "a")


def test_the_model_tells_the_champion_and_the_tables_generations(store: MemoryStore) -> None:
    model = Lookups(store, 0, lambda: NOW).model("segments")
    assert (model["generation"], model["vector"], model["as_of"]) == (2, [["", "file", 200]], "2026-03-01T11:00:00Z")
    assert model["definition_sha256"] == "sha-2"
    assert model["theta"]["reference"] == "2011-12-09T00:00:00+00:00"
    assert model["features"] == [{"name": "recency", "aggregate": {}}]
    assert model["generations"] == [
        {"generation": 1, "status": "sealed", "base": None, "items": 3},
        {"generation": 2, "status": "sealed", "base": 1, "items": 2},
    ]


@pytest.mark.parametrize("cache_s", [0, 0.002])
def test_readers_during_promote_and_rollback_see_only_whole_generations(cache_s: float) -> None:
    store = MemoryStore()
    entities = [f"e{i}" for i in range(20)]
    for g in (1, 2):
        publish(store, "segments", g, {e: version(g, g) for e in entities}, base=None)
    promote(store, "segments", 1)
    lookups = Lookups(store, cache_s, lambda: NOW)
    seen: set[tuple[int, frozenset[int]]] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            found = lookups.many("segments", entities)
            assert not found.missing
            seen.update(
                (a.generation, frozenset(b.prediction["cluster"] for b in found.answers)) for a in found.answers
            )

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        for flip in range(200):
            promote(store, "segments", 2 - flip % 2)
            time.sleep(0.001)
        stop.set()
        for reader in readers:
            reader.result()
    assert seen == {(1, frozenset({1})), (2, frozenset({2}))}
