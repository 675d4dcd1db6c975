"""The records of a topic as typed events, or as bad ones with a reason: one pure function, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from headrace.schemas import META_COLUMNS, Schema
from headrace.schemas.lake import FOUND
from headrace.schemas.positions import SEQUENCE
from headrace.sources.avro import avro_records, avro_schema
from headrace.sources.faults import Fault, first_reason, is_faulty, quarantine_record, shown, typed_as
from headrace.sources.lines import json_records
from headrace.sources.readings import Checked, texts_by_key, typed

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# The header of a record that was repaired and sent again: `<incarnation>/<partition>/<position>` of the bad one.
ORIGIN_HEADER = "headrace-origin"


def decode(
    records: DataFrame,
    schema: Schema,
    event_time: str,
    *,
    payload: Literal["json", "avro"],
    incarnation: str,
    source: str,
    max_ahead_s: int,
    schemas: Mapping[int, str] | None = None,
) -> DataFrame:
    """Every record with its declared columns, and why it is bad if it is.

    In: value binary, partition int, offset bigint, timestamp timestamp (the broker's), and optionally headers
    array<struct<key, value>> and sequence string; of them the value and the timestamp alone decide. Out: the columns
    of `schema`, schemas.META_COLUMNS, with a sequence schemas.positions.SEQUENCE, `_reason` string (null: a good
    event), `_raw` binary (the value, where it is bad).
    max_ahead_s: how much later than the broker's stamp an event time may be. schemas: for payload "avro", the writers'
    schemas by id.
    What is computed from the result, filters too, does not parse a record again. Streams: append.
    """
    from pyspark.sql import functions as F

    required = frozenset({event_time, *(field.name for field in schema if field.required)})
    # Under names that no declared column can have.
    counted = [SEQUENCE] if "sequence" in records.columns else []
    placed = records.select(
        *(F.col("sequence").alias(name) for name in counted),
        F.col("value").alias("_value"),
        F.col("timestamp").alias("_stamp"),
        F.col("partition").alias("_from"),
        F.col("offset").alias("_offset"),
        _origin(source, "headers" in records.columns).alias("_source"),
    )
    if payload == "avro":
        read = avro_schema(records.sparkSession, schema, schemas or {})
        checked, found = typed(avro_records(placed, read), read.fields, texts_by_key(schema), required)
    else:
        checked, found = typed(_json(placed), schema, texts_by_key(schema), required)
    found = [
        Fault(F.col("_value").isNull(), F.lit("no value (a tombstone)")),
        *found,
        _ahead(event_time, max_ahead_s),
    ]
    reason = checked.withColumn("_is_bad", is_faulty(found)).withColumn(
        "_reason", F.when(F.col("_is_bad"), first_reason(found))
    )
    meta = {
        "_incarnation": F.lit(incarnation),
        "_partition": F.col("_from"),
        "_position": F.col("_offset"),
        "_event_ts": F.col(event_time),
        "_arrival_ts": F.col("_stamp"),
        "_source": F.col("_source"),
    }
    return _once(
        reason.select(
            *schema.names,
            *typed_as(META_COLUMNS, meta),
            *counted,
            "_reason",
            F.when(F.col("_is_bad"), F.col("_value")).alias("_raw"),
        )
    )


def good(decoded: DataFrame) -> DataFrame:
    """The events among decoded records: the declared columns and schemas.META_COLUMNS. Streams: append."""
    from pyspark.sql import functions as F

    return decoded.where(F.col("_reason").isNull()).drop("_reason", "_raw")


def quarantined(decoded: DataFrame, seen_ts: datetime) -> DataFrame:
    """The bad ones among decoded records: schemas.lake.QUARANTINE_COLUMNS. Streams: append."""
    from pyspark.sql import functions as F

    bad = decoded.where(F.col("_reason").isNotNull())
    return bad.select(*quarantine_record(F.col("_raw"), F.col("_reason"), F.col("_source"), seen_ts))


def _json(placed: DataFrame) -> Checked:
    from pyspark.sql import functions as F

    records, found = json_records(placed.withColumn("_raw", F.col("_value").cast("string")))
    # A blank line of a file is skipped; a blank record has a position of its own and is accounted for.
    return records, [Fault(F.col("_is_blank"), F.lit("blank value")), *found]


def _origin(topic: str, has_headers: bool) -> Column:
    """The topic's name and, for a repaired record, where the bad one stood."""
    from pyspark.sql import functions as F

    if not has_headers:
        return F.lit(topic)
    told = F.get(F.filter("headers", lambda header: header["key"] == ORIGIN_HEADER), F.lit(0))["value"]
    repaired = F.concat(F.lit(f"{topic} repaired from "), F.make_valid_utf8(told.cast("string")))
    return F.coalesce(repaired, F.lit(topic))


def _ahead(event_time: str, max_ahead_s: int) -> Fault:
    from pyspark.sql import functions as F

    latest = F.timestamp_add("SECOND", F.lit(max_ahead_s), F.col("_stamp"))
    reason = F.lit(f"{event_time} is more than {max_ahead_s} s after the record arrived{FOUND}")
    return Fault(F.col(event_time) > latest, F.concat(reason, shown(F.col(event_time).cast("string"))))


def _once(decoded: DataFrame) -> DataFrame:
    """The same rows behind a generator, through which Spark pushes no filter that would repeat the parsing."""
    from pyspark.sql import functions as F

    row = F.struct(*(F.col(name) for name in decoded.columns))
    return decoded.select(F.inline(F.array(row)))
