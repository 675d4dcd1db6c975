"""A record of a topic is a typed event or says why not, by the rules of files, in a batch and in a stream."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from confluent import framed

from headrace.errors import SchemaError
from headrace.schemas import META_COLUMNS, Field, Schema
from headrace.schemas.lake import QUARANTINE_COLUMNS
from headrace.sources.files import fingerprint, read_events
from headrace.sources.payloads import decode, good, quarantined
from headrace.testing import through

pytestmark = pytest.mark.spark

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
SCHEMA = Schema(
    [
        Field("id", "string", required=True, aliases=("ID", "the id")),
        Field("at", "timestamp", format=("M/d/yyyy H:mm", "yyyy-MM-dd HH:mm:ss")),
        Field("n", "int"),
        Field("big", "bigint"),
        Field("x", "double"),
        Field("cost", "decimal(12,2)"),
        Field("yes", "boolean"),
        Field("day", "date"),
    ]
)
GOOD = {
    "id": "a",
    "at": "12/1/2010 8:26",
    "n": 1,
    "big": "2",
    "x": 0.5,
    "cost": "9.99",
    "yes": True,
    "day": "2020-02-29",
}
RECORD = "value binary, partition int, offset bigint, timestamp timestamp"
REST = {"payload": "json", "incarnation": "t-1", "source": "clicks", "max_ahead_s": 600}


def encoded(value) -> bytes | None:
    if isinstance(value, dict):
        return json.dumps(value).encode()
    return value.encode() if isinstance(value, str) else value


def records(spark, *values, at=NOW):
    return spark.createDataFrame([(encoded(v), n % 2, 100 + n, at) for n, v in enumerate(values)], RECORD)


def decoded(spark, *values, schema=SCHEMA, event_time="at", **options):
    return decode(records(spark, *values), schema, event_time, **{**REST, **options})


def reasons(frame) -> list[str | None]:
    return [row["_reason"] for row in frame.orderBy("_position").collect()]


def test_a_good_record_is_typed_and_placed(spark):
    frame = good(
        decoded(spark, {**GOOD, "other": [1, {"a": 2}]}, {"the id": "b", "at": "2010-12-01 08:26:01", "n": None})
    )
    assert frame.columns == [*SCHEMA.names, *META_COLUMNS]
    assert [kind for _, kind in frame.dtypes] == [*(field.type for field in SCHEMA), *META_COLUMNS.values()]
    columns = [c for c in frame.columns if c not in ("at", "_event_ts", "_arrival_ts")]
    rows = [tuple(row) for row in frame.orderBy("_position").select(*columns).collect()]
    assert rows == [
        ("a", 1, 2, 0.5, Decimal("9.99"), True, date(2020, 2, 29), "t-1", "0", 100, "clicks"),
        ("b", None, None, None, None, None, None, "t-1", "1", 101, "clicks"),
    ]
    instants = frame.orderBy("_position").selectExpr(
        "unix_seconds(_event_ts)", "unix_seconds(_arrival_ts)", "at = _event_ts"
    )
    first = int(datetime(2010, 12, 1, 8, 26, tzinfo=UTC).timestamp())
    assert [tuple(row) for row in instants.collect()] == [
        (first, int(NOW.timestamp()), True), (first + 1, int(NOW.timestamp()), True)
    ]  # fmt: skip


BAD = {
    None: "no value (a tombstone)",
    "": "blank value",
    " \r": "blank value",
    b"\xff\xfe": "not UTF-8",
    '{"id": "a\x00"}': "NUL byte",
    "[]": "not one JSON object",
    "null": "not one JSON object",
    '"a"': "not one JSON object",
    '{"id": "a", "at"': "not one JSON object",
    '{"id": "a"} {"id": "b"}': "not one JSON object",
    '{"id": "a"},{"id": "b"}': "not one JSON object",
    '{"id": "a"} x': "not one JSON object",
    "{'id': 'a'}": "not one JSON object",
    json.dumps([GOOD]): "not one JSON object",
    json.dumps({**GOOD, "id": None}): "id is null but required",
    json.dumps({"id": "a"}): "at is null but orders the events",
    json.dumps({**GOOD, "at": "soon"}): "at is not a time; found 'soon'",
    json.dumps({**GOOD, "at": 1291191960000}): "at is not a time; found '1291191960000'",
    json.dumps({**GOOD, "n": "six"}): "n is not an int; found 'six'",
    json.dumps({**GOOD, "n": 1.5}): "n is not an int; found '1.5'",
    json.dumps({**GOOD, "n": [1]}): "n is not an int; found '[1]'",
    json.dumps({**GOOD, "n": 3_000_000_000}): "n is out of range of int; found '3000000000'",
    json.dumps({**GOOD, "x": "much"}): "x is not a number; found 'much'",
    json.dumps({**GOOD, "x": float("nan")}): "not one JSON object",
    json.dumps({**GOOD, "x": "NaN"}): "x is NaN or infinity; found 'NaN'",
    json.dumps({**GOOD, "cost": 9.999}): "cost is finer than decimal(12,2); found '9.999'",
    json.dumps({**GOOD, "yes": "maybe"}): "yes is not a boolean; found 'maybe'",
    json.dumps({**GOOD, "id": "a" * 32_769}): f"id is out of range of string; found '{'a' * 40}...'",
    json.dumps({**GOOD, "day": "2020-02-30"}): "day is not a date; found '2020-02-30'",
}


def test_every_fault_is_named_and_nothing_is_lost(spark):
    frame = decoded(spark, *BAD, GOOD)
    assert reasons(frame) == [*BAD.values(), None]
    rows = frame.orderBy("_position").collect()
    assert [row["_raw"] and bytes(row["_raw"]) for row in rows] == [*map(encoded, BAD), None]
    assert good(frame).count() == 1
    bad = quarantined(frame, NOW)
    assert bad.dtypes == list(QUARANTINE_COLUMNS.items())
    kept = bad.orderBy("_position").collect()
    assert [row["reason"] for row in kept] == list(BAD.values())
    assert [(row["raw"], row["raw_bytes"]) for row in kept[:5]] == [
        (None, None), ("", None), (" \r", None), ("\ufffd\ufffd", b"\xff\xfe"), ('{"id": "a\x00"}', None)
    ]  # fmt: skip
    assert {(row["_incarnation"], row["source"]) for row in kept} == {("t-1", "clicks")}


def test_numbers_mean_what_json_means(spark):
    values = [12345678.9, 1e7, 0.1, -0.0, 1234567890.12, 100]
    frame = good(decoded(spark, *({**GOOD, "cost": v, "x": v} for v in values))).orderBy("_position")
    assert [(row["cost"], row["x"]) for row in frame.collect()] == [(round(Decimal(v), 2), v) for v in values]


def test_an_event_time_ahead_of_the_broker(spark):
    ahead = [timedelta(0), timedelta(seconds=600), timedelta(seconds=601), timedelta(days=400)]
    frame = decoded(spark, *({**GOOD, "at": (NOW + by).strftime("%Y-%m-%d %H:%M:%S")} for by in ahead))
    late = "at is more than 600 s after the record arrived; found "
    assert reasons(frame) == [None, None, f"{late}'2024-05-01 12:10:01'", f"{late}'2025-06-05 12:00:00'"]


def test_a_repaired_record_keeps_its_origin(spark):
    headers = [[("headrace-origin", b"t-0/3/17"), ("x", b"")], [("x", b"")], None]
    rows = [(encoded(GOOD), 0, n, NOW, h) for n, h in enumerate(headers)]
    frame = spark.createDataFrame(rows, f"{RECORD}, headers array<struct<key: string, value: binary>>")
    result = good(decode(frame, SCHEMA, "at", **REST)).orderBy("_position").collect()
    assert [row["_source"] for row in result] == ["clicks repaired from t-0/3/17", "clicks", "clicks"]


def test_columns_may_be_named_like_those_of_a_record(spark):
    schema = Schema(
        [Field("timestamp", "timestamp"), Field("value", "double"), Field("partition", "string"), Field("key", "int")]
    )
    row = {"timestamp": "2024-01-02", "value": 1, "partition": "p", "key": 2}
    frame = good(decoded(spark, row, schema=schema, event_time="timestamp"))
    assert [tuple(row) for row in frame.select("value", "partition", "key", "_partition").collect()] == [
        (1.0, "p", 2, "0")
    ]


def test_a_stream_gives_what_a_batch_gives(spark):
    frame = records(spark, *BAD, *[{**GOOD, "n": n} for n in range(20)])
    rows = through(lambda raw: decode(raw, SCHEMA, "at", **REST), frame)
    assert rows.where("_reason is null").count() == 20


def test_a_record_is_parsed_once_whatever_is_asked_of_it(spark, capsys):
    good(decoded(spark, GOOD)).explain()
    plan = capsys.readouterr().out
    assert plan.count("from_json(") == 1
    assert plan.count("try_to_timestamp") == 2  # once for each of the two formats


def test_a_file_and_a_topic_agree_on_every_line(spark, tmp_path):
    noise = random.Random(11)
    texts = [
        None,
        "",
        " ",
        "a",
        "1",
        " 7 ",
        "-3.25",
        "1e3",
        "12/1/2010 8:26",
        "2020-02-29",
        "true",
        "é",
        "99999999999",
        5,
        2.5,
    ]
    lines = [json.dumps({f.name: noise.choice(texts) for f in SCHEMA if noise.random() < 0.9}) for _ in range(300)]
    lines += [json.dumps({**GOOD, noise.choice(SCHEMA.names): noise.choice(texts)}) for _ in range(300)]
    lines += [value for value in BAD if isinstance(value, str) and value.strip()]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    topic = decoded(spark, *lines)
    with read_events(spark, fingerprint(path), SCHEMA, "at", arrival_ts=NOW) as file:
        ours = [tuple(r) for r in good(topic).orderBy("_position").select(*SCHEMA.names).collect()]
        assert ours == [tuple(r) for r in file.events.orderBy("_position").select(*SCHEMA.names).collect()]
        assert len(ours) > 50
        bad = quarantined(topic, NOW).orderBy("_position").select("raw", "reason").collect()
        assert bad == file.quarantined.orderBy("_position").select("raw", "reason").collect()
        assert len(bad) > 300


FIRST = {
    "type": "record", "name": "click", "fields": [
        {"name": "ID", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "n", "type": ["null", "long"]},
        {"name": "x", "type": "float"},
        {"name": "extra", "type": {"type": "array", "items": "int"}},
    ],
}  # fmt: skip
SECOND = {
    "type": "record", "name": "click", "fields": [
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "id", "type": "string"},
        {"name": "cost", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "yes", "type": "boolean"},
    ],
}  # fmt: skip
SCHEMAS = {7: json.dumps(FIRST), 70_000: json.dumps(SECOND)}


def avro(spark, number: int, row: tuple, ddl: str) -> bytes:
    return framed(spark.createDataFrame([row], ddl), number, SCHEMAS[number])[0]


def test_avro_is_read_by_the_writers_schema(spark):
    at = datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    first = avro(spark, 7, ("a", at, 5, 0.1, [1]), "ID string, at timestamp, n bigint, x float, extra array<int>")
    large = avro(spark, 7, ("a", at, 1 << 40, 0.1, []), "ID string, at timestamp, n bigint, x float, extra array<int>")
    second = avro(
        spark, 70_000, (at, "b", Decimal("9.99"), date(2020, 2, 29), True),
        "at timestamp, id string, cost decimal(12,2), day date, yes boolean",
    )  # fmt: skip
    unknown = b"\x00" + (9).to_bytes(4) + first[5:]
    values = [
        first,
        second,
        large,
        unknown,
        first[:12],
        b"\x01" + first[1:],
        b"\x00\x00\x00\x00\x07",
        None,
        encoded(GOOD),
    ]
    frame = decoded(spark, *values, payload="avro", schemas=SCHEMAS)
    assert reasons(frame) == [
        None,
        None,
        f"n is out of range of int; found '{1 << 40}'",
        "unknown Avro schema; found '9'",
        "not readable as its Avro schema",
        "not Avro in Confluent's framing",
        "not Avro in Confluent's framing",
        "no value (a tombstone)",
        "not Avro in Confluent's framing",
    ]
    rows = good(frame).orderBy("_position").select("id", "n", "x", "cost", "day", "yes", "_position").collect()
    assert [tuple(row) for row in rows] == [
        ("a", 5, 0.10000000149011612, None, None, None, 100),
        ("b", None, None, Decimal("9.99"), date(2020, 2, 29), True, 101),
    ]
    micros = good(frame).orderBy("_position").selectExpr("unix_micros(at)").collect()
    assert [row[0] % 1_000_000 for row in micros] == [678901, 678000]


def test_avro_runs_on_a_stream(spark):
    ddl = "ID string, at timestamp, n bigint, x float, extra array<int>"
    values = [avro(spark, 7, ("a", NOW, 5, 0.1, [1]), ddl), b"\x00", None]
    rows = through(
        lambda raw: decode(raw, SCHEMA, "at", **{**REST, "payload": "avro", "schemas": SCHEMAS}),
        records(spark, *values),
    )
    assert rows.where("_reason is null").count() == 1


TEXTS = {**FIRST, "fields": [{"name": name, "type": "string"} for name in ("id", "at")]}


@pytest.mark.parametrize(
    ("schemas", "message"),
    [
        ({}, "no schema is known"),
        ({1: "{"}, "Avro schema 1 is none; found {"),
        ({1: '"string"'}, "Avro schema 1 is no record; found string"),
        (
            {1: json.dumps(FIRST).replace('"ID"', '"idd"')},
            r"Avro schema 1 lacks column 'id'; found \['idd', .*nearest 'idd'",
        ),
        (
            {1: json.dumps(FIRST).replace('"extra"', '"day"')},
            "'day' of Avro schema 1 cannot be read as date; found array<int>",
        ),
        (
            {1: json.dumps(FIRST), 2: json.dumps(TEXTS)},
            "'at' is text in some Avro schemas and an instant in others",
        ),
    ],
)
def test_schemas_that_do_not_fit_are_refused(spark, schemas, message):
    with pytest.raises(SchemaError, match=message):
        decoded(spark, b"", payload="avro", schemas=schemas)
