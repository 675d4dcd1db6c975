"""The challenger scores beside the champion what readers have scored, so that both can be compared on live requests."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from anyio import CapacityLimiter

from headrace.errors import HeadraceError, InputError, StoreError
from headrace.serving.merge import Generation, Served, iso
from headrace.serving.reading import Reader

if TYPE_CHECKING:
    from headrace.evaluate.comparison import Comparison
    from headrace.serving.scores import Predictions
    from headrace.serving.scoring import Scorer, Scoring

log = logging.getLogger(__name__)

CAPACITY = 100  # requests that may wait; of 1,000 records each at most
WINDOW = 100_000  # records of one comparison, which keeps what it was told


@dataclass
class Rehearsed:
    """What was compared of two generations since an instant; refused: records that the challenger does not take."""

    champion: int
    challenger: int
    since: datetime
    found: Comparison
    refused: int = 0

    def to_json(self) -> dict[str, Any]:
        told = self.found.to_json()
        del told["examples"]  # records are their readers' own
        about = {"champion": self.champion, "challenger": self.challenger, "since": iso(self.since)}
        return {**about, "refused": self.refused, **told}


@dataclass
class Counts:
    """Records of a definition since the process began."""

    compared: int = 0
    differing: int = 0
    dropped: int = 0


@dataclass(frozen=True)
class _Asked:
    definition: str
    served: Served
    records: Sequence[Mapping[str, Any] | None]
    predictions: Predictions
    live: bool


class Rehearsal:
    """Scores that share of `:predict` requests by the challenger too, where there is one; for one event loop.

    Answers do not wait for it: what it has no room for is counted as dropped. cache_s: how old the challenger's
    parameters may be; timeout_s: how long reading them may take.
    """

    def __init__(
        self, reader: Reader, clock: Callable[[], datetime], *, share: float, cache_s: float, timeout_s: float
    ) -> None:
        self.counts: dict[str, Counts] = {}
        self._reader = reader
        self._clock = clock
        self._share = share
        self._cache_s = cache_s
        self._timeout_s = timeout_s
        self._chance = random.Random()  # noqa: S311 -- a sample, no secret
        self._waiting: asyncio.Queue[_Asked] = asyncio.Queue(CAPACITY)
        self._told: dict[str, Rehearsed] = {}
        self._scorers: dict[tuple[str, int, bool], tuple[float, Scorer]] = {}  # and when they were read
        self._solved: Scoring | None = None

    def offer(
        self,
        definition: str,
        served: Served,
        records: Sequence[Mapping[str, Any] | None],
        predictions: Predictions,
        *,
        live: bool,
    ) -> None:
        """Have the challenger score these records, if there is one and the request is drawn."""
        if not served.champion.challenger or self._chance.random() >= self._share:
            return
        try:
            self._waiting.put_nowait(_Asked(definition, served, records, predictions, live))
        except asyncio.QueueFull:
            self._counts(definition).dropped += len(records)

    async def run(self) -> None:
        """Until it is cancelled; a request that the challenger cannot be asked is dropped."""
        thread = CapacityLimiter(1)
        while True:
            asked = await self._waiting.get()
            try:
                await self._compare(asked, thread)
            except HeadraceError as error:
                self._counts(asked.definition).dropped += len(asked.records)
                log.info("the challenger of %s was not asked: %s", asked.definition, error)
            except Exception:
                self._counts(asked.definition).dropped += len(asked.records)
                log.exception("the challenger of %s failed", asked.definition)

    def told(self, definition: str) -> dict[str, Any] | None:
        """The comparison that is going on; None where nothing was compared."""
        rehearsed = self._told.get(definition)
        return None if rehearsed is None else rehearsed.to_json()

    async def _compare(self, asked: _Asked, thread: CapacityLimiter) -> None:
        scorer = await self._scorer(asked)
        rehearsed = self._rehearsed(asked)
        try:
            score = partial(scorer.predict, asked.records, now=self._clock())
            made = await anyio.to_thread.run_sync(score, limiter=thread, abandon_on_cancel=True)
        except InputError as error:
            rehearsed.refused += len(asked.records)
            log.info("the challenger of %s does not take what its champion does: %s", asked.definition, error)
            return
        counts, found = self._counts(asked.definition), rehearsed.found
        compared, differing = found.compared, found.differing
        for number, pair in enumerate(zip(asked.predictions.predictions, made.predictions, strict=True)):
            found.add(str(number), *pair)
        counts.compared += found.compared - compared
        counts.differing += found.differing - differing

    async def _scorer(self, asked: _Asked) -> Scorer:
        """The challenger's, read anew when it is old."""
        number = asked.served.champion.challenger
        key = (asked.definition, number, asked.live)
        held, now = self._scorers.get(key), time.monotonic()
        if held is not None and now - held[0] < self._cache_s:
            return held[1]
        entry = await self._reader.entry(asked.definition, number, now + self._timeout_s)
        if entry is None or entry.status != "sealed":
            raise StoreError(f"generation {number} of {asked.definition!r} is not sealed in the table's ledger")
        item = await self._reader.model(asked.definition, number, now + self._timeout_s) if asked.live else None
        if self._solved is None:
            from headrace.serving.scoring import Scoring  # brings NumPy, which a look-up does without

            self._solved = Scoring()
        as_champion = Served(asked.served.champion, Generation.of(entry), None)
        scorer = self._solved.scorer(asked.definition, as_champion, item, live=asked.live)
        former = [one for one in self._scorers if one[0] == asked.definition and one[1] != number]
        for one in former:
            del self._scorers[one]
        self._scorers[key] = now, scorer
        return scorer

    def _rehearsed(self, asked: _Asked) -> Rehearsed:
        """The comparison of these two generations; a new one when there is none, or it is full."""
        pair = (asked.served.generation.number, asked.served.champion.challenger)
        held = self._told.get(asked.definition)
        if held is None or (held.champion, held.challenger) != pair or held.found.compared >= WINDOW:
            from headrace.evaluate.comparison import Comparison

            held = self._told[asked.definition] = Rehearsed(*pair, self._clock(), Comparison())
        return held

    def _counts(self, definition: str) -> Counts:
        return self.counts.setdefault(definition, Counts())
