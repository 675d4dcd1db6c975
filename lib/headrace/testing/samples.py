"""Events written by hand in a test, as rows of the lake."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from headrace.definitions import Definition, Field
from headrace.errors import InputError, nearest
from headrace.schemas import HISTORY, META_COLUMNS
from headrace.testing.frames import cells

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Row = Mapping[str, Any]

PARTITIONS = 2
# When hand-written events reached the lake; nothing a definition makes may depend on it.
_ARRIVAL = datetime(2001, 1, 1, tzinfo=UTC)


def rows_of(definition: Definition, events: Sequence[Row] | DataFrame) -> list[Row]:
    """Events in Python with every column of the stream and the lake's meta columns.

    They are dealt in turn to two partitions, positions in the order given. A column that is absent is null; a
    timestamp may be ISO 8601 text, and is UTC unless it says otherwise.
    Raises InputError for an unknown column, a null in a required one, or a value that is none of those declared: such
    a row never reaches a definition.
    """
    schema = definition.source.schema
    if hasattr(events, "sparkSession"):
        frame = cast("DataFrame", events)
        lacking = sorted(set(schema.names) - set(frame.columns))
        if lacking:
            raise InputError("the events lack columns of the stream", found=frame.columns, expected=lacking)
        events = cells(frame.select(*schema.names)).rows
    return [_row(definition, number, event) for number, event in enumerate(events)]


def frame_of(definition: Definition, rows: Sequence[Row], spark: SparkSession) -> DataFrame:
    """The rows as the frame that `prepare` is given."""
    from pyspark.sql.pandas.types import to_arrow_schema
    from pyspark.sql.types import StructType

    meta = ", ".join(f"{name} {kind}" for name, kind in META_COLUMNS.items())
    schema = cast("StructType", StructType.fromDDL(f"{definition.source.schema.ddl}, {meta}"))
    try:
        table: Any = pa.Table.from_pylist(rows, to_arrow_schema(schema))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(
            f"an event does not fit the schema of stream {definition.source.name!r}",
            found=error,
            expected=definition.source.schema.ddl,
        ) from error
    return spark.createDataFrame(table, schema)


def each_once(definition: Definition, rows: Sequence[Row], spark: SparkSession) -> list[Row]:
    """The rows without copies by `event_id`, of which the one at the least position stays."""
    if definition.event_id is None:
        return list(rows)
    from headrace.algebra import Count
    from headrace.definitions.events import marked

    bare = dataclasses.replace(definition.features_only(), prepare=None, features={"events": Count()})
    frame = marked(bare, frame_of(definition, rows, spark)).select("_partition", "_position")
    kept = {tuple(place) for place in frame.collect()}
    return [row for row in rows if (row["_partition"], row["_position"]) in kept]


def _row(definition: Definition, number: int, event: Row) -> Row:
    schema = definition.source.schema
    unknown = sorted(set(event) - set(schema.names))
    if unknown:
        raise InputError(
            f"event {number} has columns that stream {definition.source.name!r} does not declare",
            found=unknown,
            expected=f"some of {list(schema.names)}",
            nearest=nearest(unknown[0], schema.names),
        )
    row = {field.name: _typed(field, event.get(field.name)) for field in schema}
    for field in schema:
        if row[field.name] is None and (field.required or field.name == definition.event_time):
            raise InputError(
                f"event {number} has no {field.name!r}",
                found=dict(event),
                do="leave it out: ingest quarantines such a row before the definition sees it",
            )
        if field.values and row[field.name] is not None and row[field.name] not in field.values:
            raise InputError(
                f"event {number} has a {field.name!r} that is none of its declared values",
                found=repr(row[field.name]),
                expected=f"one of {list(field.values)}",
                do="leave it out: ingest quarantines such a row before the definition sees it",
            )
    return {
        **row,
        "_incarnation": HISTORY,
        "_partition": str(number % PARTITIONS),
        "_position": number // PARTITIONS,
        "_event_ts": row[definition.event_time],
        "_arrival_ts": _ARRIVAL + timedelta(seconds=number),
        "_source": "events of a test",
    }


def _typed(field: Field, value: Any) -> Any:
    if value is None:
        return None
    if field.type == "timestamp":
        instant = datetime.fromisoformat(value) if isinstance(value, str) else value
        return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    if field.type == "date" and isinstance(value, str):
        return date.fromisoformat(value)
    if field.type == "double":
        return float(value)
    if field.type.startswith("decimal"):
        return Decimal(str(value))
    return value
