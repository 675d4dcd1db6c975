"""How the server reads a store from its one event loop: by the store's own reader, or in threads where it has none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter

from headrace.errors import StoreUnavailable
from headrace.serving.lookup import Readable
from headrace.stores.port import Champion, Held, LedgerEntry, ModelItem, Progress

T = TypeVar("T")
THREADS = 32


class Reader(Protocol):
    """Strongly consistent reads; `deadline` is one of the monotonic clock, beyond it they raise StoreUnavailable."""

    async def heads(self, definition: str, generation: int, deadline: float) -> tuple[Champion, Progress | None]:
        """The champion and then how far its speed layer is; `generation`: the champion last known, 0 for none."""

    async def entry(self, definition: str, generation: int, deadline: float) -> LedgerEntry | None:
        """What the table's ledger says of one generation."""

    async def ledger(self, definition: str, deadline: float) -> list[LedgerEntry]:
        """Every generation in the table's ledger, by number."""

    async def model(self, definition: str, generation: int, deadline: float) -> ModelItem | None:
        """The generation's model item."""

    async def held(
        self, definition: str, generation: int, entities: Sequence[str], deadline: float, *, states: bool
    ) -> dict[str, Held]:
        """What is held of at most 100 entities; states: whether the states are wanted too."""

    async def page(
        self, definition: str, start: Any, size: int, deadline: float, *, generation: int, whole: bool
    ) -> tuple[list[tuple[str, Held]], Any]:
        """Some items of a scan, and where the next page starts; None: from the first, and no more.

        Speed items of `generation`; whole: batch items too. An entity that has both comes in two parts.
        """

    async def close(self) -> None:
        """Release connections."""


class InThreads:
    """Any store's reads, each in a thread; for the store in memory and for tests."""

    def __init__(self, store: Readable, threads: int = THREADS) -> None:
        self._store = store
        self._threads = threads
        self._limiter: CapacityLimiter | None = None

    async def heads(self, definition: str, generation: int, deadline: float) -> tuple[Champion, Progress | None]:  # noqa: ARG002
        def read() -> tuple[Champion, Progress | None]:
            champion = self._store.champion(definition)
            return champion, self._store.progress(definition, champion.generation) if champion.generation else None

        return await self._ask(read, deadline)

    async def entry(self, definition: str, generation: int, deadline: float) -> LedgerEntry | None:
        entries = await self.ledger(definition, deadline)
        return next((entry for entry in entries if entry.generation == generation), None)

    async def ledger(self, definition: str, deadline: float) -> list[LedgerEntry]:
        return await self._ask(lambda: self._store.ledger(definition), deadline)

    async def model(self, definition: str, generation: int, deadline: float) -> ModelItem | None:
        return await self._ask(lambda: self._store.read_model(definition, generation), deadline)

    async def held(
        self,
        definition: str,
        generation: int,
        entities: Sequence[str],
        deadline: float,
        *,
        states: bool,  # noqa: ARG002 - they are here
    ) -> dict[str, Held]:
        return await self._ask(lambda: self._store.read_speed(definition, generation, entities), deadline)

    async def page(
        self, definition: str, start: Any, size: int, deadline: float, *, generation: int, whole: bool
    ) -> tuple[list[tuple[str, Held]], Any]:
        def taken() -> tuple[list[tuple[str, Held]], Any]:
            rows = start if start is not None else self._scanned(definition, generation, whole=whole)
            page = list(islice(rows, size))
            return page, rows if len(page) == size else None

        return await self._ask(taken, deadline)

    async def close(self) -> None:
        """The store is its owner's."""

    def _scanned(self, definition: str, generation: int, *, whole: bool) -> Iterator[tuple[str, Held]]:
        store: Any = self._store  # a view needs a whole store's scans
        for entity, item in store.scan_speed(definition, generation):
            yield entity, Held({}, item)
        for entity, versions in store.scan(definition) if whole else ():
            yield entity, Held(versions)

    async def _ask(self, question: Callable[[], T], deadline: float) -> T:
        if self._limiter is None:
            self._limiter = CapacityLimiter(self._threads)
        with anyio.move_on_after(max(0.0, deadline - time.monotonic())):
            return await anyio.to_thread.run_sync(question, limiter=self._limiter, abandon_on_cancel=True)
        raise StoreUnavailable("the store did not answer in time")


class Opened:
    """A reader made when it is first needed, so that a server listens before its store's client is built."""

    def __init__(self, open_reader: Callable[[], Reader]) -> None:
        self._open = open_reader
        self._reader: Reader | None = None
        self._opening: asyncio.Future[Reader] | None = None

    async def heads(self, definition: str, generation: int, deadline: float) -> tuple[Champion, Progress | None]:
        return await (self._reader or await self._opened(deadline)).heads(definition, generation, deadline)

    async def entry(self, definition: str, generation: int, deadline: float) -> LedgerEntry | None:
        return await (self._reader or await self._opened(deadline)).entry(definition, generation, deadline)

    async def ledger(self, definition: str, deadline: float) -> list[LedgerEntry]:
        return await (self._reader or await self._opened(deadline)).ledger(definition, deadline)

    async def model(self, definition: str, generation: int, deadline: float) -> ModelItem | None:
        return await (self._reader or await self._opened(deadline)).model(definition, generation, deadline)

    async def held(
        self, definition: str, generation: int, entities: Sequence[str], deadline: float, *, states: bool
    ) -> dict[str, Held]:
        reader = self._reader or await self._opened(deadline)
        return await reader.held(definition, generation, entities, deadline, states=states)

    async def page(
        self, definition: str, start: Any, size: int, deadline: float, *, generation: int, whole: bool
    ) -> tuple[list[tuple[str, Held]], Any]:
        reader = self._reader or await self._opened(deadline)
        return await reader.page(definition, start, size, deadline, generation=generation, whole=whole)

    async def close(self) -> None:
        if self._reader is not None:
            await self._reader.close()

    async def _opened(self, deadline: float) -> Reader:
        """The reader; whoever comes first has it opened in a thread, and the others wait for as long as they have."""
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            self._opening = asyncio.ensure_future(asyncio.to_thread(self._open))
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                self._reader = await asyncio.shield(self._opening)
        except TimeoutError:
            raise StoreUnavailable("the serving store is still being opened") from None
        return self._reader


def reader_of(store: Readable, attempt_s: float) -> Reader:
    """The store's own reader where it has one, which gives up on one attempt after `attempt_s`; else threads."""
    make = getattr(store, "reader", None)
    own: Reader | None = make(attempt_s) if make is not None else None
    return own if own is not None else InThreads(store)
