"""What counts a stream whose positions landing gives: it follows the lake, by ranges of positions."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.schemas import META_COLUMNS, Schema, Vector
from headrace.schemas.lake import events_path
from headrace.sources.commits import last_note
from headrace.sources.lake import is_table
from headrace.sources.streams import Reach, Topic, Work
from headrace.speed.gaps import Gap, gaps_of
from headrace.speed.landing import lake_end
from headrace.speed.ranges import between

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_STEP = 100_000  # positions of one partition that a micro-batch takes at most
_POLL_S = 0.2


class LakeFollowing:
    """The landed events of one life of a stream, handed on in a thread as they land.

    work: its decoding is not used, as they landed decoded.
    """

    def __init__(
        self, spark: SparkSession, lake: Path, schema: Schema, *, topic: Topic, start: Mapping[int, int], work: Work
    ) -> None:
        from pyspark import InheritableThread

        self._spark = spark
        self._lake = lake
        self._table = events_path(lake, topic.name)
        self._columns = [*schema.names, *META_COLUMNS]
        self._topic = topic
        self._at = dict(start)
        self._work = work
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = InheritableThread(target=self._run, name=work.title, daemon=True)
        self._thread.start()

    @property
    def is_active(self) -> bool:
        return bool(self._thread.is_alive())

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def await_termination(self, timeout: int | None = None) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def exception(self) -> Exception | None:
        return self._failure

    def _run(self) -> None:
        try:
            # The rows say it too, of which the log that is looked at later need not tell any more.
            ends: Mapping[int, int] = lake_end(self._spark, self._lake, self._topic.name, self._topic.incarnation).next
            while not self._stop.is_set():
                self._count_to(ends)
                self._stop.wait(max(_POLL_S, self._work.interval_s))
                ends = self._noted()
        except Exception as error:  # noqa: BLE001 -- for who follows to sort
            self._failure = error

    def _noted(self) -> dict[int, int]:
        note = last_note(self._table)
        if note is None:
            return {}
        return {int(partition): n for (life, partition), n in note.vector.items() if life == self._topic.incarnation}

    def _count_to(self, ends: Mapping[int, int]) -> None:
        if all(n <= self._at.get(p, 0) for p, n in ends.items()) or not is_table(self._spark, self._table):
            return
        events = self._spark.read.format("delta").load(str(self._table)).select(*self._columns)
        gaps: Sequence[Gap] = ()
        if any(n - self._at.get(p, 0) > _STEP for p, n in ends.items()):
            gaps = gaps_of(self._spark, self._lake, self._topic.name)
        while not self._stop.is_set():
            end = step(self._at, ends, [gap for gap in gaps if gap[0] == self._topic.incarnation])
            if end == self._at:
                return
            start, after = (Vector.of(self._topic.incarnation, n) for n in (self._at, end))
            self._work.batch(between(events, start, after), self._at, Reach(end))
            self._at = end


def step(at: Mapping[int, int], ends: Mapping[int, int], gaps: Sequence[Gap]) -> dict[int, int]:
    """Where the next micro-batch ends: so many positions on, or behind a gap in which there are none.

    >>> step({0: 2}, {0: 9, 1: 4}, [])
    {0: 9, 1: 4}
    >>> step({0: 5}, {0: 10**12 + 9}, [("life", "0", 5, 10**12 + 5)])
    {0: 1000000000009}
    """
    reached = dict(at)
    for partition, end in ends.items():
        start = at.get(partition, 0)
        behind = [n for _, p, first, n in gaps if p == str(partition) and n is not None and first <= start < n]
        reached[partition] = max(start, min(end, max([start, *behind]) + _STEP))
    return reached
