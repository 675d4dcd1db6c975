"""Text files as numbered records: what a record is, and what is wrong with it before any field is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.schemas.lake import FOUND
from headrace.sources.files import FileFingerprint, spark_path

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

# RFC 4180: a field is quoted as a whole, and a quote inside it is doubled.
_CSV = {"sep": ",", "quote": '"', "escape": '"', "mode": "PERMISSIVE", "maxCharsPerColumn": "-1"}
_JSON = {"mode": "PERMISSIVE", "allowSingleQuotes": "false", "allowNonNumericNumbers": "false"}


def lines(spark: SparkSession, file: FileFingerprint) -> DataFrame:
    """The physical lines in `_raw`, with `_block` and an ascending `_serial` inside each block.

    `_serial` depends on how the scan is laid out, so it means something only within one execution; the caller
    persists it before deriving positions. Streams: batch only.
    """
    from pyspark.sql import functions as F

    # Without the option Spark would also end a line at a lone carriage return.
    text = spark.read.option("lineSep", "\n").text(spark_path(file.path))
    block = F.col("_metadata.file_block_start")
    return text.select(
        F.col("value").alias("_raw"), block.alias("_block"), F.monotonically_increasing_id().alias("_serial")
    )


def quoted_records(physical: DataFrame) -> DataFrame:
    """Records that may span lines inside quotes; `_serial` is the number of the record's first line.

    The parity of all quotes before a line says whether it starts a record, so the file is read in one task and
    a broken quote damages what follows up to the next one.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    ordered = Window.orderBy("_block", "_serial")
    before = ordered.rowsBetween(Window.unboundedPreceding, -1)
    quotes = F.length("_raw") - F.length(F.replace("_raw", F.lit('"'), F.lit("")))
    numbered = physical.select(
        "_raw",
        (F.row_number().over(ordered) - 1).cast("bigint").alias("_line"),
        (F.coalesce(F.sum(quotes % 2).over(before), F.lit(0)) % 2 == 0).alias("_starts"),
    )
    first = F.max(F.when(F.col("_starts"), F.col("_line"))).over(
        Window.orderBy("_line").rowsBetween(Window.unboundedPreceding, 0)
    )
    parts = F.array_sort(F.collect_list(F.struct("_line", "_raw")))
    return (
        numbered.withColumn("_serial", first)
        .groupBy("_serial")
        .agg(F.array_join(F.transform(parts, lambda part: part["_raw"]), "\n").alias("_raw"))
        .select("_raw", F.lit(0).cast("bigint").alias("_block"), "_serial")
    )


def csv_records(records: DataFrame, width: int) -> DataFrame:
    """With `_fields`, the texts of a well-formed record as struct c0, c1, ...; else `_fault`; `_is_blank`.

    In: _raw and anything beside it. Streams: append.
    """
    from pyspark.sql import functions as F

    line = F.expr(r"trim(TRAILING '\r' FROM _raw)")
    has_quote = F.contains("_line", F.lit('"'))
    # Doubled quotes go first, then whole quoted fields; a quote that is left is out of place.
    unquoted = F.regexp_replace(F.replace("_line", F.lit('""'), F.lit("")), r'(\A|,)"[^"]*"(?=,|\z)', "$1")
    columns = F.octet_length("_bare") - F.octet_length(F.replace("_bare", F.lit(","), F.lit(""))) + 1
    fault = F.coalesce(
        _text_fault("_line"),
        F.when(F.contains("_bare", F.lit('"')), F.lit("broken quote")),
        F.when(columns != width, F.concat(F.lit(f"not {width} columns{FOUND}"), columns.cast("string"))),
    )
    names = ", ".join(f"c{index} string" for index in range(width))
    return (
        records.withColumn("_line", line)
        .withColumn("_is_blank", F.trim("_line") == "")
        .withColumn("_bare", F.when(has_quote, unquoted).otherwise(F.col("_line")))
        .withColumn("_fault", fault)
        .withColumn("_fields", F.from_csv(_where_sound("_line"), names, _CSV))
        .drop("_line", "_bare")
    )


def json_records(records: DataFrame) -> DataFrame:
    """The same for one JSON object a line: `_fields` maps its keys to texts, as they are spelt in the line."""
    from pyspark.sql import functions as F

    return (
        records.withColumn("_line", F.expr(r"trim(TRAILING '\r' FROM _raw)"))
        .withColumn("_is_blank", F.trim("_line") == "")
        .withColumn("_fault", _text_fault("_line"))
        .withColumn("_fields", F.from_json(_where_sound("_line"), "map<string, string>", _JSON))
        .withColumn("_fault", F.coalesce("_fault", F.when(F.col("_fields").isNull(), F.lit("not one JSON object"))))
        .drop("_line")
    )


def _text_fault(line: str) -> Column:
    from pyspark.sql import functions as F

    return F.coalesce(
        F.when(~F.is_valid_utf8(line), F.lit("not UTF-8")), F.when(F.contains(line, F.lit("\x00")), F.lit("NUL byte"))
    )


def _where_sound(line: str) -> Column:
    from pyspark.sql import functions as F

    return F.when(F.col("_fault").isNull() & ~F.col("_is_blank"), F.col(line))
