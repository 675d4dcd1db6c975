"""What a stream no longer holds, counted from the lake: ranges of positions of one pinned snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from headrace.config import Settings
from headrace.schemas import META_COLUMNS, Vector
from headrace.sources.kafka import Topic
from headrace.sources.lake import snapshot
from headrace.speed.ranges import between
from headrace.speed.settling import Plan
from headrace.speed.spark_interval import SparkInterval
from headrace.stores import Opening

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_STEP = 100_000  # positions of one partition that an interval takes at most


def backlog(
    spark: SparkSession,
    settings: Settings,
    plan: Plan,
    opening: Opening,
    *,
    topic: Topic,
    held: Mapping[int, tuple[int, int]],
    counted: Vector,
) -> Iterator[SparkInterval]:
    """The intervals from `counted` up to where the lake ends, of the partitions whose next event the stream lost.

    held: partition -> earliest and next offset. None where the stream still holds everything. Whether the lake
    reaches far enough is the caller's to check.
    """
    lost = [str(p) for p, (earliest, _) in held.items() if counted.get((topic.incarnation, str(p)), 0) < earliest]
    if not lost:
        return
    seen = snapshot(spark, settings.lake, plan.definition.source.name)
    start = Vector({log: n for log, n in counted.items() if log[0] == topic.incarnation and log[1] in lost})
    ends = {log: n for log, n in seen.cut.items() if log[0] == topic.incarnation and log[1] in lost}
    events = seen.events.select(*plan.definition.source.schema.names, *META_COLUMNS)
    while any(start.get(log, 0) < n for log, n in ends.items()):
        end = Vector({log: min(n, start.get(log, 0) + _STEP) for log, n in ends.items()}).join(start)
        yield SparkInterval(plan, opening, between(events, start, end), start, end)
        start = end
