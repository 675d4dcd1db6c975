"""A table as rows of declared types, read by token ranges, only the columns that are asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from headrace.errors import DatabaseUnavailable
from headrace.schemas import Schema
from headrace.sources.cassandra.tables import TableInfo, require_columns

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# What the connector says of a keyspace or a table that it does not know; for a keyspace it looks for an exception of
# an older Spark, and does not find that either.
_UNKNOWN = ("NoSuchNamespaceException", "NoSuchTableException", "TABLE_OR_VIEW_NOT_FOUND", "SCHEMA_NOT_FOUND")
_POLL_S = 0.25


def columns_of(table: TableInfo, schema: Schema, needed: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The declared columns that the table has. Raises SchemaError for those that do not fit."""
    require_columns(table, schema, needed)
    return tuple(name for name in schema.names if name in table.columns)


def table_in(spark: SparkSession, catalog: str, table: TableInfo, patience_s: float) -> str:
    """The table's name in Spark, once the connector knows the table: it hears of a new one a second later.

    Raises DatabaseUnavailable where it does not within `patience_s`.
    """
    name = ".".join("`" + part.replace("`", "``") + "`" for part in (catalog, table.keyspace, table.name))
    until = time.monotonic() + patience_s
    while True:
        try:
            if set(spark.table(name).columns) == set(table.columns):
                return name
        except Exception as error:
            if not any(unknown in str(error) for unknown in _UNKNOWN):
                raise
        if time.monotonic() > until:
            raise DatabaseUnavailable(
                f"Spark does not see table {table.full_name} as it is", do="run again; see who changes it meanwhile"
            )
        time.sleep(_POLL_S)


def read_table(spark: SparkSession, name: str, table: TableInfo, schema: Schema) -> DataFrame:
    """The declared columns of every row, and those of its key, in the declared types.

    name: what `table_in` gives. The rows are read while others may write: this is no snapshot, and is read once.
    Streams: batch only.
    """
    from pyspark.sql import functions as F

    rows = spark.table(name)
    names = columns_of(table, schema)
    key = [name for name in table.key if name not in names]
    return rows.select(
        *(F.col(name).cast(schema.field(name).type).alias(name) for name in names), *(F.col(name) for name in key)
    )
