"""What a driver says of itself while it lives: a small file under home, which `headrace status --streams` reads."""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from headrace.batch.lease import is_dead

log = logging.getLogger(__name__)
SCHEMA = 1
RECENT_S = 60.0
_KEPT_EVERY_S = 5.0
_BEAT_S = 0.5  # a file is written this seldom at least
_BUCKETS_OF = "headrace_freshness_seconds"  # the one histogram of which more is shown than count and sum


class Pulse:
    """The file `home/drivers/<definition>/<owner>.json`, replaced whole at each beat and left when the driver is gone.

    It holds: schema (1), definition, owner (`host:pid:start time`), only (ingest, update or null), heartbeat_s, at (of
    this beat), ended (whether the driver said that it ends), recent_s, and two lists of samples [name, labels, value]
    with the names that Prometheus reads: `samples` of now and `before` of recent_s earlier, at most a minute.
    """

    def __init__(
        self, home: Path, definition: str, owner: str, registry: CollectorRegistry, clock: Callable[[], datetime]
    ) -> None:
        self._folder = folder(home, definition)
        self._path = self._folder / f"{owner}.json"
        self._told = {"schema": SCHEMA, "definition": definition, "owner": owner}
        self._registry = registry
        self._clock = clock
        self._kept: deque[tuple[datetime, list[Any]]] = deque()
        self._beaten: datetime | None = None
        self._lock = threading.Lock()

    def begin(self, only: str | None, heartbeat_s: float) -> None:
        """The first beat; what drivers left that did the same and are gone is removed."""
        self._told |= {"only": only, "heartbeat_s": heartbeat_s}
        for path, told in told_in(self._folder):
            if told["only"] == only and (told["ended"] or is_dead(told["owner"])):
                with suppress(OSError):
                    path.unlink()
        self.beat()

    def beat(self, *, ended: bool = False) -> None:
        """Say how it stands, from any thread; a file that cannot be written stops nothing."""
        with self._lock:
            at = self._clock()
            if not ended and self._beaten is not None and (at - self._beaten).total_seconds() < _BEAT_S:
                return
            self._beaten = at
            samples = self._samples()
            before_at, before = self._before(at, samples)
            told = {**self._told, "at": at.isoformat(), "ended": ended, "samples": samples, "before": before}
            told["recent_s"] = (at - before_at).total_seconds()
            partial = self._path.with_suffix(".partial")
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                partial.write_text(json.dumps(told), "utf-8")
                partial.replace(self._path)
            except OSError as error:
                log.warning("what `headrace status --streams` shows cannot be written: %s", error)

    def _samples(self) -> list[Any]:
        return [
            [sample.name, sample.labels, sample.value]
            for family in self._registry.collect()
            for sample in family.samples
            if not sample.name.endswith("_created") and (family.name == _BUCKETS_OF or "le" not in sample.labels)
        ]

    def _before(self, at: datetime, samples: list[Any]) -> tuple[datetime, list[Any]]:
        """The samples of a minute ago, or of the first beat."""
        kept = self._kept
        if not kept or (at - kept[-1][0]).total_seconds() >= _KEPT_EVERY_S:
            kept.append((at, samples if kept else []))  # before the first beat nothing had happened
        while (at - kept[0][0]).total_seconds() > RECENT_S:
            kept.popleft()
        return kept[0]


def folder(home: Path, definition: str) -> Path:
    """Where the drivers of a definition say how they stand."""
    return home / "drivers" / definition


def told_in(place: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The files of drivers in a folder and what they hold, but for what is gone by now, broken or of another schema."""
    found = []
    for path in sorted(place.glob("*.json")):
        try:
            told = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(told, dict) and told.get("schema") == SCHEMA:
            found.append((path, told))
    return found
