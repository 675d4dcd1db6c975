"""Where reading a stream begins, and the ledger of positions that were given up."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import RetentionGap, StreamRecreated
from headrace.schemas.lake import GAP_COLUMNS, gaps_path
from headrace.sources.lake import is_table
from headrace.sources.streams import Topic, check_retention

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from headrace.speed.landing import LakeEnd

# incarnation, partition, first position, the one after the last (None: unknown)
Gap = tuple[str, str, int, int | None]


def beginning(
    topic: Topic, held: Mapping[int, tuple[int, int]], end: LakeEnd, *, allow_gap: bool
) -> tuple[dict[int, int], list[Gap]]:
    """Where reading begins, and what is given up by that: ranges of positions that never land.

    A topic that was never landed begins with what it still holds. held: partition -> earliest and next position.
    Raises StreamRecreated and RetentionGap unless `allow_gap`. Pure.
    """
    gaps: list[Gap] = []
    if end.is_new and end.former:
        if not allow_gap:
            raise _recreated(topic, end.former)
        gaps += [(life, str(p), n, None) for life, ends in end.former.items() for p, n in sorted(ends.items())]
    if end.is_new:
        start = {partition: earliest for partition, (earliest, _) in held.items()}
        gaps += [(topic.incarnation, str(p), 0, earliest) for p, earliest in start.items() if earliest]
        return start, gaps
    start = {partition: end.next.get(partition, 0) for partition in topic.partitions}
    try:
        check_retention(
            held,
            start,
            topic,
            do="go on with what is held by --allow-gap, which notes the missing range in the lake's gaps; "
            + topic.lost,
        )
    except RetentionGap:
        if not allow_gap or any(start[p] > following for p, (_, following) in held.items() if p in start):
            raise
    missing = [(p, start[p], earliest) for p, (earliest, _) in held.items() if start[p] < earliest]
    gaps += [(topic.incarnation, str(p), first, earliest) for p, first, earliest in missing]
    return {**start, **{p: earliest for p, _, earliest in missing}}, gaps


def given_up(spark: SparkSession, lake: Path, stream: str) -> dict[tuple[str, str], int | None]:
    """For each log the position up to which missing events were given up; None where its life is over."""
    found: dict[tuple[str, str], int | None] = {}
    for life, partition, _, n in gaps_of(spark, lake, stream):
        before = found.get((life, partition), 0)
        found[life, partition] = None if n is None or before is None else max(n, before)
    return found


def gaps_of(spark: SparkSession, lake: Path, stream: str) -> list[Gap]:
    """What gaps/<stream> holds."""
    path = gaps_path(lake, stream)
    if not is_table(spark, path):
        return []
    rows = spark.read.format("delta").load(str(path)).collect()
    return [(row["_incarnation"], row["_partition"], row["first"], row["next"]) for row in rows]


def note_gaps(spark: SparkSession, lake: Path, stream: str, gaps: Sequence[Gap], seen_ts: datetime) -> None:
    """Add ranges to gaps/<stream> (schemas.lake.GAP_COLUMNS), the same ones once."""
    if not gaps:
        return
    ddl = ", ".join(f"{name} {kind}" for name, kind in GAP_COLUMNS.items())
    name = f"headrace/gaps/{hashlib.sha256(repr(sorted(gaps, key=repr)).encode()).hexdigest()}"
    rows = spark.createDataFrame([(*gap, seen_ts) for gap in gaps], ddl).coalesce(1)
    rows.write.format("delta").options(txnAppId=name, txnVersion="1").mode("append").save(str(gaps_path(lake, stream)))


def _recreated(topic: Topic, former: Mapping[str, Mapping[int, int]]) -> StreamRecreated:
    return StreamRecreated(
        f"{topic.kind} {topic.name!r} was deleted and made anew: its positions mean other events now",
        found=f"{topic.kind} id {topic.incarnation}",
        expected=", ".join(sorted(former)),
        do=f"land the new {topic.kind}'s events beside those of the former by --allow-gap, which notes in the lake's "
        f"gaps where the former was left; or give the new {topic.kind} a stream name of its own",
    )
