"""What runs beside the driver and is started again after a failure that passes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from headrace.errors import HeadraceError, StartAgain, TransientError
from headrace.schemas import Vector
from headrace.sources.failures import explained
from headrace.speed.ingest import Ingesting, IngestProgress

log = logging.getLogger(__name__)
OnBatch = Callable[[IngestProgress], None]
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_FAILURES = 10  # in a row, of a query whose failure has no name


@dataclass
class Pause:
    """When a query that failed is started again: after twice the time each time it fails without a micro-batch."""

    until: float = 0.0
    seconds: float = _FIRST_PAUSE_S
    failures: int = 0

    @property
    def is_over(self) -> bool:
        return monotonic() >= self.until

    def after(self, failure: Exception) -> None:
        """Wait for longer. Raises the failure where trying again in this process cannot help."""
        named = isinstance(failure, HeadraceError)
        self.failures += 1
        passes = isinstance(failure, TransientError) and not isinstance(failure, StartAgain)
        if not passes and (named or self.failures > _FAILURES):
            raise failure
        self.until = monotonic() + self.seconds
        self.seconds = min(2 * self.seconds, _LONGEST_PAUSE_S)


def first_line(failure: Exception) -> str:
    """What a failure says, without the stack that Spark appends."""
    return str(failure).partition("\n")[0] or type(failure).__name__


class KeptLanding:
    """The landing of a stream for as long as a driver lives.

    begin: starts landing from where the lake ends, telling each micro-batch to the function it is given.
    """

    def __init__(
        self,
        begin: Callable[[OnBatch], Ingesting],
        *,
        on_batch: OnBatch,
        say: Callable[[str], None],
    ) -> None:
        self._begin = begin
        self._on_batch = on_batch
        self._say = say
        self._pause = Pause()
        self._running: Ingesting | None = None

    def start(self) -> None:
        """Start landing; raises what `begin` raises."""
        self._running = self._begin(self._landed)

    def tend(self) -> None:
        """Start it again if it failed; raises what cannot be mended by that."""
        failure = self._running.exception() if self._running is not None else None
        if failure is not None:
            self.stop()
            self._after(failure)
        if self._running is None and self._pause.is_over:
            try:
                self.start()
            except Exception as error:  # noqa: BLE001 -- sorted there
                self._after(error)

    def covers(self, head: Vector) -> bool:
        """Whether everything below `head` has landed."""
        return self._running is not None and self._running.landed.covers(head)

    def lag(self, head: Vector) -> dict[str, int]:
        """Records of each partition below `head` that have not landed; none while nothing is being landed."""
        if self._running is None:
            return {}
        landed = self._running.landed
        return {log[1]: max(0, n - landed.get(log, 0)) for log, n in head.items()}

    def stop(self) -> None:
        """End after the micro-batch in work."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def _after(self, failure: Exception) -> None:
        named = explained(failure) or failure
        self._pause.after(named)
        log.warning("landing is started again: %s", named)
        self._say(f"landing is started again: {first_line(named)}")

    def _landed(self, progress: IngestProgress) -> None:
        self._pause = Pause()
        self._on_batch(progress)
