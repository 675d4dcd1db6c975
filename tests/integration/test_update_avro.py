"""A topic of Avro records from producer to answer: landed, counted live, trained on; what is none is in quarantine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from confluent import framed
from counted import placed, settings_in
from pyspark.sql import SparkSession
from tapped import SCHEMA, events, send

from headrace.speed.quarantine import records

pytestmark = [pytest.mark.spark, pytest.mark.kafka, pytest.mark.dynamodb]

COLUMNS = {field.name: "double" if field.type == "double" else "string" for field in SCHEMA}
# The second writer has a column that nobody declared.
WRITERS = {1: COLUMNS, 258: {**COLUMNS, "shop": "string"}}
SCHEMAS = {
    number: json.dumps(
        {
            "type": "record",
            "name": "Tap",
            "fields": [{"name": n, "type": ["null", kind]} for n, kind in columns.items()],
        }
    )
    for number, columns in WRITERS.items()
}


def _written(spark: SparkSession, number: int, rows: list[dict[str, Any]]) -> list[bytes]:
    ddl = ", ".join(f"{name} {kind}" for name, kind in WRITERS[number].items())
    return framed(spark.createDataFrame(rows, ddl), number, SCHEMAS[number])


def test_avro_is_landed_counted_and_trained_on(spark: SparkSession, kafka: str, dynamodb: str, tmp_path: Path) -> None:
    made = {1: events(60, seed=21), 258: [{**row, "shop": "s"} for row in events(60, seed=22)]}
    told = {
        value: row
        for number, rows in made.items()
        for value, row in zip(_written(spark, number, rows), rows, strict=True)
    }
    settings = settings_in(tmp_path, kafka, dynamodb)
    with placed(
        spark, settings, kafka, 50, good=lambda v: told.get(v or b""), payload="avro", payload_schemas=SCHEMAS
    ) as place:
        first = place.champion()
        name = place.definition.source.name
        assert send(place.broker, name, [*told, b"\x00\x00\x00\x00\x09rest", b"{}"]) == 122
        head = place.count(first)
        assert all(vector.covers(head) for vector in place.check().values())
        assert place.land() == len(told)
        reasons = {row["reason"] for row in records(spark, settings.lake, name).collect()}
        assert reasons == {"unknown Avro schema; found '9'", "not Avro in Confluent's framing"}
        second = place.published(first)
        place.promote(second, 0)
        assert place.store.champion(place.definition.name).generation == second.manifest.generation
        place.check()
