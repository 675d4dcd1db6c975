"""Text files as numbered records: what a record is, and what is wrong with it before any field is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.schemas.lake import FOUND
from headrace.sources.faults import Fault, is_faulty
from headrace.sources.files import FileFingerprint, spark_path

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

# RFC 4180: a field is quoted as a whole, and a quote inside it is doubled.
_CSV = {"sep": ",", "quote": '"', "escape": '"', "mode": "PERMISSIVE", "maxCharsPerColumn": "-1"}
_RUN = 8192
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
    numbered = text.select(
        F.col("value").alias("_raw"), block.alias("_block"), F.monotonically_increasing_id().alias("_serial")
    )
    if not file.is_packed:
        return numbered
    # One task has to unpack the file, but all may parse it; runs of lines stay together and in order.
    return numbered.repartition(spark.sparkContext.defaultParallelism, F.floor(F.col("_serial") / _RUN))


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


def csv_records(records: DataFrame, width: int) -> tuple[DataFrame, list[Fault]]:
    """With `_fields`, the texts of a well-formed record as struct c0, c1, ..., and `_is_blank`; its faults.

    In: _raw and anything beside it. Streams: append.
    """
    from pyspark.sql import functions as F

    # Without the whole quoted fields; a quote that is left is out of place.
    unquoted = F.regexp_replace("_line", r'(\A|,)"[^"]*+(?:""[^"]*+)*+"(?=,|\z)', "$1")
    columns = F.octet_length("_bare") - F.octet_length(F.replace("_bare", F.lit(","), F.lit(""))) + 1
    found = [
        *_text_faults(),
        Fault(F.contains("_bare", F.lit('"')), F.lit("broken quote")),
        Fault(columns != width, F.concat(F.lit(f"not {width} columns{FOUND}"), columns.cast("string"))),
    ]
    names = ", ".join(f"c{index} string" for index in range(width))
    has_quote = F.contains("_line", F.lit('"'))
    bare = F.when(has_quote, unquoted).otherwise(F.col("_line"))
    sound = _with_line(records).withColumn("_bare", bare).withColumn("_is_sound", _is_sound(found))
    return sound.withColumn("_fields", F.from_csv(_sound_line(), names, _CSV)), found


def json_records(records: DataFrame) -> tuple[DataFrame, list[Fault]]:
    """The same for one JSON object a line: `_fields` maps its keys to texts, as they are spelt in the line.

    A number with a fraction has passed through a double: one that needs more digits is sent as text.
    """
    from pyspark.sql import functions as F

    found = _text_faults()
    sound = _with_line(records).withColumn("_is_sound", _is_sound(found))
    # As the only member of an array, since a parser stops behind the first object and never sees a second one.
    members = F.from_json(F.concat(F.lit("["), _sound_line(), F.lit("]")), "array<map<string, string>>", _JSON)
    parsed = sound.withColumn("_members", members).withColumn(
        "_fields", F.when(F.size("_members") == 1, F.get("_members", F.lit(0)))
    )
    return parsed, [*found, Fault(F.col("_fields").isNull(), F.lit("not one JSON object"))]


def _with_line(records: DataFrame) -> DataFrame:
    from pyspark.sql import functions as F

    line = F.expr(r"trim(TRAILING '\r' FROM _raw)")
    return records.withColumn("_line", line).withColumn("_is_blank", F.trim("_line") == "")


def _text_faults() -> list[Fault]:
    from pyspark.sql import functions as F

    return [
        Fault(~F.is_valid_utf8("_line"), F.lit("not UTF-8")),
        Fault(F.contains("_line", F.lit("\x00")), F.lit("NUL byte")),
    ]


def _is_sound(found: list[Fault]) -> Column:
    from pyspark.sql import functions as F

    return ~F.col("_is_blank") & ~is_faulty(found)


def _sound_line() -> Column:
    from pyspark.sql import functions as F

    return F.when(F.col("_is_sound"), F.col("_line"))
