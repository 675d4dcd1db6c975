"""A store that is opened when it is first needed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from headrace.errors import EngineError, StoreUnavailable
from headrace.serving.opening import OpeningStore
from headrace.stores.memory import MemoryStore
from headrace.stores.port import Store


def test_nothing_is_opened_before_the_first_read_and_then_once_for_all() -> None:
    opened: list[int] = []

    def slowly() -> Store:
        opened.append(1)
        time.sleep(0.1)
        return MemoryStore()

    store = OpeningStore(slowly)
    assert not opened
    with ThreadPoolExecutor(8) as pool:
        assert [c.generation for c in pool.map(store.champion, ["x"] * 8)] == [0] * 8
    assert len(opened) == 1
    store.close()


def test_a_store_that_cannot_be_opened_is_tried_again_at_most_once_a_second() -> None:
    attempts: list[int] = []
    elapsed = [0.0]

    def engine() -> Store:
        attempts.append(1)
        if len(attempts) < 3:
            raise EngineError("dynamodb does not answer", do="headrace up dynamodb")
        return MemoryStore()

    store = OpeningStore(engine, 1.0, lambda: elapsed[0])
    for now, made in ((0.0, 1), (0.5, 1), (1.0, 2), (1.9, 2)):
        elapsed[0] = now
        with pytest.raises(StoreUnavailable, match="headrace up dynamodb"):
            store.champion("x")
        assert len(attempts) == made
    elapsed[0] = 2.0
    assert store.champion("x").generation == 0


def test_closing_what_was_never_opened_is_nothing() -> None:
    OpeningStore(MemoryStore).close()
