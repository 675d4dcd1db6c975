"""One contiguous interval of the log, counted for every entity it touches, and then the progress of the generation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from headrace.errors import StoreError
from headrace.schemas import Vector
from headrace.speed.learning import Sampled, learn
from headrace.speed.phases import Phases
from headrace.speed.settling import Settled
from headrace.stores.port import Progress, Store


class Interval(Sampled, Protocol):
    """The events of each log from `start` to before `end`; a log that is absent in `start` begins at 0."""

    def settle(self, beyond: Mapping[str, Vector] | None) -> Settled:
        """Count the events in the store; with `beyond`, of the entities it names alone, and beyond their vectors."""


@dataclass(frozen=True)
class Interim:
    """What counting one interval did, and where the generation stands now.

    recut: entities whose events had to be cut anew, because an item had counted some of them.
    phases: seconds of each phase it went through: settle, recut, learn, advance.
    """

    progress: Progress
    settled: Settled
    recut: int
    phases: Mapping[str, float] = field(default_factory=dict)


def count(
    interval: Interval,
    store: Store,
    progress: Progress,
    as_of: datetime,
    note: Callable[[Progress], None] = lambda _: None,
) -> Interim:
    """Count an interval, and then say so: the progress item advances after the last item of the interval.

    The model item is one of them, for a learner whose samples are events.

    as_of: the arrival time up to which everything is below the interval's end. note: told of the progress once every
    item is written, before the store is.
    Raises StoreError for an interval that begins beyond the progress, Fenced when another driver took over.
    """
    if not progress.vector.covers(interval.start):
        raise StoreError(
            f"an interval of generation {progress.generation} of {progress.definition!r} leaves events out",
            found=f"it begins at {interval.start.to_json()}",
            expected=f"at or below {progress.vector.to_json()}",
            do="start the stream again: it begins where the store says",
        )
    phases = Phases()
    settled = interval.settle(None)
    phases.end("settle")
    recut = 0
    while settled.mixed:
        beyond, settled.mixed = settled.mixed, {}
        recut += len(beyond)
        settled.add(interval.settle(beyond))
        phases.end("recut")
    if interval.plan.definition.event_learner is not None:
        learn(interval, store)
        phases.end("learn")
    advanced = replace(progress, vector=progress.vector.join(interval.end), as_of=max(as_of, progress.as_of))
    note(advanced)
    store.advance(advanced)
    phases.end("advance")
    return Interim(advanced, settled, recut, phases.seconds)
