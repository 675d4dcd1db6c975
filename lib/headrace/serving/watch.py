"""What this process has seen of each definition since it began: how old answers were, and which layer gave them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter

from headrace.errors import HeadraceError
from headrace.serving.merge import Served, iso
from headrace.serving.overview import Watched, served_now

log = logging.getLogger(__name__)

KEPT = 4320  # samples of each definition: six hours at five seconds
SHOWN = 240  # points of a series in an answer


@dataclass(frozen=True)
class Sample:
    """One look at a definition. answers: those given by each layer since the look before."""

    at: datetime
    age_s: float
    stale: bool
    generation: int
    answers: Mapping[str, int]


class Watch:
    """Looks at every definition each `every_s` seconds (0: never), in a thread of its own; safe to use from many."""

    def __init__(self, store: Watched, clock: Callable[[], datetime], every_s: float) -> None:
        self.every_s = every_s
        self._store = store
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._known: dict[str, Served] = {}
        self._samples: dict[str, deque[Sample]] = {}
        self._answers: dict[str, Counter[str]] = {}
        self._unread: dict[str, Counter[str]] = {}

    async def run(self) -> None:
        """Until it is cancelled; what the store refuses is tried again at the next look."""
        thread = CapacityLimiter(1)
        while self.every_s > 0:
            await asyncio.sleep(self.every_s)
            try:
                await anyio.to_thread.run_sync(self.look, limiter=thread, abandon_on_cancel=True)
            except Exception:
                log.exception("a look at the store failed")

    def look(self) -> None:
        """One look at every definition."""
        try:
            for definition in self._store.definitions():
                try:
                    self._add(definition, served_now(self._store, definition, self._known.get(definition)))
                except HeadraceError as error:
                    log.info("%s is not watched now: %s", definition, error)
        except HeadraceError as error:
            log.info("definitions are not watched now: %s", error)

    def answered(self, definition: str, layers: Mapping[str, int]) -> None:
        """Count answers by layer (batch, speed), and entities without one (missing)."""
        with self._lock:
            for counts in (self._answers, self._unread):
                held = counts.setdefault(definition, Counter())
                for layer, answers in layers.items():  # at every look-up: Counter.update takes ten times as long
                    held[layer] += answers

    def told(self, definition: str) -> dict[str, Any]:
        """What was seen of a definition: since when, answers by layer, and a series of at most SHOWN points.

        A point covers `every_s` or, in a long series, several looks: the greatest age of them, the sum of answers.
        """
        with self._lock:
            samples = list(self._samples.get(definition, ()))
            answers = dict(self._answers.get(definition, {}))
        width = -(-len(samples) // SHOWN) or 1
        return {
            "since": iso(self._began),
            "every_s": self.every_s,
            "answers": {layer: answers.get(layer, 0) for layer in ("batch", "speed", "missing")},
            "points": [_point(samples[start : start + width]) for start in range(0, len(samples), width)],
        }

    def _add(self, definition: str, served: Served) -> None:
        now = self._clock()
        self._known[definition] = served
        with self._lock:
            answers = self._unread.pop(definition, Counter())
            kept = self._samples.setdefault(definition, deque(maxlen=KEPT))
            kept.append(Sample(now, served.age_s(now), served.stale(now), served.generation.number, dict(answers)))


def _point(samples: list[Sample]) -> dict[str, Any]:
    answers: Counter[str] = Counter()
    for sample in samples:
        answers.update(sample.answers)
    return {
        "at": iso(samples[-1].at),
        "age_s": max(sample.age_s for sample in samples),
        "stale": any(sample.stale for sample in samples),
        "generation": samples[-1].generation,
        "batch": answers["batch"],
        "speed": answers["speed"],
    }
