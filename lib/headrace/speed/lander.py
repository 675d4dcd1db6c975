"""What a landing stream does with each micro-batch, and what it says of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from headrace.config import Settings
from headrace.errors import HeadraceError, OverlapError, TransientError
from headrace.schemas import Vector
from headrace.sources.streams import Feed, Reach, Topic, check_topic
from headrace.speed.arrivals import Arrivals, arrived
from headrace.speed.landing import LakeEnd, Landing
from headrace.speed.phases import Phases

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)
N = TypeVar("N", int, float)
_JUDGED = 1_000  # records of a micro-batch from which on its share of bad ones says something


@dataclass(frozen=True)
class IngestProgress:
    """What one micro-batch did, or, added up, several.

    rows: events landed. quarantined: bad records by kind. replayed: records read again that had landed before.
    landed: where the lake ends now. alarms: micro-batches with a greater share of bad records than
    ingest.max_quarantine_share. lag: records of each partition that had not been read when it ended. phases: seconds
    of each phase it went through: decode, claim (a driver's first), quarantine, land.
    """

    rows: int = 0
    quarantined: Mapping[str, int] = field(default_factory=dict)
    replayed: int = 0
    batches: int = 0
    alarms: int = 0
    seconds: float = 0.0
    landed: Vector = field(default_factory=Vector)
    lag: Mapping[int, int] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, later: IngestProgress) -> IngestProgress:
        return IngestProgress(
            self.rows + later.rows,
            _summed(self.quarantined, later.quarantined),
            self.replayed + later.replayed,
            self.batches + later.batches,
            self.alarms + later.alarms,
            self.seconds + later.seconds,
            later.landed,
            later.lag,
            _summed(self.phases, later.phases),
        )


@dataclass(frozen=True)
class Start:
    """Where one driver begins: the topic, where the lake ended, the positions it reads from.

    history_ends: the latest event time of the history, where the first events of the stream must be later.
    """

    topic: Topic
    end: LakeEnd
    offsets: Mapping[int, int]
    history_ends: datetime | None


class Lander:
    """Lands micro-batches, each once, from `start` on; `next` says up to which positions, `place` what finds them."""

    def __init__(
        self,
        settings: Settings,
        feed: Feed,
        landing: Landing,
        start: Start,
        *,
        on_step: Callable[[str], None],
        clock: Callable[[], datetime],
    ) -> None:
        self.next = dict(start.offsets)
        self.place = start.end.place
        self._settings = settings
        self._feed = feed
        self._landing = landing
        self._start = start
        self._topic = start.topic
        self._history_ends = start.history_ends
        self._on_step = on_step
        self._clock = clock

    @property
    def landed(self) -> Vector:
        return Vector.of(self._topic.incarnation, self.next)

    def land(self, decoded: DataFrame, end: Reach) -> IngestProgress:
        """Land the decoded records of a micro-batch that had not landed. end: where it ends.

        Raises StreamRecreated, OverlapError and IngestFenced, the last perhaps after bad records were quarantined,
        which the driver that fenced this one removes; TransientError where another driver has counted meanwhile.
        """
        began, phases = monotonic(), Phases()
        if all(n <= self.next.get(p, 0) for p, n in end.ends.items()):
            return IngestProgress(landed=self.landed, lag=self._lag())  # a query's first batch may be empty
        with arrived(decoded) as batch:
            # What was read before this look is of this life of the topic.
            check_topic(self._feed.topic(), self._topic.incarnation)
            new = batch.beyond(self.next)
            self._refuse_overlap(new)
            phases.end("decode")
            if new.total and not self._landing.is_claimed:
                now = self._clock()
                empty = batch.events.limit(0), batch.quarantined(now).limit(0)
                # What another driver landed since this one started is in it.
                claimed = dict(self._landing.claim(self._start.end, self._start.offsets, *empty, now).next)
                self._refuse_counted_elsewhere(claimed)
                self.next = claimed
                new = new.beyond(self.next)
                phases.end("claim")
            reached = {p: max(end.ends.get(p, 0), self.next.get(p, 0)) for p in {*end.ends, *self.next}}
            if new.total:
                self._write(new, Reach(reached, end.place), phases)
            self.next, self.place = reached, end.place
            return IngestProgress(
                rows=new.rows,
                quarantined=new.by_reason,
                replayed=batch.total - new.total,
                batches=1,
                alarms=int(self._is_alarming(new)),
                seconds=monotonic() - began,
                landed=self.landed,
                lag=self._lag(),
                phases=phases.seconds,
            )

    def _write(self, new: Arrivals, reached: Reach, phases: Phases) -> None:
        self._on_step("decoded")
        if new.bad:
            self._landing.quarantine(new.quarantined(self._clock()), new.bad)
            phases.end("quarantine")
        self._on_step("quarantined")
        self._landing.land(new.events, new.rows, reached)
        phases.end("land")
        self._on_step("landed")

    def _refuse_counted_elsewhere(self, claimed: Mapping[int, int]) -> None:
        """Positions that were counted from where the lake ended mean nothing once it ends elsewhere."""
        if self._feed.is_counted and any(n > self.next.get(p, 0) for p, n in claimed.items()):
            raise TransientError(
                f"another driver landed {self._topic.kind} {self._topic.name!r} while this one began",
                do="it is started again from where the lake ends now",
            )

    def _refuse_overlap(self, new: Arrivals) -> None:
        """Look at the first events of a stream that has history: nothing may be in both, unless copies count once."""
        if self._history_ends is None or new.earliest is None or new.latest is None:
            return
        if new.earliest <= self._history_ends:
            raise OverlapError(
                f"events of {self._topic.kind} {self._topic.name!r} may count twice: its history covers this time",
                found=f"first events of the {self._topic.kind} from {_shown(new.earliest)} to {_shown(new.latest)}",
                expected=f"events after the history, which reaches to {_shown(self._history_ends)}",
                do="declare event_id in the definition, by which copies count once; or vouch by --disjoint that none "
                "is in both; or cut the history off before the stream begins",
            )
        self._history_ends = None

    def _is_alarming(self, new: Arrivals) -> bool:
        limit = self._settings.ingest.max_quarantine_share
        if new.total < _JUDGED or new.bad <= limit * new.total:
            return False
        found = f"{new.bad} of {new.total} records of a micro-batch are bad, more than {limit:.1%}"
        log.warning("stream %s: %s; they are quarantined: %s", self._topic.name, found, new.by_reason)
        return True

    def _lag(self) -> dict[int, int]:
        try:
            return self._feed.lag(self._topic, self.next)
        except HeadraceError:
            return {}


def _summed(one: Mapping[str, N], other: Mapping[str, N]) -> dict[str, N]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in dict.fromkeys([*one, *other])}


def _shown(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%SZ")
