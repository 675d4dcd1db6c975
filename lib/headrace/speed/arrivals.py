"""What arrived in one micro-batch: decoded once, counted, and held in memory while it is landed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from headrace.definitions import Definition
from headrace.schemas.lake import FOUND
from headrace.sources.payloads import decode, good, quarantined

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Arrivals:
    """The records of a micro-batch, or those of them that had not landed.

    rows: good ones. by_reason: bad ones by kind of fault. first: the first position of each partition.
    earliest, latest: event times of the good ones, None without any.
    """

    decoded: DataFrame
    rows: int
    by_reason: dict[str, int]
    first: dict[int, int]
    earliest: datetime | None
    latest: datetime | None

    @property
    def bad(self) -> int:
        return sum(self.by_reason.values())

    @property
    def total(self) -> int:
        return self.rows + self.bad

    @property
    def events(self) -> DataFrame:
        """The good ones: the declared columns and schemas.META_COLUMNS."""
        return good(self.decoded)

    def quarantined(self, seen_ts: datetime) -> DataFrame:
        """The bad ones: schemas.lake.QUARANTINE_COLUMNS."""
        return quarantined(self.decoded, seen_ts)

    def beyond(self, landed: Mapping[int, int]) -> Arrivals:
        """Those at or beyond the position of their partition in `landed` (absent: all of it)."""
        from pyspark.sql import functions as F

        if all(first >= landed.get(partition, 0) for partition, first in self.first.items()):
            return self
        kept = [(F.col("_partition") == str(p)) & (F.col("_position") >= landed.get(p, 0)) for p in sorted(self.first)]
        return _counted(self.decoded.where(reduce(or_, kept)))


def decoded_by(definition: Definition, records: DataFrame, incarnation: str, max_ahead_s: int) -> DataFrame:
    """Records of `sources.kafka.stream_records`, decoded in the one way that landing and counting share."""
    source = definition.source
    return decode(
        records,
        source.schema,
        definition.event_time,
        payload=source.payload,
        incarnation=incarnation,
        source=source.name,
        max_ahead_s=max_ahead_s,
        schemas=source.payload_schemas,
    )


@contextmanager
def arrived(decoded: DataFrame) -> Iterator[Arrivals]:
    """A micro-batch of records as `decoded_by` gives them, read once and given back at the end of the block."""
    from pyspark import StorageLevel

    decoded = decoded.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        yield _counted(decoded)
    finally:
        decoded.unpersist()


def _counted(decoded: DataFrame) -> Arrivals:
    from pyspark.sql import functions as F

    groups = (
        decoded.groupBy("_partition", F.substring_index("_reason", FOUND, 1).alias("kind"))
        .agg(
            F.count("*").alias("rows"),
            F.min("_position").alias("first"),
            F.unix_micros(F.min("_event_ts")).alias("earliest"),
            F.unix_micros(F.max("_event_ts")).alias("latest"),
        )
        .collect()
    )
    well = [group for group in groups if group["kind"] is None]
    first: dict[int, int] = {}
    by_reason: dict[str, int] = {}
    for group in groups:
        partition = int(group["_partition"])
        first[partition] = min(group["first"], first.get(partition, group["first"]))
        if group["kind"] is not None:
            by_reason[group["kind"]] = by_reason.get(group["kind"], 0) + group["rows"]
    return Arrivals(
        decoded,
        sum(group["rows"] for group in well),
        dict(sorted(by_reason.items(), key=lambda reason: (-reason[1], reason[0]))),
        first,
        min((_instant(group, "earliest") for group in well), default=None),
        max((_instant(group, "latest") for group in well), default=None),
    )


def _instant(group: Row, which: str) -> datetime:
    return _EPOCH + timedelta(microseconds=group[which])
