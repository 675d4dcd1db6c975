"""How long the phases of a micro-batch take."""

from __future__ import annotations

from time import monotonic


class Phases:
    """Seconds by phase, of the phases that a micro-batch went through; each begins where the one before ended."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = monotonic()

    def end(self, phase: str) -> None:
        """The phase that is going on was this one; the next begins."""
        now = monotonic()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._began
        self._began = now
