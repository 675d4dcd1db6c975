"""Avro records in Confluent's framing, read as the texts that JSON would spell, so that one set of rules holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.errors import SchemaError, nearest
from headrace.schemas import Schema
from headrace.schemas.lake import FOUND
from headrace.sources.faults import Fault
from headrace.sources.readings import Checked

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

# A zero byte and the schema's id in four bytes, before the record itself.
_FRAME = 5
_INSTANTS = ("timestamp", "timestamp_ntz", "date")
_SCALARS = ("string", "int", "bigint", "float", "double", "boolean", *_INSTANTS)


@dataclass(frozen=True)
class AvroSchema:
    """Writers' schemas by id, and the declared columns as they are read from them.

    stored: for each id the Spark types of its fields. fields: the declared columns, without text formats where
    all writers store instants.
    """

    by_id: Mapping[int, str]
    stored: Mapping[int, Mapping[str, str]]
    fields: Schema


def avro_schema(spark: SparkSession, schema: Schema, by_id: Mapping[int, str]) -> AvroSchema:
    """Match writers' schemas with the declared columns.

    Raises SchemaError for a writer's schema that is none, one that lacks a required column, one whose type has no
    text, and for a column with `format` that some writers store as text and others as an instant.
    """
    if not by_id:
        raise SchemaError("the payload is Avro, but no schema is known", expected="the writers' schemas by id")
    stored = {number: _stored(spark, number, text) for number, text in sorted(by_id.items())}
    fields = []
    for field in schema:
        kinds = set()
        for number, columns in stored.items():
            name = next((key for key in (field.name, *field.aliases) if key in columns), None)
            if name is None:
                if field.required:
                    raise SchemaError(
                        f"Avro schema {number} lacks column {field.name!r}",
                        found=list(columns),
                        nearest=nearest(field.name, columns),
                    )
                continue
            if columns[name] not in _SCALARS and not columns[name].startswith("decimal"):
                raise SchemaError(
                    f"column {name!r} of Avro schema {number} cannot be read as {field.type}",
                    found=columns[name],
                    expected="a text, a number, a boolean or an instant",
                )
            kinds.add(columns[name] in _INSTANTS)
        if field.format and len(kinds) > 1:
            raise SchemaError(
                f"column {field.name!r} is text in some Avro schemas and an instant in others",
                do="register schemas that agree, or declare the column without `format`",
            )
        fields.append(dataclasses.replace(field, format=()) if True in kinds else field)
    return AvroSchema(by_id, stored, Schema(fields))


def avro_records(records: DataFrame, schema: AvroSchema) -> Checked:
    """With `_fields`, the texts of a readable record by field name; its faults.

    In: _value binary and anything beside it. Streams: append.
    """
    from pyspark.sql import functions as F

    framed = F.substring("_value", 1, 1) == F.lit(b"\x00")
    number = F.conv(F.hex(F.substring("_value", 2, 4)), 16, 10).cast("bigint")
    is_framed = framed & (F.octet_length("_value") > _FRAME)
    numbered = records.withColumn("_schema", F.when(is_framed, number))
    texts = F.lit(None).cast("map<string, string>")
    for known, text in schema.by_id.items():
        texts = F.when(F.col("_schema") == known, _texts(text, schema.stored[known])).otherwise(texts)
    parsed = numbered.withColumn("_fields", texts)
    is_known = F.col("_schema").isin(list(schema.by_id))
    number_found = F.concat(F.lit(f"unknown Avro schema{FOUND}'"), F.col("_schema").cast("string"), F.lit("'"))
    # A record that cannot be read comes out as one of nulls only, which no event is.
    nothing = ~F.exists(F.map_values("_fields"), lambda value: value.isNotNull())
    return parsed, [
        Fault(F.col("_schema").isNull(), F.lit("not Avro in Confluent's framing")),
        Fault(~is_known, number_found),
        Fault(nothing, F.lit("not readable as its Avro schema")),
    ]


def _stored(spark: SparkSession, number: int, text: str) -> dict[str, str]:
    from py4j.protocol import Py4JError  # type: ignore[import-untyped]
    from pyspark.errors import PySparkException
    from pyspark.sql import functions as F
    from pyspark.sql.avro.functions import from_avro
    from pyspark.sql.types import StructType

    try:
        read = spark.range(0).select(from_avro(F.lit(b""), text).alias("r")).schema["r"].dataType
    except (PySparkException, Py4JError) as error:
        raise SchemaError(f"Avro schema {number} is none", found=text[:200]) from error
    if not isinstance(read, StructType):
        raise SchemaError(f"Avro schema {number} is no record", found=read.simpleString())
    return {field.name: field.dataType.simpleString() for field in read}


def _texts(text: str, stored: Mapping[str, str]) -> Column:
    from pyspark.sql import functions as F
    from pyspark.sql.avro.functions import from_avro

    body = F.expr(f"substring(_value, {_FRAME + 1})")
    read = from_avro(body, text, {"mode": "PERMISSIVE"})
    pairs = []
    for name, kind in stored.items():
        if kind in _SCALARS or kind.startswith("decimal"):
            value = read[name].cast("double") if kind == "float" else read[name]
            pairs += [F.lit(name), value.cast("string")]
    return F.create_map(*pairs)
