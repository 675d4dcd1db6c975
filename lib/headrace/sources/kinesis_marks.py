"""How far each shard has landed, and which shards may be read: parents wholly before their children. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from headrace.sources.kinesis import Shard
from headrace.sources.streams import Place

TRIM_HORIZON, LATEST = "TRIM_HORIZON", "LATEST"
# By how much positions leap over records that were lost: nobody knows how many they were, and none of their positions
# may be given to others. A shard takes 1,000 records a second, which is this many in thirty years.
LEAP = 1_000_000_000_000


@dataclass(frozen=True)
class Mark:
    """How far one shard has landed.

    next: the position of its next record. after: the sequence number of the one before, "" without any. since: where
    reading begins then, TRIM_HORIZON or an instant. is_ended: all of a closed shard has landed. read_at: seconds of
    the epoch; all that had arrived by then is below `next`.
    """

    next: int = 0
    after: str = ""
    since: str = TRIM_HORIZON
    is_ended: bool = False
    read_at: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


Marks = Mapping[int, Mark]


def marks_of(place: Place, starts: Mapping[int, int]) -> dict[int, Mark]:
    """The marks that the lake holds; where `starts` is further, what is between was given up.

    >>> marks_of({0: {"next": 2, "after": "17"}}, {0: 5})
    {0: Mark(next=5, after='', since='TRIM_HORIZON', is_ended=False, read_at=None)}
    """
    marks = {number: Mark(**told) for number, told in place.items()}
    for number, start in starts.items():
        if number in marks and start > marks[number].next:
            marks[number] = Mark(next=start)
    return marks


def with_new(shards: Collection[Shard], marks: Marks, since: str, now: str) -> dict[int, Mark]:
    """The marks with those of shards that have none yet.

    since: where a stream begins that has never landed; now: the instant that LATEST means. A shard that appears later
    is a child: it begins at its first record, which arrived after its parents were last read.
    """
    known = dict(marks)
    for shard in shards:
        if shard.number in marks:
            continue
        if marks:
            read = [marks[p].read_at for p in shard.parents if p in marks]
            known[shard.number] = Mark(read_at=min((at for at in read if at is not None), default=None))
        elif since == LATEST:
            known[shard.number] = Mark(since=now, is_ended=shard.is_closed)
        else:
            known[shard.number] = Mark(since=since)
    return known


def ready(shards: Collection[Shard], marks: Marks) -> list[Shard]:
    """The shards to read: not ended, and no parent of theirs has records that did not land.

    >>> split = [Shard(0, "a", (), True), Shard(1, "b", (0,), False)]
    >>> [s.number for s in ready(split, {0: Mark(), 1: Mark()})]
    [0]
    >>> [s.number for s in ready(split, {0: Mark(is_ended=True), 1: Mark()})]
    [1]
    """
    listed = {shard.number for shard in shards}
    unread = {number for number, mark in marks.items() if number in listed and not mark.is_ended}
    return [shard for shard in shards if shard.number in unread and unread.isdisjoint(shard.parents)]


def may_have_lost(mark: Mark, retention_s: float, now: float) -> bool:
    """Whether records after the mark may have expired, where the one before it has: not if it was read since.

    Nothing that arrived after `read_at` can have expired while that is within the retention, a margin for clocks apart.
    """
    return mark.read_at is not None and now - mark.read_at >= retention_s - _MARGIN_S


_MARGIN_S = 60.0


def without_expired(shards: Collection[Shard], marks: Marks) -> dict[int, Mark]:
    """The marks, those of shards that Kinesis lists no more ended: it forgets a shard after its last record."""
    listed = {shard.number for shard in shards}
    return {n: mark if n in listed or mark.is_ended else replace(mark, is_ended=True) for n, mark in marks.items()}


def whole_at(marks: Marks) -> float | None:
    """Everything that had arrived by then is below the marks; None where that is not known."""
    read = [mark.read_at for mark in marks.values() if not mark.is_ended]
    return None if None in read else min((at for at in read if at is not None), default=None)
