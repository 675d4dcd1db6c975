"""Avro records as Confluent's clients frame them: a zero byte and the schema's id in four before each."""

from __future__ import annotations

from pyspark.sql import DataFrame


def framed(frame: DataFrame, number: int, schema: str) -> list[bytes]:
    """The rows, written with the schema of that id."""
    from pyspark.sql import functions as F
    from pyspark.sql.avro.functions import to_avro

    body = to_avro(F.struct(*frame.columns), schema)
    return [b"\x00" + number.to_bytes(4) + bytes(row[0]) for row in frame.select(body).collect()]
