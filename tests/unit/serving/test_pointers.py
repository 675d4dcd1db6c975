"""What is read once for many requests: its age is bounded, one reads for all, and ahead of time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from published import promote, publish, version

from headrace.errors import StoreError, StoreUnavailable
from headrace.serving.lookup import UnknownDefinition
from headrace.serving.pointers import Kept, Pointers
from headrace.serving.reading import InThreads
from headrace.stores.memory import MemoryStore


class Source:
    """Says how often it was asked; can be slow, and can fail."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, name: str, before: int | None) -> int:
        self.asked += 1
        said = self.asked
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return said


def run(test: Callable[[], Awaitable[Any]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_nothing_is_older_than_its_bound_and_it_is_read_ahead_from_half_of_it() -> None:
    async def test() -> None:
        now, source = [0.0], Source()
        kept = Kept(source.read, 1.0, lambda: now[0])
        assert await kept.get("x") == 1
        now[0] = 0.49
        assert (await kept.get("x"), source.asked) == (1, 1)
        now[0] = 0.5
        source.gate.clear()
        assert await kept.get("x") == 1, "it does not wait"
        await asyncio.sleep(0)
        now[0] = 0.99
        assert (await kept.get("x"), source.asked) == (1, 2), "one reads ahead"
        now[0] = 1.0
        late = asyncio.create_task(kept.get("x"))
        await asyncio.sleep(0.01)
        assert not late.done(), "beyond the bound it waits"
        source.gate.set()
        assert (await late, source.asked) == (2, 2)
        now[0] = 1.49
        assert await kept.get("x") == 2, "its age is counted from when its reading began"
        now[0] = 1.5
        assert await kept.get("x") == 3

    run(test)


def test_one_reads_for_all_that_wait_and_fails_for_all() -> None:
    async def test() -> None:
        source = Source()
        kept = Kept(source.read, 60.0)
        assert await asyncio.gather(*(kept.get("x") for _ in range(50))) == [1] * 50
        source.error = StoreUnavailable("down")
        waiting = [asyncio.create_task(kept.get("y")) for _ in range(50)]
        failed = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in failed] == [StoreUnavailable] * 50
        assert source.asked == 2
        source.error = None
        assert await kept.get("y") == 3

    run(test)


def test_reading_ahead_that_fails_is_tried_again_and_harms_nobody() -> None:
    async def test() -> None:
        now, source = [0.0], Source()
        kept = Kept(source.read, 1.0, lambda: now[0])
        await kept.get("x")
        source.error = StoreUnavailable("down")
        for now[0] in (0.6, 0.7, 0.8):
            assert await kept.get("x") == 1
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert source.asked == 4
        now[0] = 1.1
        with pytest.raises(StoreUnavailable):
            await kept.get("x")
        assert kept.last("x") == 1

    run(test)


def test_without_a_bound_every_request_reads() -> None:
    async def test() -> None:
        source = Source()
        kept = Kept(source.read, 0.0)
        assert await asyncio.gather(*(kept.get("x") for _ in range(3))) == [1, 2, 3]

    run(test)


def test_a_waiter_that_gives_up_does_not_end_the_reading() -> None:
    async def test() -> None:
        source = Source()
        source.gate.clear()
        kept = Kept(source.read, 60.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await kept.get("x")
        source.gate.set()
        assert (await kept.get("x"), source.asked) == (1, 1)

    run(test)


def test_a_pointer_follows_promotions_and_forgets_what_is_served_no_more() -> None:
    async def test() -> None:
        store = MemoryStore()
        publish(store, "d", 1, {"a": version(1, 1)})
        pointers = Pointers(InThreads(store), 0.0, 5.0)
        with pytest.raises(UnknownDefinition, match="headrace run d"):
            await pointers.get("d")
        promote(store, "d", 1)
        first = await pointers.get("d")
        assert (await pointers.get("d")).generation is first.generation, "the ledger is read once for a champion"
        publish(store, "d", 2, {"a": version(1, 2)})
        promote(store, "d", 2)
        assert [(await pointers.get("d")).generation.number, pointers.all()["d"].champion.generation] == [2, 2]
        promote(store, "d", 9)
        with pytest.raises(StoreError, match="not in the table's ledger; found generation 9"):
            await pointers.get("d")
        assert pointers.last("x") is None

    run(test)
