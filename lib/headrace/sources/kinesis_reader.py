"""The shards of a stream read side by side, each record given the next position of its shard.

Read by the driver, so that what was read is data: a task that Spark repeats could not read the same records to the same
end again, and their positions would shift.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.errors import RetentionGap
from headrace.sources.kinesis import AT_MOST, Expired, Gone, Kinesis, Shard
from headrace.sources.kinesis_marks import (
    LEAP,
    TRIM_HORIZON,
    Mark,
    Marks,
    may_have_lost,
    ready,
    whole_at,
    with_new,
    without_expired,
)
from headrace.sources.streams import Reach

if TYPE_CHECKING:
    import pyarrow as pa

_THREADS = 8
_PAUSE_S = 0.2  # Kinesis answers a shard five times a second


@dataclass(frozen=True)
class Fetched:
    """What came of one shard: records, in its order, and how far it is read then. is_full: there may be more."""

    records: list[dict[str, Any]]
    mark: Mark
    is_full: bool


@dataclass(frozen=True)
class Read:
    """What came of all shards. marks: how far they are read with it. is_full: there may be more at once."""

    fetched: Mapping[int, Fetched]
    before: Marks
    marks: Marks
    is_full: bool

    @property
    def rows(self) -> int:
        return sum(len(each.records) for each in self.fetched.values())

    @property
    def start(self) -> dict[int, int]:
        """The next position of each shard before."""
        return {number: mark.next for number, mark in self.before.items()}

    @property
    def reach(self) -> Reach:
        """The next position of each shard after, and its mark."""
        marks = self.marks.items()
        return Reach({n: mark.next for n, mark in marks}, {n: mark.to_json() for n, mark in marks})

    def table(self) -> pa.Table:
        """Columns value, partition, offset, timestamp, sequence, as `payloads.decode` takes them."""
        import pyarrow as pa

        records = [record for each in self.fetched.values() for record in each.records]
        firsts = [(n, self.before[n].next, len(each.records)) for n, each in self.fetched.items()]
        arrived = [int(record["ApproximateArrivalTimestamp"] * 1_000_000) for record in records]
        return pa.table(
            {
                "value": pa.array([record["Data"] for record in records], pa.binary()),
                "partition": pa.array([n for n, _, count in firsts for _ in range(count)], pa.int32()),
                "offset": pa.array(
                    [at for _, first, count in firsts for at in range(first, first + count)], pa.int64()
                ),
                "timestamp": pa.array(arrived, pa.timestamp("us", "UTC")),
                "sequence": pa.array([record["SequenceNumber"] for record in records], pa.string()),
            }
        )


class ShardReader:
    """Reads on from `marks`, which move when what was read is `done`; use it in a `with`, from one thread."""

    def __init__(
        self, kinesis: Kinesis, marks: Marks, *, since: str, most: int, clock: Callable[[], float] = time.time
    ) -> None:
        self.marks = dict(marks)
        self._kinesis = kinesis
        self._since = since
        self._most = most or AT_MOST * _THREADS
        self._clock = clock
        self._began = datetime.fromtimestamp(clock(), UTC).isoformat()
        # Of each shard that is being read: its iterator, and whether the record before it was seen to be there.
        self._open: dict[int, tuple[str, bool]] = {}
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="shard")

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def read(self) -> Read:
        """What the shards hold beyond the marks, up to a bound. Raises RetentionGap when some of it is gone."""
        shards = self._kinesis.shards()
        for number in self.marks.keys() - {shard.number for shard in shards}:
            if not self.marks[number].is_ended and may_have_lost(
                self.marks[number], self._kinesis.retention_s, self._clock()
            ):
                raise self._lost(number, self.marks[number])
        before = with_new(shards, without_expired(shards, self.marks), self._since, self._began)
        due = ready(shards, before)
        share = max(1, self._most // max(1, len(due)))
        found = self._pool.map(lambda shard: (shard.number, self.fetch(shard, before[shard.number], share)), due)
        fetched = dict(found)
        marks = {**before, **{number: each.mark for number, each in fetched.items()}}
        # A parent that has ended makes its children ready.
        is_full = any(each.is_full or each.mark.is_ended for each in fetched.values())
        return Read(fetched, before, marks, is_full)

    def done(self, read: Read) -> None:
        """Go on after what was read."""
        self.marks = dict(read.marks)

    @property
    def whole_at(self) -> float | None:
        """Everything that had arrived by then is below the marks."""
        return whole_at(self.marks)

    def fetch(self, shard: Shard, mark: Mark, most: int) -> Fetched:
        """At most so many records of one shard beyond a mark. Raises RetentionGap."""
        found: list[dict[str, Any]] = []
        iterator, is_sure = self._open.pop(shard.number) if shard.number in self._open else self._opened(shard, mark)
        while True:
            asked = self._clock()
            try:
                answer = self._kinesis.records(iterator, min(AT_MOST, most - len(found) + (not is_sure)))
            except Expired:
                iterator, is_sure = self._opened(shard, mark)
                continue
            records = answer.records
            if not is_sure and (records or answer.next is None or answer.behind_s <= 0):
                is_sure = True
                if records and records[0]["SequenceNumber"] == mark.after:
                    records = records[1:]
                elif may_have_lost(mark, self._kinesis.retention_s, asked):
                    raise self._lost(shard.number, mark)
            found += records
            if records:
                mark = replace(mark, next=mark.next + len(records), after=records[-1]["SequenceNumber"])
            if answer.next is None:
                return Fetched(found, replace(mark, is_ended=True), is_full=False)
            iterator, mark = answer.next, replace(mark, read_at=asked - answer.behind_s)
            is_full = len(found) >= most
            if is_full or answer.behind_s <= 0:
                self._open[shard.number] = iterator, is_sure
                return Fetched(found, mark, is_full)
            if not answer.records:
                time.sleep(_PAUSE_S)  # an empty answer somewhere before the next record

    def _opened(self, shard: Shard, mark: Mark) -> tuple[str, bool]:
        """An iterator, and whether nothing between it and the mark can be missing.

        At the last landed record rather than after it: while that one is there, none after it has expired.
        """
        try:
            if mark.after:
                return self._kinesis.iterator(shard, "AT_SEQUENCE_NUMBER", mark.after), False
            if mark.since != TRIM_HORIZON:
                return self._kinesis.iterator(shard, "AT_TIMESTAMP", datetime.fromisoformat(mark.since)), True
            return self._kinesis.iterator(shard, TRIM_HORIZON), False
        except Gone as error:
            raise self._lost(shard.number, mark) from error

    def _lost(self, number: int, mark: Mark) -> RetentionGap:
        return RetentionGap(
            f"stream {self._kinesis.stream!r} no longer holds events that were not landed",
            found=f"shard {number}: from position {mark.next} on an unknown number",
            do="start again: it says what can be done",
        )


def has_lost(kinesis: Kinesis, shard: Shard, mark: Mark, now: float) -> bool:
    """Whether records of a shard beyond its mark may have expired, as a look at its next record tells."""
    reader = ShardReader(kinesis, {shard.number: mark}, since=TRIM_HORIZON, most=1, clock=lambda: now)
    with reader:
        try:
            reader.fetch(shard, mark, 1)
        except RetentionGap:
            return True
    return False


def held_by(marks: Marks, lost: Mapping[int, bool]) -> dict[int, tuple[int, int]]:
    """For each shard the earliest position that can still be read, and the next one.

    >>> held_by({0: Mark(next=7), 1: Mark(next=3)}, {0: False, 1: True})
    {0: (0, 7), 1: (1000000000003, 1000000000003)}
    """
    ends = {number: mark.next + LEAP if lost.get(number) else mark.next for number, mark in marks.items()}
    return {number: (end if lost.get(number) else 0, end) for number, end in ends.items()}
