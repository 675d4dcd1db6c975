"""A column whose values are declared holds those alone, whatever spells the record."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent import framed

from headrace.errors import DefinitionError
from headrace.schemas import Field, Schema
from headrace.sources.files import fingerprint, read_events
from headrace.sources.payloads import decode
from headrace.testing import through

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
SCHEMA = Schema(
    [
        Field("at", "timestamp"),
        Field("plan", "string", values=("free", "pro")),
        Field("day", "int", required=True, values=range(7)),
    ]
)
ROWS = [
    ("free", 0),
    ("pro", 6),
    ("gold", 1),
    ("Pro", 1),
    (" pro", 1),
    (None, 3),
    ("free", 7),
    ("gold", 9),
    ("pro", None),
]
PLAN, DAY = (f"{name} is none of its declared values" for name in ("plan", "day"))
REASONS = [
    None,
    None,
    f"{PLAN}; found 'gold'",
    f"{PLAN}; found 'Pro'",
    f"{PLAN}; found ' pro'",
    None,
    f"{DAY}; found '7'",
    f"{PLAN}; found 'gold'",
    "day is null but required",
]
STORED = "at timestamp, plan string, day int"
WRITER = {
    "type": "record",
    "name": "user",
    "fields": [
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "plan", "type": ["string", "null"]},
        {"name": "day", "type": ["int", "null"]},
    ],
}


def decoded(raw: Any) -> Any:
    """Records of partition 0 as JSON, those of partition 1 as Avro."""
    spelled = ({"payload": "json"}, {"payload": "avro", "schemas": {1: json.dumps(WRITER)}})
    json_rows, avro_rows = (
        decode(raw.where(f"partition = {n}"), SCHEMA, "at", incarnation="t", source="users", max_ahead_s=600, **how)
        for n, how in enumerate(spelled)
    )
    return json_rows.union(avro_rows)


def of_file(spark: Any, path: Path) -> list[str | None]:
    with read_events(spark, fingerprint(path), SCHEMA, "at", arrival_ts=NOW) as decoded:
        found = {row["_position"]: row["reason"] for row in decoded.quarantined.collect()}
        assert decoded.good == len(ROWS) - len(found)
        assert decoded.by_reason == {PLAN: 4, DAY: 1, "day is null but required": 1}
    return [found.get(n) for n in range(len(ROWS))]


@pytest.mark.spark
def test_a_topic_in_batch_and_stream_in_json_and_avro(spark: Any) -> None:
    said = [json.dumps({"at": "2024-01-02", "plan": plan, "day": day}).encode() for plan, day in ROWS]
    stored = spark.createDataFrame([(NOW, *row) for row in ROWS], STORED).coalesce(1)
    values = (said, framed(stored, 1, json.dumps(WRITER)))
    records = spark.createDataFrame(
        [(value, partition, n, NOW) for partition, own in enumerate(values) for n, value in enumerate(own)],
        "value binary, partition int, offset bigint, timestamp timestamp",
    )
    # Both at once and as one micro-batch, as each job takes a second; that decoding is row by row, others test.
    rows = through(decoded, records, chunks=1).select("_partition", "_position", "_reason").collect()
    found = {(row["_partition"], row["_position"]): row["_reason"] for row in rows}
    assert len(rows) == len(found)
    for partition in "01":
        assert [found[partition, n] for n in range(len(ROWS))] == REASONS


@pytest.mark.spark
def test_files_of_each_format(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "at,plan,day\n" + "".join(f"2024-01-02,{plan or ''},{'' if day is None else day}\n" for plan, day in ROWS)
    )
    said = [{"at": "2024-01-02", "plan": plan, "day": day} for plan, day in ROWS]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))
    plans, days = zip(*ROWS, strict=True)
    stored = {
        "at": pa.array([NOW] * len(ROWS), pa.timestamp("us", "UTC")),
        "plan": plans,
        "day": pa.array(days, pa.int32()),
    }
    pq.write_table(pa.table(stored), tmp_path / "a.parquet")
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        assert of_file(spark, tmp_path / name) == REASONS, name


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("string", "free"),
        ("string", ("free", 1)),
        ("string", ("free", "free")),
        ("int", ("1",)),
        ("int", (True,)),
        ("bigint", (1.0,)),
        ("double", (1.0,)),
        ("boolean", (True,)),
        ("date", ("2024-01-02",)),
    ],
)
def test_values_that_cannot_be_declared(type_: str, values: Any) -> None:
    with pytest.raises(DefinitionError, match=f"'plan' of type {type_} cannot be declared to have these values"):
        Field("plan", type_, values=values)


def test_a_schema_without_declared_values_is_described_as_before() -> None:
    described = SCHEMA.describe()
    assert ["values" in field for field in described] == [False, True, True]
    assert described[2]["values"] == [0, 1, 2, 3, 4, 5, 6]
