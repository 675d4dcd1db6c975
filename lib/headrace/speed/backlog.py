"""What a stream no longer holds, counted from the lake: ranges of positions of one pinned snapshot.

What the lake does not hold either is passed over only where that was agreed to when the stream was landed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from headrace.config import Settings
from headrace.schemas import HISTORY, META_COLUMNS, Vector
from headrace.sources.lake import snapshot
from headrace.sources.streams import Topic, check_topic
from headrace.speed.gaps import given_up
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
    """The intervals from `counted` up to where the lake ends, of the logs whose next event the stream lost.

    held: partition -> earliest and next offset. None where the stream still holds everything. Whether the lake
    reaches far enough is the caller's to check. Raises StreamRecreated where a former life of the topic was counted
    and landing did not leave it.
    """
    # Before the snapshot, which then holds everything below what was given up.
    gaps = given_up(spark, settings.lake, plan.definition.source.name)
    left = {incarnation for (incarnation, _), n in gaps.items() if n is None}
    for incarnation in {incarnation for incarnation, _ in counted} - {HISTORY, *left}:
        check_topic(topic, incarnation)
    behind = {(topic.incarnation, str(p)): earliest for p, (earliest, _) in held.items()}
    if not left and counted.covers(Vector(behind)):
        return
    seen = snapshot(spark, settings.lake, plan.definition.source.name)
    lost = {log for log, earliest in behind.items() if counted.get(log, 0) < earliest}
    lost |= {log for log in seen.cut if log[0] in left}
    passed = Vector({log: n for log, n in gaps.items() if n is not None})
    start = Vector({log: n for log, n in counted.items() if log in lost})
    ends = {log: n for log, n in seen.cut.join(passed).items() if log in lost}
    events = seen.events.select(*plan.definition.source.schema.names, *META_COLUMNS)
    while any(start.get(log, 0) < n for log, n in ends.items()):
        end = Vector({log: min(n, start.get(log, 0) + _STEP) for log, n in ends.items()}).join(start)
        yield SparkInterval(plan, opening, between(events, start, end), start, end)
        start = end
