"""What a micro-batch of the speed layer did, made up."""

from __future__ import annotations

from datetime import UTC, datetime

from headrace.schemas import Vector
from headrace.speed.interval import Interim
from headrace.speed.settling import Settled
from headrace.speed.update import Batch
from headrace.stores.port import Progress

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def batch(generation: int, *ages: float, recut: int = 0, replayed: int = 0, **phases: float) -> Batch:
    """A micro-batch that wrote items of these ages."""
    settled = Settled(written=len(ages), replayed=replayed, refused=2)
    for age in ages:
        settled.count_age(age)
    progress = Progress("taps", generation, Vector(), epoch=1, owner="me", as_of=NOW)
    return Batch(generation, Interim(progress, settled, recut, phases), 0.5)
