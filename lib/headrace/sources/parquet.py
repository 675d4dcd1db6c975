"""Parquet files as numbered, typed records."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from headrace.errors import SchemaError
from headrace.schemas import Field, Schema
from headrace.schemas.lake import FOUND
from headrace.sources.faults import Fault, shown
from headrace.sources.files import FileFingerprint, spark_path
from headrace.sources.headers import Matched, match
from headrace.sources.typed import is_beyond, missing, undeclared

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

# Stored types that hold no value the declared one cannot: declared -> stored. A date is no timestamp, because
# whose midnight it is nobody said; a time without zone is UTC, as it is in text.
_FITS = {
    "string": {"string"},
    "int": {"int", "smallint", "tinyint"},
    "bigint": {"bigint", "int", "smallint", "tinyint"},
    "double": {"double", "float", "int", "smallint", "tinyint"},
    "boolean": {"boolean"},
    "timestamp": {"timestamp", "timestamp_ntz"},
    "date": {"date"},
}
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")


def parquet_records(
    spark: SparkSession, file: FileFingerprint, schema: Schema, needed: tuple[str, ...]
) -> tuple[DataFrame, Matched]:
    """The declared columns, `_raw` (JSON of the stored row), `_is_blank` false, `_block` 0, the row number `_serial`.

    Raises SchemaError for a column whose stored type could lose values. Streams: batch only.
    """
    from pyspark.sql import functions as F

    stored = spark.read.parquet(spark_path(file.path))
    matched = match(file.name, stored.columns, schema, needed)
    names = {name: stored.columns[index] for name, index in matched.at.items()}
    types = dict(stored.dtypes)
    for name, column in names.items():
        _refuse_lossy(file.name, schema.field(name), column, types[column])
    columns = [
        (_quoted(names[f.name]).cast(f.type) if f.name in names else F.lit(None).cast(f.type)).alias(f.name)
        for f in schema
    ]
    records = stored.select(
        *columns,
        F.to_json(F.struct(*(_quoted(column) for column in stored.columns))).alias("_raw"),
        F.lit(0).cast("bigint").alias("_block"),
        F.col("_metadata.row_index").alias("_serial"),
        F.lit(col=False).alias("_is_blank"),
    )
    return records, matched


def parquet_faults(schema: Schema, required: frozenset[str]) -> list[Fault]:
    """What can be wrong with the typed columns of a record."""
    from pyspark.sql import functions as F

    found: list[Fault] = []
    for field in schema:
        value = F.col(field.name)
        text = shown(value.cast("string"))
        if field.type == "double":
            reason = F.concat(F.lit(f"{field.name} is NaN or infinity{FOUND}"), text)
            found.append(Fault(F.isnan(value) | (F.abs(value) == float("inf")), reason))
        elif (beyond := is_beyond(field, value)) is not None:
            found.append(Fault(beyond, F.lit(f"{field.name} is out of range of {field.type}")))
        if field.values:
            found.append(undeclared(field, value))
        if field.name in required:
            found.append(missing(field, value))
    return found


def fits(declared: str, stored: str) -> bool:
    """Whether every value of the stored type is a value of the declared one.

    >>> fits("bigint", "int"), fits("int", "bigint"), fits("decimal(10,2)", "decimal(8,2)")
    (True, False, True)
    """
    want, have = _DECIMAL.fullmatch(declared), _DECIMAL.fullmatch(stored)
    if want is None:
        return stored in _FITS[declared]
    if have is None:
        return False
    precision, scale = int(want[1]), int(want[2])
    return int(have[2]) <= scale and int(have[1]) - int(have[2]) <= precision - scale


def _refuse_lossy(file: str, field: Field, column: str, stored: str) -> None:
    if not fits(field.type, stored):
        raise SchemaError(
            f"column {column!r} of {file} does not fit the declared {field.name!r}",
            found=stored,
            expected=" or ".join(sorted(_FITS.get(field.type, {field.type}))),
            do=f"write the file with that type, or declare {field.name!r} as it is stored",
        )


def _quoted(column: str) -> Column:
    from pyspark.sql import functions as F

    return F.col("`" + column.replace("`", "``") + "`")
