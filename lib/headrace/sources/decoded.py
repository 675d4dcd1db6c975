"""The decoded rows of one file: typed events and quarantined records, with positions, counted in one job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from headrace.errors import InputError
from headrace.schemas import HISTORY, META_COLUMNS, Schema
from headrace.schemas.lake import FOUND, QUARANTINE_COLUMNS
from headrace.sources.files import FileFingerprint
from headrace.sources.headers import Matched, header, match
from headrace.sources.lines import csv_records, json_records, lines, quoted_records
from headrace.sources.parquet import parquet_records
from headrace.sources.typed import fault, value

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
    from pyspark import StorageLevel

    checked, matched = _checked(spark, file, schema, event_time, multiline=multiline, needed=needed)
    # Held, so that the file is parsed once and line serials mean the same in every job that follows.
    held = checked.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        groups = _count(held, event_time)
        if file.format != "parquet" and not multiline:
            _refuse_changed(file, sum(group["rows"] for group in groups))
        return _summed(held, groups, matched, file=file, schema=schema, event_time=event_time, arrival_ts=arrival_ts)
    except BaseException:
        held.unpersist()
        raise


def columns_of(
    spark: SparkSession, file: FileFingerprint, schema: Schema, event_time: str, needed: tuple[str, ...]
) -> Matched:
    """How the file's columns match the declared ones, without reading its rows."""
    if file.format == "csv":
        return match(file.name, header(file.path), schema, needed)
    if file.format == "parquet":
        return parquet_records(spark, file, schema, _required(schema, event_time), needed)[1]
    return Matched({}, (), (), 0)


def _required(schema: Schema, event_time: str) -> frozenset[str]:
    return frozenset({event_time, *(field.name for field in schema if field.required)})


def _checked(
    spark: SparkSession,
    file: FileFingerprint,
    schema: Schema,
    event_time: str,
    *,
    multiline: bool,
    needed: tuple[str, ...],
) -> tuple[DataFrame, Matched]:
    """Every record with its typed columns, `_reason` (null: good), `_is_blank`, `_raw`, `_block` and `_serial`."""
    from pyspark.sql import functions as F

    required = _required(schema, event_time)
    if file.format == "parquet":
        checked, matched = parquet_records(spark, file, schema, required, needed)
    else:
        physical = lines(spark, file)
        if file.format == "csv":
            matched = match(file.name, header(file.path), schema, needed)
            records = csv_records(quoted_records(physical) if multiline else physical, matched.width)
            texts = {name: F.col(f"_fields.c{index}") for name, index in matched.at.items()}
        else:
            matched = Matched({}, (), (), 0)
            records = json_records(physical)
            texts = {f.name: F.coalesce(*(F.col("_fields")[key] for key in (f.name, *f.aliases))) for f in schema}
        checked = _typed(records, schema, texts, required)
    bad = F.col("_reason").isNotNull() & ~F.col("_is_blank")
    raw = F.when(bad, F.make_valid_utf8("_raw"))
    as_bytes = F.when(bad & ~F.is_valid_utf8("_raw"), F.col("_raw").cast("binary"))
    return (
        checked.select(
            *schema.names,
            F.when(~F.col("_is_blank"), F.col("_reason")).alias("_reason"),
            "_is_blank",
            raw.alias("_raw"),
            as_bytes.alias("_raw_bytes"),
            "_block",
            "_serial",
        ),
        matched,
    )


def _typed(records: DataFrame, schema: Schema, texts: dict[str, Column], required: frozenset[str]) -> DataFrame:
    from pyspark.sql import functions as F

    nothing = F.lit(None).cast("string")
    faults = [
        fault(field, texts.get(field.name, nothing), F.col(field.name), required=field.name in required)
        for field in schema
    ]
    typed = {field.name: value(field, texts.get(field.name, nothing)).cast(field.type) for field in schema}
    return records.withColumns(typed).withColumn("_reason", F.coalesce("_fault", *faults))


def _count(held: DataFrame, event_time: str) -> list[Row]:
    """Rows by block and kind of fault: as many rows as the file has blocks and kinds, however long it is."""
    from pyspark.sql import functions as F

    return (
        held.groupBy("_block", "_is_blank", F.substring_index("_reason", FOUND, 1).alias("kind"))
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


def _summed(
    held: DataFrame,
    groups: Sequence[Row],
    matched: Matched,
    *,
    file: FileFingerprint,
    schema: Schema,
    event_time: str,
    arrival_ts: datetime,
) -> Decoded:
    from pyspark.sql import functions as F

    blocks = _first_positions(groups, headers=int(file.format == "csv"))
    kinds: Counter[str | None] = Counter()
    blank = 0
    for group in groups:
        if group["_is_blank"]:
            blank += group["rows"]
        else:
            kinds[group["kind"]] += group["rows"]
    if file.format == "csv":
        kinds[_header_kind(groups)] -= 1
    good = kinds.pop(None, 0)
    by_reason = {str(kind): n for kind, n in sorted(kinds.items(), key=lambda kind: (-kind[1], str(kind[0]))) if n}
    if good + sum(by_reason.values()) == 0:
        raise InputError(f"{file.name} has no rows", found="a header only", expected="at least one row")
    sound = [group for group in groups if group["kind"] is None and not group["_is_blank"]]
    placed = _placed(held, blocks).where(~F.col("_is_blank") & (F.col("_position") >= 0))
    own = {
        "_incarnation": F.lit(HISTORY),
        "_partition": F.lit(file.sha256),
        "_position": F.col("_position"),
        "_arrival_ts": F.lit(arrival_ts),
    }
    meta = {**own, "_event_ts": F.col(event_time), "_source": F.lit(file.name)}
    record = {
        **own,
        "raw": F.col("_raw"),
        "raw_bytes": F.col("_raw_bytes"),
        "reason": F.col("_reason"),
        "source": F.lit(file.name),
        "seen_ts": F.lit(arrival_ts),
    }
    return Decoded(
        events=placed.where(F.col("_reason").isNull()).select(
            *schema.names, *(meta[name].cast(kind).alias(name) for name, kind in META_COLUMNS.items())
        ),
        quarantined=placed.where(F.col("_reason").isNotNull()).select(
            *(record[name].cast(kind).alias(name) for name, kind in QUARANTINE_COLUMNS.items())
        ),
        good=good,
        by_reason=by_reason,
        blank=blank,
        earliest=_instant(min((group["earliest"] for group in sound), default=None)),
        latest=_instant(max((group["latest"] for group in sound), default=None)),
        ignored=matched.ignored,
        absent=matched.absent,
        close=held.unpersist,
    )


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


def _header_kind(groups: Sequence[Row]) -> str | None:
    """The kind of fault the header line was given as if it were a row."""
    first = min(groups, key=lambda group: (group["_block"], group["first"]))
    kind: str | None = first["kind"]
    return kind


def _placed(held: DataFrame, blocks: dict[int, int]) -> DataFrame:
    from pyspark.sql import functions as F

    if len(blocks) == 1:
        return held.withColumn("_position", F.col("_serial") + F.lit(next(iter(blocks.values()))))
    shifts = held.sparkSession.createDataFrame(list(blocks.items()), "_block bigint, _shift bigint")
    return held.join(F.broadcast(shifts), on="_block", how="inner").withColumn(
        "_position", F.col("_serial") + F.col("_shift")
    )


def _instant(micros: int | None) -> datetime | None:
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)
