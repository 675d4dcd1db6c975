"""Writing the lake: a file's rows land whole and once, whatever crashed or raced."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import SchemaError, nearest
from headrace.schemas import HISTORY, META_COLUMNS, Schema
from headrace.schemas.positions import SEQUENCE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameWriter, SparkSession

# Reads by log, position and time skip files by the statistics of these columns. Delta would keep them for the
# first 32 columns instead, which costs as much as writing the rows and leaves out the last of a wide table.
_STATISTICS = {"delta.dataSkippingStatsColumns": "_incarnation,_partition,_position"}
_EVENT_STATISTICS = {"delta.dataSkippingStatsColumns": "_incarnation,_partition,_position,_event_ts,_arrival_ts"}
_IS_HISTORY = f"_incarnation = '{HISTORY}'"


def refuse_changed_schema(spark: SparkSession, path: Path, schema: Schema) -> tuple[str, ...]:
    """The declared columns that the table does not have yet, which the next write adds.

    Raises SchemaError, before anything is written, for a column that was dropped, renamed or retyped, for a
    new one that is required, and for one declared required while landed rows hold nulls in it.
    """
    from pyspark.sql import functions as F

    if not _exists(spark, path):
        return ()
    table = spark.read.format("delta").load(str(path))
    landed = {name: kind for name, kind in table.dtypes if name not in {*META_COLUMNS, SEQUENCE}}
    new = tuple(name for name in schema.names if name not in landed)
    for name, kind in landed.items():
        if name not in schema:
            raise SchemaError(
                f"column {name!r} of {path} is no longer declared",
                found=list(schema.names),
                expected=f"{name!r} of type {kind}",
                nearest=nearest(name, new),
                do=f"declare it again, with the file's spelling in `aliases` if it was renamed; {_elsewhere(path)}",
            )
    for field in schema:
        if field.name in landed and landed[field.name] != field.type:
            raise SchemaError(
                f"column {field.name!r} of {path} changed its type",
                found=field.type,
                expected=landed[field.name],
                do=f"keep the type and convert in `prepare`; {_elsewhere(path)}",
            )
        if field.name in new and field.required:
            raise SchemaError(
                f"new column {field.name!r} of {path} is required",
                found="landed rows without it",
                expected="a column that may be null",
                nearest=nearest(field.name, [name for name in landed if name not in schema]),
                do=f"declare it with required=False; {_elsewhere(path)}",
            )
    required = [field.name for field in schema if field.required]
    if required:
        nulls = F.coalesce(*(F.when(F.col(name).isNull(), F.lit(name)) for name in required))
        hole = table.select(nulls.alias("name")).where("name is not null").head()
        if hole is not None:
            raise SchemaError(
                f"column {hole['name']!r} of {path} is declared required",
                found="landed rows with a null in it",
                expected="a column that may be null, as it was when they landed",
                do=f"declare it with required=False; {_elsewhere(path)}",
            )
    return new


def add_columns(spark: SparkSession, path: Path, schema: Schema, new: tuple[str, ...]) -> None:
    """Add declared columns to an existing table; landed rows have null in them."""
    ddl = ", ".join(f"`{name}` {schema.field(name).type}" for name in new)
    spark.sql(f"ALTER TABLE delta.`{path}` ADD COLUMNS ({ddl})")


def has_log(spark: SparkSession, path: Path, partition: str) -> bool:
    """Whether rows of one file (its SHA-256) are in a table."""
    if not _exists(spark, path):
        return False
    rows = spark.read.format("delta").load(str(path)).where(_of_file(partition))
    return not rows.limit(1).isEmpty()


def append_file(spark: SparkSession, rows: DataFrame, path: Path, partition: str) -> None:
    """Append the rows of one file, once, however often and from however many processes this is called.

    Rows of the file that are there already, from an attempt that did not finish, are replaced in one commit.
    """
    if has_log(spark, path, partition):
        _replace(rows, path, _of_file(partition))
        return
    once = {"txnAppId": f"headrace:{partition}", "txnVersion": "1"}
    writer(rows).options(**once).mode("append").save(str(path))
    if not has_log(spark, path, partition):
        # Delta remembers an earlier append of this file and skipped this one, but its rows were removed since.
        _replace(rows, path, _of_file(partition))


def replace_history(spark: SparkSession, rows: DataFrame, path: Path, partition: str) -> None:
    """Put the rows of one file in the place of everything that files have landed, in one commit.

    Rows of streams stay.
    """
    if _exists(spark, path):
        _replace(rows, path, _IS_HISTORY)
    else:
        append_file(spark, rows, path, partition)


def forget_file(spark: SparkSession, path: Path, partition: str) -> None:
    """Remove one file's rows from a table, where there are any."""
    if has_log(spark, path, partition):
        from delta.tables import DeltaTable

        DeltaTable.forPath(spark, str(path)).delete(_of_file(partition))


def _replace(rows: DataFrame, path: Path, which: str) -> None:
    writer(rows).option("replaceWhere", which).mode("overwrite").save(str(path))


def writer(rows: DataFrame) -> DataFrameWriter:
    """A Delta writer for rows of events or of quarantine, which may bring new columns."""
    # Columns may only be added here, since refuse_changed_schema went before.
    statistics = _EVENT_STATISTICS if "_event_ts" in rows.columns else _STATISTICS
    return rows.write.format("delta").option("mergeSchema", "true").options(**statistics)


def _of_file(partition: str) -> str:
    return f"{_IS_HISTORY} AND _partition = '{partition}'"


def _exists(spark: SparkSession, path: Path) -> bool:
    from delta.tables import DeltaTable

    return bool(DeltaTable.isDeltaTable(spark, str(path)))


def _elsewhere(path: Path) -> str:
    return f"or give the stream a new name, so that it gets a table of its own beside {path.name}"
