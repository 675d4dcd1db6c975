"""The speed layer's log for machines: one JSON object a line, on a logger of its own.

docs/streaming.md lists the events and their keys, which are stable: a key may be added, none changes its meaning.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headrace.errors import HeadraceError

if TYPE_CHECKING:
    from headrace.schemas import Vector
    from headrace.speed.lander import IngestProgress
    from headrace.speed.update import Batch

NAME = "headrace.batches"
_journal = logging.getLogger(NAME)


def counted(definition: str, batch: Batch) -> None:
    """A micro-batch of a generation's query was counted."""
    interim = batch.interim
    _write(
        logging.INFO,
        "counted",
        definition=definition,
        generation=batch.generation,
        written=interim.settled.written,
        replayed=interim.settled.replayed,
        recut=interim.recut,
        guard_failures=interim.settled.refused,
        throttled=interim.settled.throttled,
        seconds=_rounded(batch.seconds),
        phases=_each_rounded(interim.phases),
        as_of=interim.progress.as_of.isoformat(),
        vector=interim.progress.vector.to_json(),
    )


def landed(stream: str, progress: IngestProgress) -> None:
    """A micro-batch landed in the lake; a warning when too great a share of its records was bad."""
    _write(
        logging.WARNING if progress.alarms else logging.INFO,
        "landed",
        stream=stream,
        rows=progress.rows,
        quarantined=progress.quarantined,
        replayed=progress.replayed,
        lag={str(partition): records for partition, records in progress.lag.items()},
        seconds=_rounded(progress.seconds),
        phases=_each_rounded(progress.phases),
        vector=progress.landed.to_json(),
    )


def handed_over(definition: str, former: int, generation: int, *, seconds: float, still_s: float, at: Vector) -> None:
    """Readers moved on. seconds: since it was asked for; still_s: of them, those in which the former stood still."""
    _write(
        logging.INFO,
        "handed_over",
        definition=definition,
        generation=generation,
        former=former,
        seconds=_rounded(seconds),
        still_s=_rounded(still_s),
        vector=at.to_json(),
    )


@contextmanager
def refusals(definition: str, generation: int) -> Iterator[None]:
    """Note, as a warning, an error that keeps a generation from taking over."""
    try:
        yield
    except HeadraceError as error:
        _write(logging.WARNING, "handover_refused", definition=definition, generation=generation, error=str(error))
        raise


def _write(level: int, event: str, **values: object) -> None:
    if _journal.isEnabledFor(level):
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        shown = logging.getLevelName(level).lower()
        _journal.log(level, "%s", json.dumps({"time": time, "level": shown, "event": event, **values}))


def _rounded(seconds: float) -> float:
    return round(seconds, 4)


def _each_rounded(phases: Mapping[str, float]) -> dict[str, float]:
    return {phase: _rounded(seconds) for phase, seconds in phases.items()}
