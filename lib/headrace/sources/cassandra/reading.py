"""A table as rows of declared types, read by token ranges, only the columns that are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.schemas import Schema
from headrace.sources.cassandra.tables import TableInfo, require_columns

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def columns_of(table: TableInfo, schema: Schema, needed: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The declared columns that the table has. Raises SchemaError for those that do not fit."""
    require_columns(table, schema, needed)
    return tuple(name for name in schema.names if name in table.columns)


def table_in(catalog: str, table: TableInfo) -> str:
    """The table's name in Spark."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in (catalog, table.keyspace, table.name))


def read_table(spark: SparkSession, catalog: str, table: TableInfo, schema: Schema) -> DataFrame:
    """The declared columns of every row, and those of its key, in the declared types.

    The rows are read while others may write: this is no snapshot, and is read once. Streams: batch only.
    """
    from pyspark.sql import functions as F

    rows = spark.table(table_in(catalog, table))
    names = columns_of(table, schema)
    key = [name for name in table.key if name not in names]
    return rows.select(
        *(F.col(name).cast(schema.field(name).type).alias(name) for name in names), *(F.col(name) for name in key)
    )
