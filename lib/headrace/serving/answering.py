"""Look-ups of a server: from a view where it may answer, else from the store, within the time a request has."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from headrace.errors import StoreUnavailable
from headrace.serving.lookup import check_key, checked, model_of
from headrace.serving.merge import Chosen, Served, choose, features_now, read_outputs
from headrace.serving.pointers import Kept, Pointers
from headrace.serving.reading import Reader
from headrace.serving.views import View, Views

if TYPE_CHECKING:
    from headrace.serving.scoring import Scorer, Scoring
    from headrace.stores.port import ModelItem

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """What is served of one entity, and the pointer that it is served at.

    features: as they are at the reader's own now, where the definition's clock is the reader's. late: it stands in
    for an answer that the store was not there to give.
    """

    entity: str
    chosen: Chosen
    served: Served
    features: Mapping[str, Any] | None = None
    late: bool = False


@dataclass(frozen=True)
class Missed:
    """An entity of which nothing is served, and the pointer at which nothing is."""

    entity: str
    served: Served


class Answering:
    """Answers to requests, for one event loop.

    timeout_s: how long one request may wait for the store; beyond it StoreUnavailable. when_down: whether a view goes
    on answering, its answers flagged stale, while the store does not say who the champion is.
    """

    def __init__(
        self,
        reader: Reader,
        pointers: Pointers,
        views: Views,
        clock: Callable[[], datetime],
        *,
        cache_s: float,
        timeout_s: float,
        when_down: Literal["refuse", "stale"],
    ) -> None:
        self._reader = reader
        self._pointers = pointers
        self._views = views
        self._clock = clock
        self._timeout_s = timeout_s
        self._when_down = when_down
        self._models = Kept[tuple[Served, "ModelItem | None"]](self._read_model, cache_s)
        self._made: Scoring | None = None

    async def many(self, definition: str, entities: Sequence[str]) -> tuple[list[Found], list[Missed]]:
        """What is served of up to 100 entities, all of one generation, and those of which nothing is.

        An entity that is named twice is answered once. Raises UnknownDefinition, InputError, StoreUnavailable,
        StoreError.
        """
        asked = checked(definition, entities)
        view = self._views.of(definition)
        if view is not None:
            found = self._viewed(definition, asked, view)
            if len(found) == len(asked):
                return found, []
        try:
            return await self._in_time(self._many(definition, asked, view))
        except StoreUnavailable:
            if self._when_down == "refuse" or view is None or view.last is None:
                raise
            held = _held(view, view.last, asked, late=True)
            if len(held) < len(asked):
                raise
            return held, []

    async def scorer(self, definition: str, *, live: bool) -> Scorer:
        """The champion's learner with live parameters, or with the generation's as fitted.

        Raises UnknownDefinition, NoLearner, StoreUnavailable, InputError where samples make no parameters.
        """
        check_key(definition, "")
        if self._made is None:
            from headrace.serving.scoring import Scoring  # brings NumPy and Arrow, which a look-up does without

            self._made = Scoring()
        if live:
            served, item = await self._in_time(self._models.get(definition))
        else:
            served, item = await self._in_time(self._pointers.get(definition)), None
        return self._made.scorer(definition, served, item, live=live)

    async def completed(
        self, definition: str, records: Sequence[Mapping[str, Any]], entities: Sequence[str], *, live: bool
    ) -> tuple[Scorer, list[Mapping[str, Any] | None]]:
        """The scorer, and the records with what they leave out taken from the features served at its pointer.

        None for an entity of which nothing is served. Raises what `many` and `scorer` do.
        """
        scorer, asked = await self.scorer(definition, live=live), checked(definition, entities)
        reading = self._many(definition, asked, self._views.of(definition), scorer.served)
        found, _ = await self._in_time(reading)
        features = {one.entity: _features(one) for one in found}
        return scorer, scorer.completed(records, entities, features)

    async def model(self, definition: str) -> dict[str, Any]:
        """What is served under a definition: its champion, cut, features, learner, and the table's generations."""
        check_key(definition, "")
        served = await self._in_time(self._pointers.get(definition))
        ledger = await self._reader.ledger(definition, time.monotonic() + self._timeout_s)
        return model_of(definition, served, ledger, now=self._clock())

    def _viewed(self, definition: str, asked: list[str], view: View) -> list[Found]:
        """What the view may answer without waiting for anything."""
        served = self._pointers.young(definition)
        at = view.at(served) if served is not None else None
        return _held(view, at, asked) if at is not None else []

    async def _many(
        self, definition: str, asked: list[str], view: View | None, learned: Served | None = None
    ) -> tuple[list[Found], list[Missed]]:
        """learned: the pointer to answer at, with features as its learner reads them; else the newest, as of now."""
        served = learned or await self._pointers.get(definition)
        at = view.at(served) if view is not None else None
        found = _held(view, at, asked) if view is not None and at is not None else []
        by_entity = {one.entity: one for one in found}
        left = [entity for entity in asked if entity not in by_entity]
        states = served.generation.clock == "reader"
        instant = self._clock() if learned is None else datetime.fromisoformat(served.generation.theta["reference"])
        deadline = time.monotonic() + self._timeout_s
        read = await self._reader.held(definition, served.champion.generation, left, deadline, states=states)
        for entity, held in read.items():
            chosen = choose(served, held)
            if chosen is not None:
                read_outputs(definition, chosen)
                features = features_now(served, held, instant) if states else None
                by_entity[entity] = Found(entity, chosen, served, features)
        ordered = [by_entity[entity] for entity in asked if entity in by_entity]
        return ordered, [Missed(entity, served) for entity in asked if entity not in by_entity]

    async def _read_model(self, definition: str, _: object) -> tuple[Served, ModelItem | None]:
        """The pointer and then the model item: what is below the pointer's vector is in the item, not the reverse."""
        served = await self._pointers.read(definition, self._pointers.last(definition))
        deadline = time.monotonic() + self._timeout_s
        return served, await self._reader.model(definition, served.champion.generation, deadline)

    async def _in_time(self, answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await answer
        except TimeoutError:
            raise StoreUnavailable(f"the store did not answer within {self._timeout_s:g} s") from None


def _features(one: Found) -> Mapping[str, Any]:
    stored: Mapping[str, Any] = json.loads(one.chosen.outputs)["features"]
    return stored if one.features is None else one.features


def _held(view: View, at: Served, asked: Sequence[str], *, late: bool = False) -> list[Found]:
    """What the view holds of the entities, in their order."""
    found = ((entity, view.get(entity)) for entity in asked)
    return [Found(entity, chosen, at, late=late) for entity, chosen in found if chosen is not None]
