"""Reading the lake: pinned snapshots, which logs have landed, what is in quarantine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import InputError
from headrace.schemas import HISTORY, Vector
from headrace.schemas.lake import FOUND, events_path, quarantine_path
from headrace.sources.commits import commits, noted_end

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Snapshot:
    """One pinned version of a stream's events.

    cut: for each log where it ends: after its last landed event, or after the last record that the driver landing it
    had read, which may have been bad. latest_event: the greatest event time.
    as_of: the arrival time up to which everything that landed is in it.
    """

    version: int
    events: DataFrame
    cut: Vector
    latest_event: datetime
    as_of: datetime
    rows: int


@dataclass(frozen=True)
class LandedLog:
    """One file or stream partition that has events in the lake, and the event time it covers, ends included."""

    incarnation: str
    partition: str
    source: str
    rows: int
    earliest: datetime
    latest: datetime

    @property
    def is_history(self) -> bool:
        return self.incarnation == HISTORY

    def join(self, other: LandedLog) -> LandedLog:
        """Two parts of one log as one."""
        return LandedLog(
            self.incarnation,
            self.partition,
            min(self.source, other.source),
            self.rows + other.rows,
            min(self.earliest, other.earliest),
            max(self.latest, other.latest),
        )


def snapshot(spark: SparkSession, lake: Path, stream: str) -> Snapshot:
    """The events of a stream as of its newest Delta version, which is pinned, with the cut after them.

    Raises InputError when nothing has landed.
    """
    from pyspark.sql import functions as F

    path = events_path(lake, stream)
    if not is_table(spark, path):
        raise _nothing_yet(stream, f"no table {path}")
    known = commits(spark, path)
    pinned = known[0].version
    events = _table(spark, path, pinned)
    logs = (
        events.groupBy("_incarnation", "_partition")
        .agg(
            (F.max("_position") + 1).alias("next"),
            F.unix_micros(F.max("_event_ts")).alias("latest"),
            F.unix_micros(F.max("_arrival_ts")).alias("as_of"),
            F.count("*").alias("rows"),
        )
        .collect()
    )
    if not logs:
        raise _nothing_yet(stream, f"version {pinned} of {path} is empty")
    return Snapshot(
        version=pinned,
        events=events,
        cut=Vector({(log["_incarnation"], log["_partition"]): log["next"] for log in logs}).join(noted_end(known)),
        latest_event=_instant(max(log["latest"] for log in logs)),
        as_of=_instant(max(log["as_of"] for log in logs)),
        rows=sum(log["rows"] for log in logs),
    )


def events_at(spark: SparkSession, lake: Path, stream: str, version: int | None = None) -> DataFrame:
    """The events of a stream as of one Delta version (None: the newest), without looking at them as `snapshot` does.

    Raises InputError when nothing has landed, or the version is not there.
    """
    from pyspark.errors import AnalysisException

    path = events_path(lake, stream)
    if not is_table(spark, path):
        raise _nothing_yet(stream, f"no table {path}")
    try:
        return _table(spark, path, version)
    except AnalysisException as error:
        raise InputError(
            f"stream {stream!r} has no version {version}", found=f"{path}: {str(error).splitlines()[0]}"
        ) from error


def landed_logs(spark: SparkSession, lake: Path, stream: str) -> list[LandedLog]:
    """Every log that has events in the stream's table; empty without a table."""
    from pyspark.sql import functions as F

    path = events_path(lake, stream)
    if not is_table(spark, path):
        return []
    logs = (
        _table(spark, path)
        # Grouped by the name as well, since the least of some texts would be found by sorting all rows.
        .groupBy("_incarnation", "_partition", "_source")
        .agg(
            F.count("*").alias("rows"),
            F.unix_micros(F.min("_event_ts")).alias("earliest"),
            F.unix_micros(F.max("_event_ts")).alias("latest"),
        )
        .collect()
    )
    found: dict[tuple[str, str], LandedLog] = {}
    for log in map(_landed, logs):
        key = (log.incarnation, log.partition)
        found[key] = found[key].join(log) if key in found else log
    return sorted(found.values(), key=lambda log: (log.incarnation, log.earliest, log.partition))


def quarantine_counts(spark: SparkSession, lake: Path, stream: str, partition: str | None = None) -> DataFrame:
    """Quarantined rows of a stream, or of one file of it, by kind of fault.

    Out: reason string (the kind, without the text that was found), rows bigint; the most frequent first.
    """
    from pyspark.sql import functions as F

    path = quarantine_path(lake, stream)
    if not is_table(spark, path):
        return spark.createDataFrame([], "reason string, rows bigint")
    records = _table(spark, path)
    if partition is not None:
        records = records.where((F.col("_incarnation") == HISTORY) & (F.col("_partition") == partition))
    return (
        records.groupBy(F.substring_index("reason", FOUND, 1).alias("reason"))
        .agg(F.count("*").alias("rows"))
        .orderBy(F.desc("rows"), "reason")
    )


def is_table(spark: SparkSession, path: Path) -> bool:
    """Whether there is a Delta table with at least one commit."""
    from delta.tables import DeltaTable

    return bool(DeltaTable.isDeltaTable(spark, str(path)))


def latest_version(spark: SparkSession, path: Path) -> int:
    return commits(spark, path, 1)[0].version


def _table(spark: SparkSession, path: Path, version: int | None = None) -> DataFrame:
    reader = spark.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    return reader.load(str(path))


def _nothing_yet(stream: str, found: str) -> InputError:
    return InputError(
        f"nothing has been ingested into stream {stream!r} yet",
        found=found,
        do="run `headrace ingest DEFINITION --input FILE` first",
    )


def _landed(log: Row) -> LandedLog:
    return LandedLog(
        log["_incarnation"],
        log["_partition"],
        log["_source"],
        log["rows"],
        _instant(log["earliest"]),
        _instant(log["latest"]),
    )


def _instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
