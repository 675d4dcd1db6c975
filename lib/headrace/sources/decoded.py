"""The decoded rows of one file: typed events and quarantined records, with positions, counted in one job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from headrace.errors import InputError
from headrace.schemas import HISTORY, META_COLUMNS, Schema
from headrace.schemas.lake import FOUND
from headrace.sources.faults import first_reason, is_faulty, quarantine_record, typed_as
from headrace.sources.files import FileFingerprint
from headrace.sources.readings import Reading, reading

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row, SparkSession

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Decoded:
    """What a file holds. Close it, or use it in a `with`, to give back the memory its rows occupy.

    events: the declared columns and schemas.META_COLUMNS. quarantined: schemas.lake.QUARANTINE_COLUMNS.
    rows: records read, `good` + `bad`; blank lines are counted apart. by_reason: bad rows by kind of fault.
    earliest, latest: event times of the good rows, None without any.
    ignored: columns of the file that are not declared. absent: declared ones that are read as null.
    """

    events: DataFrame
    quarantined: DataFrame
    good: int
    by_reason: dict[str, int]
    blank: int
    earliest: datetime | None
    latest: datetime | None
    ignored: tuple[str, ...]
    absent: tuple[str, ...]
    close: Callable[[], object]

    @property
    def bad(self) -> int:
        return sum(self.by_reason.values())

    @property
    def rows(self) -> int:
        return self.good + self.bad

    def __enter__(self) -> Decoded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def decode(
    spark: SparkSession,
    file: FileFingerprint,
    schema: Schema,
    event_time: str,
    *,
    arrival_ts: datetime,
    multiline: bool,
    needed: tuple[str, ...],
) -> Decoded:
    """See `sources.files.read_events`."""
    source = reading(spark, file, schema, event_time, multiline=multiline, needed=needed)
    memory = _held_in_memory(spark, _sorted_out(source, schema))
    held = memory.select("_record.*")
    try:
        groups = _count(held, event_time)
        if file.format != "parquet" and not multiline:
            _refuse_changed(file, sum(group["rows"] for group in groups))
        headers = int(file.format == "csv")
        good, bad, blank = _tally(groups, headers)
        _refuse_no_rows(file, good + bad)
        placed = _placed(held, _first_positions(groups, headers))
        quarantined = _quarantined(placed, source, file, arrival_ts)
        return Decoded(
            events=_events(placed, schema, event_time, file, arrival_ts=arrival_ts),
            quarantined=quarantined,
            good=good,
            by_reason=_by_kind(quarantined) if bad else {},
            blank=blank,
            earliest=_instant(min((g["earliest"] for g in groups if _is_good(g)), default=None)),
            latest=_instant(max((g["latest"] for g in groups if _is_good(g)), default=None)),
            ignored=source.matched.ignored,
            absent=source.matched.absent,
            close=partial(memory.unpersist, blocking=True),
        )
    except BaseException:
        memory.unpersist(blocking=True)
        raise


def _sorted_out(source: Reading, schema: Schema) -> DataFrame:
    """Every record with its typed columns, `_is_blank`, `_is_bad`, and `_raw` where it is bad.

    Why a row is bad is asked of the bad rows only, which keeps the pass over all rows small.
    """
    from pyspark.sql import functions as F

    checked, faults = source.check(source.records)
    return checked.withColumn("_is_bad", ~F.col("_is_blank") & is_faulty(faults)).select(
        *schema.names,
        "_is_blank",
        "_is_bad",
        F.when(F.col("_is_bad"), F.col("_raw")).alias("_raw"),
        "_block",
        "_serial",
    )


def _held_in_memory(spark: SparkSession, records: DataFrame) -> DataFrame:
    """As `_record`, kept in memory and then on disk, so that the file is parsed once and serials mean the same in every
    job.
    """
    from pyspark import StorageLevel
    from pyspark.sql import functions as F

    # Packing rows that are read twice and then given back costs as much as parsing them.
    packs = "spark.sql.inMemoryColumnarStorage.compressed"
    before = spark.conf.get(packs, "true") or "true"
    spark.conf.set(packs, "false")
    try:
        # One value a row, copied as it is: Spark takes a column apart value by value, with its least and greatest.
        return records.select(F.struct("*").alias("_record")).persist(StorageLevel.MEMORY_AND_DISK)
    finally:
        spark.conf.set(packs, before)


def _count(held: DataFrame, event_time: str) -> list[Row]:
    """Rows by block and what became of them: a few rows a block, however long the file is."""
    from pyspark.sql import functions as F

    return (
        held.groupBy("_block", "_is_blank", "_is_bad")
        .agg(
            F.count("*").alias("rows"),
            F.min("_serial").alias("first"),
            F.unix_micros(F.min(event_time)).alias("earliest"),
            F.unix_micros(F.max(event_time)).alias("latest"),
        )
        .collect()
    )


def _refuse_changed(file: FileFingerprint, read: int) -> None:
    if read != file.lines:
        raise InputError(
            f"{file.name} changed while it was read",
            found=f"{read:,} lines",
            expected=f"{file.lines:,}",
            do="wait until it is written, then run again",
        )


def _refuse_no_rows(file: FileFingerprint, rows: int) -> None:
    if rows == 0:
        raise InputError(f"{file.name} has no rows", found="a header only", expected="at least one row")


def _is_good(group: Row) -> bool:
    return not group["_is_blank"] and not group["_is_bad"]


def _tally(groups: Sequence[Row], headers: int) -> tuple[int, int, int]:
    """Good, bad and blank rows. A header counts as bad among the groups, as its event time is none."""
    good = sum(group["rows"] for group in groups if _is_good(group))
    blank = sum(group["rows"] for group in groups if group["_is_blank"])
    return good, sum(group["rows"] for group in groups) - good - blank - headers, blank


def _first_positions(groups: Sequence[Row], headers: int) -> dict[int, int]:
    """For each block what to add to a serial to get a position."""
    counts: Counter[int] = Counter()
    firsts: dict[int, int] = {}
    for group in groups:
        counts[group["_block"]] += group["rows"]
        firsts[group["_block"]] = min(group["first"], firsts.get(group["_block"], group["first"]))
    blocks: dict[int, int] = {}
    before = -headers
    for block in sorted(counts):
        blocks[block] = before - firsts[block]
        before += counts[block]
    return blocks


def _placed(held: DataFrame, blocks: dict[int, int]) -> DataFrame:
    """With `_position`, without blank lines and the header."""
    from pyspark.sql import functions as F

    if len(blocks) == 1:
        shifted = held.withColumn("_shift", F.lit(next(iter(blocks.values()))))
    else:
        shifts = held.sparkSession.createDataFrame(list(blocks.items()), "_block bigint, _shift bigint")
        shifted = held.join(F.broadcast(shifts), on="_block", how="inner")
    placed = shifted.withColumn("_position", F.col("_serial") + F.col("_shift"))
    return placed.where(~F.col("_is_blank") & (F.col("_position") >= 0))


def _events(
    placed: DataFrame, schema: Schema, event_time: str, file: FileFingerprint, *, arrival_ts: datetime
) -> DataFrame:
    from pyspark.sql import functions as F

    meta = {
        **_log(file),
        "_event_ts": F.col(event_time),
        "_arrival_ts": F.lit(arrival_ts),
        "_source": F.lit(file.name),
    }
    return placed.where(~F.col("_is_bad")).select(*schema.names, *typed_as(META_COLUMNS, meta))


def _quarantined(placed: DataFrame, source: Reading, file: FileFingerprint, arrival_ts: datetime) -> DataFrame:
    from pyspark.sql import functions as F

    bad, faults = source.check(placed.where(F.col("_is_bad")))
    logged = bad.withColumns(_log(file))
    return logged.select(*quarantine_record(F.col("_raw"), first_reason(faults), F.lit(file.name), arrival_ts))


def _log(file: FileFingerprint) -> dict[str, Column]:
    from pyspark.sql import functions as F

    return {"_incarnation": F.lit(HISTORY), "_partition": F.lit(file.sha256), "_position": F.col("_position")}


def _by_kind(quarantined: DataFrame) -> dict[str, int]:
    """Bad rows by kind of fault, the most frequent first."""
    from pyspark.sql import functions as F

    kinds = quarantined.groupBy(F.substring_index("reason", FOUND, 1).alias("kind")).count().collect()
    return {row["kind"]: row["count"] for row in sorted(kinds, key=lambda row: (-row["count"], row["kind"]))}


def _instant(micros: int | None) -> datetime | None:
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)
