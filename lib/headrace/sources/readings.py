"""How a file becomes checked records, format by format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.schemas import Schema
from headrace.sources.faults import Fault
from headrace.sources.files import FileFingerprint
from headrace.sources.headers import Matched, header, match
from headrace.sources.lines import csv_records, json_records, lines, quoted_records
from headrace.sources.parquet import parquet_faults, parquet_records
from headrace.sources.typed import faults, value

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

Checked = tuple["DataFrame", list[Fault]]


@dataclass(frozen=True)
class Reading:
    """A file's records and how they are checked.

    records: `_raw`, `_block` and `_serial`, ascending inside a block. check: the same rows with the declared
    columns and `_is_blank`, and what can be wrong with them; it needs nothing but `_raw` (for Parquet the
    declared columns), so bad rows that were kept can be checked again to say why they are bad.
    """

    records: DataFrame
    matched: Matched
    check: Callable[[DataFrame], Checked]


def reading(
    spark: SparkSession,
    file: FileFingerprint,
    schema: Schema,
    event_time: str,
    *,
    multiline: bool,
    needed: tuple[str, ...],
) -> Reading:
    """Open a file; only its header or footer is read.

    Raises SchemaError for columns that do not fit the declared ones.
    """
    from pyspark.sql import functions as F

    required = frozenset({event_time, *(field.name for field in schema if field.required)})
    if file.format == "parquet":
        stored, matched = parquet_records(spark, file, schema, needed)
        return Reading(stored, matched, lambda records: (records, parquet_faults(schema, required)))
    physical = lines(spark, file)
    if file.format == "json":
        return Reading(
            physical,
            Matched({}, (), (), 0),
            lambda records: typed(json_records(records), schema, texts_by_key(schema), required),
        )
    matched = match(file.name, header(file.path), schema, needed)
    texts = {name: F.col(f"_fields.c{index}") for name, index in matched.at.items()}
    return Reading(
        quoted_records(physical) if multiline else physical,
        matched,
        lambda records: typed(csv_records(records, matched.width), schema, texts, required),
    )


def texts_by_key(schema: Schema) -> dict[str, Column]:
    """For each declared column its text in `_fields`, a map by the column's name or one of its aliases."""
    from pyspark.sql import functions as F

    return {f.name: F.coalesce(*(F.col("_fields")[key] for key in (f.name, *f.aliases))) for f in schema}


def typed(parsed: Checked, schema: Schema, texts: Mapping[str, Column], required: frozenset[str]) -> Checked:
    """Parsed records with the declared columns made from their texts (none: null), and what can be wrong with them."""
    from pyspark.sql import functions as F

    records, found = parsed
    nothing = F.lit(None).cast("string")
    columns = {f.name: value(f, texts.get(f.name, nothing)).cast(f.type) for f in schema}
    of_fields = [
        fault
        for f in schema
        for fault in faults(f, texts.get(f.name, nothing), F.col(f.name), required=f.name in required)
    ]
    return records.withColumns(columns), [*found, *of_fields]
