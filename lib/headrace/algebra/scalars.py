"""Single values as states: one JSON value for each Spark type, the same from Python and from Spark."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from headrace.algebra.aggregate import State, Types
from headrace.errors import DefinitionError, nearest

if TYPE_CHECKING:
    from pyspark.sql import Column

Kind = Literal["integer", "real", "decimal", "text", "boolean", "date", "timestamp"]

_KINDS: dict[str, Kind] = {
    "tinyint": "integer",
    "smallint": "integer",
    "int": "integer",
    "bigint": "integer",
    "double": "real",
    "string": "text",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
MAX_UNSCALED_DIGITS = 18  # what always fits a 64-bit integer


def micros(instant: datetime) -> int:
    """Microseconds since 1970-01-01T00:00Z of an aware datetime.

    >>> micros(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    return (instant - _EPOCH) // _MICROSECOND


def column_type(column: str, types: Types) -> str:
    """The Spark type name of a prepared column; DefinitionError when there is no such column."""
    try:
        return types[column]
    except KeyError:
        raise DefinitionError(
            f"a feature reads column {column!r}, which the prepared events lack",
            found=sorted(types),
            nearest=nearest(column, types),
        ) from None


@lru_cache(maxsize=256)
def decimal_shape(spark_type: str) -> tuple[int, int] | None:
    """Precision and scale of a decimal type name, None for another type.

    >>> decimal_shape("decimal(10,3)"), decimal_shape("int")
    ((10, 3), None)
    """
    match = _DECIMAL.fullmatch(spark_type)
    return (int(match[1]), int(match[2])) if match else None


@lru_cache(maxsize=256)
def kind(spark_type: str) -> Kind:
    """The kind of value of a Spark type name; DefinitionError for types no feature can read.

    >>> kind("bigint"), kind("decimal(10,3)")
    ('integer', 'decimal')
    """
    found = "decimal" if decimal_shape(spark_type) else _KINDS.get(spark_type)
    if found is None:
        raise DefinitionError(
            "a feature cannot read this type",
            found=spark_type,
            expected=f"one of {', '.join(_KINDS)} or decimal(p,s)",
            do="cast the column in prepare",
        )
    return found


def require(column: str, types: Types, kinds: tuple[Kind, ...], what: str) -> str:
    """The type of `column`, or DefinitionError when its kind is none of `kinds`."""
    spark_type = column_type(column, types)
    if kind(spark_type) not in kinds:
        raise DefinitionError(
            f"{what} cannot read column {column!r}",
            found=spark_type,
            expected=f"a column of kind {' or '.join(kinds)}",
            do="cast the column in prepare",
        )
    return spark_type


def _scale(spark_type: str) -> int:
    """The scale of a decimal that fits 64 bits unscaled; DefinitionError for a wider one."""
    precision, scale = decimal_shape(spark_type) or (0, 0)
    if precision > MAX_UNSCALED_DIGITS:
        raise DefinitionError(
            "a decimal state is kept as a 64-bit scaled integer, and this type is wider",
            found=spark_type,
            expected=f"at most {MAX_UNSCALED_DIGITS} digits",
            do="cast the column in prepare",
        )
    return scale


def state_of(value: Any, spark_type: str) -> State:  # noqa: PLR0911 (one line a kind)
    """The state of one value: null for null and NaN.

    Integers, text and doubles stay (-0.0 becomes 0.0); booleans are 0 and 1; decimals are their scaled integer;
    dates are days and timestamps microseconds since 1970-01-01 UTC.
    """
    if value is None or value != value:  # noqa: PLR0124 (only NaN differs from itself)
        return None
    match kind(spark_type):
        case "integer" | "boolean":
            return int(value)
        case "real":
            return float(value) + 0.0  # -0.0 + 0.0 is 0.0
        case "decimal":
            return int(Decimal(value).scaleb(_scale(spark_type)))
        case "text":
            return str(value)
        case "date":
            return value.toordinal() - _EPOCH_DAY
        case "timestamp":
            return micros(value)


def spark_column(name: str) -> Column:
    """The column of that very name, whatever characters it holds."""
    from pyspark.sql import functions as f

    return f.col("`" + name.replace("`", "``") + "`")


def spark_state_of(name: str, spark_type: str) -> Column:  # noqa: PLR0911 (one line a kind)
    """The Spark twin of `state_of`."""
    from pyspark.sql import functions as f

    value = spark_column(name)
    match kind(spark_type):
        case "integer":
            return value.cast("bigint")
        case "boolean":
            return value.cast("int").cast("bigint")
        case "real":
            value = value.cast("double")
            return f.when(value == 0.0, 0.0).when(~f.isnan(value), value)
        case "decimal":
            return (value * f.lit(Decimal(10 ** _scale(spark_type)))).cast("bigint")
        case "text":
            return value
        case "date":
            return f.unix_date(value).cast("bigint")
        case "timestamp":
            return f.unix_micros(value)


def arrow_type_of(spark_type: str) -> pa.DataType:
    """The Arrow type of a column of such states."""
    match kind(spark_type):
        case "real":
            return pa.float64()
        case "text":
            return pa.string()
        case _:
            return pa.int64()


def finished(states: pa.Array, spark_type: str) -> pa.Array:
    """States as feature values: int64 (booleans 0 and 1), float64 (decimals too), string (dates as ISO 8601 text),
    timestamp[us, UTC]; null stays null.
    """
    match kind(spark_type):
        case "decimal":
            from headrace.algebra.quanta import ratios

            return ratios(states, 1, 10 ** _scale(spark_type))
        case "date":
            return pc.strftime(states.cast(pa.int32()).cast(pa.date32()), format="%Y-%m-%d")
        case "timestamp":
            return states.cast(pa.int64()).cast(pa.timestamp("us", tz="UTC"))
        case _:
            return states.cast(arrow_type_of(spark_type))
