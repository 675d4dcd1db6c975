"""What a server reads of a definition for many requests: by one for all that wait, and ahead of its greatest age."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from headrace.errors import AnswerIsNo, HeadraceError
from headrace.serving.lookup import not_in_ledger, nothing_served
from headrace.serving.merge import Generation, Served
from headrace.serving.reading import Reader

log = logging.getLogger(__name__)

T = TypeVar("T")
# From this share of its greatest age on what is asked for is read anew, while what is held still answers.
AHEAD = 0.5


class Kept(Generic[T]):
    """What `read` says of a name, at most `age_s` old when a request begins (0: read for each request).

    read: is given the name and what it said last; an AnswerIsNo from it is forgotten at once. `elapsed` gives the
    monotonic seconds that ages are counted in.
    """

    def __init__(
        self,
        read: Callable[[str, T | None], Awaitable[T]],
        age_s: float,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._age_s = age_s
        self._elapsed = elapsed
        self._held: dict[str, tuple[float, T]] = {}
        self._flights: dict[str, asyncio.Task[T]] = {}

    def young(self, name: str) -> T | None:
        """What holds for this request, if that is known without waiting."""
        held = self._held.get(name)
        if held is None:
            return None
        age_s = self._elapsed() - held[0]
        if age_s >= self._age_s:
            return None
        if age_s >= self._age_s * AHEAD and name not in self._flights:
            self._take_off(name)
        return held[1]

    async def get(self, name: str) -> T:
        """What holds for this request."""
        young = self.young(name)
        if young is not None:
            return young
        if self._age_s <= 0:
            return await self._fetch(name)
        return await asyncio.shield(self._flights.get(name) or self._take_off(name))

    def last(self, name: str) -> T | None:
        """What was read last, however long ago."""
        held = self._held.get(name)
        return held[1] if held is not None else None

    def all(self) -> Mapping[str, T]:
        """What was read last of every name."""
        return {name: value for name, (_, value) in self._held.items()}

    def _take_off(self, name: str) -> asyncio.Task[T]:
        flight = self._flights[name] = asyncio.create_task(self._fetch(name))
        flight.add_done_callback(lambda done: self._land(name, done))
        return flight

    def _land(self, name: str, flight: asyncio.Task[T]) -> None:
        del self._flights[name]
        error = None if flight.cancelled() else flight.exception()  # whoever waits for it is told too
        if isinstance(error, HeadraceError):
            log.debug("%r was not read: %s", name, error)
        elif error is not None:
            log.error("%r was not read", name, exc_info=error)

    async def _fetch(self, name: str) -> T:
        began = self._elapsed()
        try:
            value = await self._read(name, self.last(name))
        except AnswerIsNo:
            self._held.pop(name, None)
            raise
        newest = self._held.get(name)
        if newest is None or newest[0] <= began:
            self._held[name] = (began, value)
        return value


class Pointers(Kept[Served]):
    """What each definition's champion is, and how far it counts. timeout_s: how long one reading may take.

    `get` raises UnknownDefinition, StoreUnavailable, StoreError.
    """

    def __init__(
        self, reader: Reader, cache_s: float, timeout_s: float, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(self.read, cache_s, elapsed)
        self._reader = reader
        self._timeout_s = timeout_s

    async def read(self, definition: str, before: Served | None) -> Served:
        """The pointer as it is now; before: an older one, whose generation need not be read again."""
        deadline = time.monotonic() + self._timeout_s
        known = before.champion.generation if before is not None else 0
        champion, progress = await self._reader.heads(definition, known, deadline)
        if champion.generation == 0:
            raise nothing_served(definition)
        if before is not None and (known, before.champion.epoch) == (champion.generation, champion.epoch):
            return Served(champion, before.generation, progress)
        entry = await self._reader.entry(definition, champion.generation, deadline)
        if entry is None:
            raise not_in_ledger(definition, champion.generation)
        return Served(champion, Generation.of(entry), progress)
