"""Views of definitions in this process: filled by a scan, kept up by polling, and never asked beyond what they know.

A view answers with what it has read, at the vector and `as_of` it has read it at. Three rules keep it right:

1. It answers only for the champion it was read for (generation, floor and skipped generations). After a promotion or a
   rollback look-ups go to the store until the view has been read anew.
2. It answers while nothing has been counted since it was read, or while that is not longer ago than its greatest age;
   after that look-ups go to the store.
3. A key that it does not hold is asked for in the store.

The pointer is read before the items are, so an item may only have counted more than the pointer says, which its own
vector tells: what a row says stays true however long it is kept, it only grows old.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from headrace.errors import HeadraceError, StoreError, StoreUnavailable
from headrace.serving.lookup import UnknownDefinition
from headrace.serving.merge import Chosen, Served, choose, read_outputs
from headrace.serving.pointers import Pointers
from headrace.serving.reading import Reader
from headrace.serving.view import Columns, Layer
from headrace.stores.port import Champion, Held

log = logging.getLogger(__name__)

POLL_S = 1.0
PAGE = 100  # items read at once: between two pages requests are answered
PAGE_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class _Reading:
    """All that was read for one champion. at: the pointer read before; read_at: monotonic seconds of that."""

    columns: Columns
    at: Served
    read_at: float


class View:
    """The view of one definition. refresh_s: how long after one scan the next begins, where something was counted."""

    def __init__(self, definition: str, reader: Reader, pointers: Pointers, refresh_s: float, max_age_s: float) -> None:
        self.definition = definition
        self._reader = reader
        self._pointers = pointers
        self._refresh_s = refresh_s
        self._max_age_s = max_age_s
        self._reading: _Reading | None = None

    def __len__(self) -> int:
        return len(self._reading.columns) if self._reading is not None else 0

    @property
    def last(self) -> Served | None:
        """The pointer at which it was last read, however long ago."""
        return self._reading.at if self._reading is not None else None

    def at(self, served: Served) -> Served | None:
        """The pointer at which the view may answer a request that has read `served`; None: ask the store."""
        reading = self._reading
        if reading is None or not _same(reading.at.champion, served.champion):
            return None
        if served.vector == reading.at.vector:
            return served
        if time.monotonic() - reading.read_at <= self._max_age_s:
            return replace(served, progress=reading.at.progress)
        return None

    def get(self, entity: str) -> Chosen | None:
        """What is held of the entity; None: the store knows."""
        found = self._reading.columns.get(entity) if self._reading is not None else None
        return None if found is None else Chosen(found[0], found[1], "the view", found[2])

    async def refresh(self) -> None:
        """Read what has changed, if it is time to. Raises UnknownDefinition, StoreUnavailable, StoreError."""
        read_at = time.monotonic()
        served = await self._pointers.get(self.definition)
        if served.generation.clock == "reader":
            return  # its features are finished at each request from states, which a view has not
        reading = self._reading
        if reading is None or not _same(reading.at.champion, served.champion):
            columns = Columns()
            await self._scan(columns, served, whole=True)
            self._reading = _Reading(columns, served, read_at)
            log.info(
                "the view of %r holds %d keys of generation %d", self.definition, len(self), served.generation.number
            )
        elif served.vector != reading.at.vector and read_at - reading.read_at >= self._refresh_s:
            await self._scan(reading.columns, served, whole=False)
            self._reading = _Reading(reading.columns, served, read_at)

    async def _scan(self, columns: Columns, served: Served, *, whole: bool) -> None:
        """Put what the store holds; whole: batch items too, which never change while the champion is the same."""
        start: Any = None
        generation = served.champion.generation
        while True:
            deadline = time.monotonic() + PAGE_TIMEOUT_S
            page, start = await self._reader.page(
                self.definition, start, PAGE, deadline, generation=generation, whole=whole
            )
            began = time.monotonic()
            for entity, held in page:
                _take(columns, entity, served, held)
            if start is None:
                return
            await asyncio.sleep(time.monotonic() - began)  # half of the time is the requests'


class Views:
    """The views of a server, each refreshed by a task of its own."""

    def __init__(
        self, definitions: Iterable[str], reader: Reader, pointers: Pointers, refresh_s: float, max_age_s: float
    ) -> None:
        self._views = {name: View(name, reader, pointers, refresh_s, max_age_s) for name in definitions}

    def of(self, definition: str) -> View | None:
        return self._views.get(definition)

    def all(self) -> Iterable[View]:
        return self._views.values()

    async def run(self) -> None:
        """Keep all views up until cancelled."""
        async with asyncio.TaskGroup() as group:
            for view in self._views.values():
                group.create_task(_kept_up(view))


async def _kept_up(view: View) -> None:
    while True:
        try:
            await view.refresh()
        except (StoreUnavailable, UnknownDefinition) as error:
            log.info("the view of %r was not refreshed: %s", view.definition, error)
        except HeadraceError:
            log.exception("the view of %r was not refreshed", view.definition)
        await asyncio.sleep(POLL_S)


def _take(columns: Columns, entity: str, served: Served, held: Held) -> None:
    """Put one item; what the stream has counted goes before what the batch has, whichever is read first."""
    if held.speed is None and columns.layer_of(entity) == "speed":
        return
    chosen = choose(served, held)
    try:
        outputs = read_outputs("", chosen) if chosen is not None else None
    except StoreError:
        outputs = None  # what is not as published is left to the store, whose answer is an error
    if chosen is None or outputs is None:
        columns.drop(entity)
    else:
        layer: Layer = "speed" if held.speed is not None else "batch"
        columns.put(entity, chosen.outputs, layer, chosen.vector, values=outputs)


def _same(one: Champion, other: Champion) -> bool:
    """Whether both see the same versions."""
    return (one.generation, one.floor, one.skip) == (other.generation, other.floor, other.skip)
