"""Rows of a file get exact positions however it is split, and every bad row says what is wrong with it."""

from __future__ import annotations

import csv
import gzip
import json
import math
import random
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from headrace.errors import ConfigError, InputError, SchemaError
from headrace.schemas import META_COLUMNS, Field, Schema
from headrace.schemas.lake import QUARANTINE_COLUMNS
from headrace.sources.files import fingerprint, read_events

pytestmark = pytest.mark.spark

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
SCHEMA = Schema(
    [
        Field("id", "string", required=True),
        Field("at", "timestamp", format=("M/d/yyyy H:mm",)),
        Field("n", "int"),
        Field("big", "bigint"),
        Field("x", "double"),
        Field("cost", "decimal(6,2)"),
        Field("yes", "boolean"),
        Field("day", "date"),
    ]
)
HEADER = "id,at,n,big,x,cost,yes,day"
GOOD = "a,12/1/2010 8:26,1,2,0.5,9.99,true,2020-02-29"


def read(spark, path: Path, schema=SCHEMA, **options):
    return read_events(spark, fingerprint(path), schema, "at", arrival_ts=NOW, **options)


def csv_file(folder: Path, *lines: str | bytes, end: bytes = b"\n", name: str = "rows.csv") -> Path:
    path = folder / name
    content = end.join(line if isinstance(line, bytes) else line.encode() for line in (HEADER, *lines)) + end
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def test_every_type_is_read_and_the_log_is_named(spark, tmp_path):
    path = csv_file(tmp_path, GOOD, "b,1/2/2011 0:00,-5,9007199254740993,-0.0,.5,FALSE,0001-01-01", end=b"\r\n")
    with read(spark, path) as decoded:
        first, second = decoded.events.orderBy("_position").collect()
        assert decoded.events.columns == [*SCHEMA.names, *META_COLUMNS]
        assert [kind for _, kind in decoded.events.dtypes[-6:]] == list(META_COLUMNS.values())
        instants = decoded.events.orderBy("_position").selectExpr(
            "unix_seconds(at)", "unix_seconds(_event_ts)", "unix_seconds(_arrival_ts)"
        )
        at = int(datetime(2010, 12, 1, 8, 26, tzinfo=UTC).timestamp())
        assert tuple(instants.head()) == (at, at, int(NOW.timestamp()))
    assert (first["id"], first["n"], first["big"], first["x"], first["cost"]) == ("a", 1, 2, 0.5, Decimal("9.99"))
    assert (first["yes"], first["day"]) == (True, date(2020, 2, 29))
    assert (second["n"], second["big"], second["day"]) == (-5, 9007199254740993, date(1, 1, 1))
    assert math.copysign(1, second["x"]) == -1
    assert (first["_incarnation"], first["_partition"], first["_position"]) == ("", fingerprint(path).sha256, 0)
    assert first["_source"] == "rows.csv"
    assert (decoded.good, decoded.bad, decoded.blank) == (2, 0, 0)
    assert decoded.earliest == datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
    assert decoded.latest == datetime(2011, 1, 2, tzinfo=UTC)


BAD = {
    "a,12/1/2010 8:26,1,2,0.5,9.99,true": "not 8 columns; found 7",
    GOOD + ",more": "not 8 columns; found 9",
    'a,"12/1/2010 8:26,1,2,0.5,9.99,true,2020-02-29': "broken quote",
    'a"b,12/1/2010 8:26,1,2,0.5,9.99,true,2020-02-29': "broken quote",
    '"a"b",12/1/2010 8:26,1,2,0.5,9.99,true,2020-02-29': "broken quote",
    "a\x00,12/1/2010 8:26,1,2,0.5,9.99,true,2020-02-29": "NUL byte",
    b"caf\xe9,12/1/2010 8:26,1,2,0.5,9.99,true,2020-02-29": "not UTF-8",
    ",12/1/2010 8:26,1,2,0.5,9.99,true,2020-02-29": "id is null but required",
    "a,,1,2,0.5,9.99,true,2020-02-29": "at is null but orders the events",
    "a,13/45/2010 8:26,1,2,0.5,9.99,true,2020-02-29": "at is not a time; found '13/45/2010 8:26'",
    "a,2/30/2010 8:26,1,2,0.5,9.99,true,2020-02-29": "at is not a time; found '2/30/2010 8:26'",
    "a,1/1/0000 8:26,1,2,0.5,9.99,true,2020-02-29": "at is out of range of timestamp; found '1/1/0000 8:26'",
    "a,12/1/2010 8:26,six,2,0.5,9.99,true,2020-02-29": "n is not an int; found 'six'",
    "a,12/1/2010 8:26,1.5,2,0.5,9.99,true,2020-02-29": "n is not an int; found '1.5'",
    "a,12/1/2010 8:26,2147483648,2,0.5,9.99,true,2020-02-29": "n is out of range of int; found '2147483648'",
    "a,12/1/2010 8:26,1,9223372036854775808,0.5,9.99,true,2020-02-29": (
        "big is out of range of bigint; found '9223372036854775808'"
    ),
    "a,12/1/2010 8:26,1,2,NaN,9.99,true,2020-02-29": "x is NaN or infinity; found 'NaN'",
    "a,12/1/2010 8:26,1,2,-Infinity,9.99,true,2020-02-29": "x is NaN or infinity; found '-Infinity'",
    "a,12/1/2010 8:26,1,2,1e999,9.99,true,2020-02-29": "x is out of range of double; found '1e999'",
    "a,12/1/2010 8:26,1,2,1d,9.99,true,2020-02-29": "x is not a number; found '1d'",
    "a,12/1/2010 8:26,1,2,0.5,9.999,true,2020-02-29": "cost is finer than decimal(6,2); found '9.999'",
    "a,12/1/2010 8:26,1,2,0.5,99999.99,true,2020-02-29": "cost is out of range of decimal(6,2); found '99999.99'",
    "a,12/1/2010 8:26,1,2,0.5,9.99,maybe,2020-02-29": "yes is not a boolean; found 'maybe'",
    "a,12/1/2010 8:26,1,2,0.5,9.99,true,2020-02-30": "day is not a date; found '2020-02-30'",
    "a,12/1/2010 8:26,1,2,0.5,9.99,true,2020-02-29 10:00": "day is not a date; found '2020-02-29 10:00'",
    f"{'é' * 16_385},12/1/2010 8:26,1,2,0.5,9.99,true,2020-02-29": (
        f"id is out of range of string; found '{'é' * 40}...'"
    ),
    f"a,12/1/2010 8:26,{'9' * 60}x,2,0.5,9.99,true,2020-02-29": f"n is not an int; found '{'9' * 40}...'",
}


def test_each_bad_row_is_kept_with_its_reason_and_harms_no_other(spark, tmp_path):
    lines: list[str | bytes] = []
    for bad in BAD:
        lines += [bad, GOOD]
    with read(spark, csv_file(tmp_path, *lines)) as decoded:
        rows = decoded.quarantined.orderBy("_position").collect()
        assert decoded.quarantined.columns == list(QUARANTINE_COLUMNS)
        positions = [row["_position"] for row in decoded.events.select("_position").orderBy("_position").collect()]
        assert dict(zip(BAD, (row["reason"] for row in rows), strict=True)) == BAD
        assert [row["_position"] for row in rows] == list(range(0, 2 * len(BAD), 2))
        assert positions == list(range(1, 2 * len(BAD), 2))
        assert decoded.by_reason["broken quote"] == 3
        assert decoded.by_reason["not 8 columns"] == 2
        assert decoded.by_reason["n is not an int"] == 3
        for bad, row in zip(BAD, rows, strict=True):
            if isinstance(bad, bytes):
                assert (row["raw"], bytes(row["raw_bytes"])) == (bad.decode("utf-8", "replace"), bad)
            else:
                assert (row["raw"], row["raw_bytes"]) == (bad, None)
            assert (row["source"], row["_incarnation"]) == ("rows.csv", "")


def test_empty_fields_are_null_and_blanks_are_kept_in_text_only(spark, tmp_path):
    path = csv_file(tmp_path, '" a ",12/1/2010 8:26,  ,"",,,,', " ,12/1/2010 8:26, 7 ,2,1,1,true,2020-02-29")
    with read(spark, path) as decoded:
        first, second = decoded.events.orderBy("_position").collect()
    assert tuple(first)[2:8] == (None,) * 6
    assert (first["id"], second["id"], second["n"]) == (" a ", " ", 7)


def test_quotes_commas_and_letters_are_read_as_pythons_csv_reads_them(spark, tmp_path):
    rng = random.Random(11)
    texts = ["".join(rng.choices("a \",é\u0085\u2028;\\'", k=rng.randint(1, 8))) for _ in range(300)]
    path = tmp_path / "texts.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        writer.writerows([["id", "at"], *([text, "12/1/2010 8:26"] for text in texts)])
    with read(spark, path, Schema(list(SCHEMA)[:2])) as decoded:
        assert [row["id"] for row in decoded.events.orderBy("_position").collect()] == texts


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
def test_positions_are_exact_over_many_splits(spark, tmp_path, name):
    rng = random.Random(5)
    lines = [
        f"row{number}{'x' * rng.choice((0, 3, 900))},12/1/2010 8:26,{number},1,1,1,true,2020-02-29"
        for number in range(5_000)
    ]
    lines[17] = ""
    lines[4_000] = "broken"
    path = csv_file(tmp_path, *lines, name=name)
    before = spark.conf.get("spark.sql.files.maxPartitionBytes")
    spark.conf.set("spark.sql.files.maxPartitionBytes", "65536")
    try:
        with read(spark, path) as decoded:
            rows = decoded.events.select("_position", "n").collect()
            splits = decoded.events.rdd.getNumPartitions()
            bad = [row["_position"] for row in decoded.quarantined.collect()]
    finally:
        spark.conf.set("spark.sql.files.maxPartitionBytes", before)
    assert splits == spark.sparkContext.defaultParallelism if name.endswith(".gz") else splits > 10
    assert len(rows) == 4_998
    assert all(row["_position"] == row["n"] for row in rows)
    assert (bad, decoded.blank) == ([4_000], 1)


def test_records_over_several_lines_only_where_asked_for(spark, tmp_path):
    path = csv_file(tmp_path, '"a\nb",12/1/2010 8:26,1,,,,,', "", '"c\r\n\n""d",12/1/2010 8:26,2,,,,,', GOOD)
    with read(spark, path, multiline=True) as decoded:
        rows = decoded.events.orderBy("_position").select("id", "_position").collect()
        assert [tuple(row) for row in rows] == [("a\nb", 0), ('c\r\n\n"d', 3), ("a", 6)]
        assert (decoded.bad, decoded.blank) == (0, 1)
    with read(spark, path) as decoded:
        assert (decoded.good, decoded.by_reason, decoded.blank) == (1, {"broken quote": 4}, 2)


def test_a_very_long_line_harms_no_other(spark, tmp_path):
    long = "x" * 5_000_000
    path = csv_file(tmp_path, f"{long},12/1/2010 8:26,,,,,,", f'"{long}",12/1/2010 8:26,,,,,,', f'"{long}', GOOD)
    with read(spark, path) as decoded:
        lengths = [row[0] for row in decoded.events.orderBy("_position").selectExpr("length(id)").collect()]
    assert lengths == [1]
    assert decoded.by_reason == {"id is out of range of string": 2, "broken quote": 1}


def test_a_file_name_with_glob_characters_is_that_file_only(spark, tmp_path):
    csv_file(tmp_path, GOOD, GOOD, name="a1.csv")
    path = csv_file(tmp_path, GOOD, name="a[1] {x}*?%20#.csv")
    with read(spark, path) as decoded:
        assert (decoded.good, decoded.events.head()["_source"]) == (1, path.name)


def test_a_file_without_rows_is_refused(spark, tmp_path):
    for lines in ((), ("", "  ")):
        with pytest.raises(InputError, match=r"rows\.csv has no rows; found a header only"):
            read(spark, csv_file(tmp_path, *lines))


def test_a_file_that_grows_while_it_is_read_is_refused(spark, tmp_path):
    path = csv_file(tmp_path, GOOD)
    file = fingerprint(path)
    with path.open("a") as stream:
        stream.write(GOOD + "\n")
    with pytest.raises(InputError, match=r"rows\.csv changed while it was read; found 3 lines; expected 2"):
        read_events(spark, file, SCHEMA, "at", arrival_ts=NOW)


def test_times_must_be_aware_and_the_session_in_utc(spark, tmp_path):
    file = fingerprint(csv_file(tmp_path, GOOD))
    with pytest.raises(ConfigError, match="arrival_ts has no time zone"):
        read_events(spark, file, SCHEMA, "at", arrival_ts=datetime(2024, 1, 1))  # noqa: DTZ001 - what is refused
    spark.conf.set("spark.sql.session.timeZone", "Europe/Paris")
    try:
        with pytest.raises(ConfigError, match=r"timeZone=Europe/Paris; expected UTC"):
            read_events(spark, file, SCHEMA, "at", arrival_ts=NOW)
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")


def test_a_time_without_format_needs_a_date(spark, tmp_path):
    schema = Schema([Field("id", "string"), Field("at", "timestamp")])
    path = tmp_path / "a.csv"
    path.write_text("id,at\na,2024-01-02\nb,2024-01-02T03:04:05.5Z\nc,2024-01-02 03:04:05+02:00\nd,12:30\ne,2024\n")
    with read(spark, path, schema) as decoded:
        rows = decoded.events.orderBy("_position").selectExpr("unix_millis(at)").collect()
        bad = [row["reason"] for row in decoded.quarantined.orderBy("_position").collect()]
    expected = ["2024-01-02T00:00:00+00:00", "2024-01-02T03:04:05.500+00:00", "2024-01-02T03:04:05+02:00"]
    assert [row[0] for row in rows] == [round(datetime.fromisoformat(t).timestamp() * 1000) for t in expected]
    assert bad == ["at is not a time; found '12:30'", "at is not a time; found '2024'"]


def test_json_lines_are_read_by_the_same_rules(spark, tmp_path):
    schema = Schema(
        [Field("id", "string", required=True, aliases=("Id",)), Field("at", "timestamp"), Field("x", "double")]
    )
    lines = [
        json.dumps({"Id": "a", "at": "2024-01-02 03:04:05", "x": 1.10, "other": [1]}),
        json.dumps({"id": "é\n", "at": "2024-01-02", "x": None}),
        "",
        '{"id": "a", "at": "2024-01-02", "x": "much"}',
        '{"id": "a", "at": "2024-01-02"',
        "[1]",
        "{'id': 'a'}",
        '{"at": "2024-01-02"}',
    ]
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode() + b'\n{"id": "\xff"}\n'))
    with read(spark, path, schema) as decoded:
        rows = decoded.events.orderBy("_position").select("id", "x", "_position").collect()
        bad = {row["_position"]: row["reason"] for row in decoded.quarantined.collect()}
    assert [tuple(row) for row in rows] == [("a", 1.1, 0), ("é\n", None, 1)]
    assert bad == {
        3: "x is not a number; found 'much'",
        4: "not one JSON object",
        5: "not one JSON object",
        6: "not one JSON object",
        7: "id is null but required",
        8: "not UTF-8",
    }
    assert decoded.blank == 1


def parquet_file(spark, folder: Path, rows: list[tuple], ddl: str) -> Path:
    written = folder / "out"
    spark.createDataFrame(rows, ddl).coalesce(1).write.mode("overwrite").parquet(str(written))
    part = next(written.glob("*.parquet"))
    return part.rename(folder / "rows.parquet")


PARQUET = Schema(
    [Field("id", "string", required=True), Field("at", "timestamp"), Field("n", "bigint"), Field("x", "double")]
)


def test_parquet_rows_are_numbered_and_checked(spark, tmp_path):
    at = datetime(2024, 1, 2, tzinfo=UTC)
    rows = [
        ("a", at, 1, 0.5),
        (None, at, 1, 0.5),
        ("c", None, 1, 0.5),
        ("d", at, 1, float("nan")),
        ("e", at, None, float("-inf")),
        ("f", at, 2, -0.0),
    ]
    path = parquet_file(spark, tmp_path, rows, "ID string, at timestamp, n int, x float")
    with read(spark, path, PARQUET) as decoded:
        good = decoded.events.orderBy("_position").select("id", "n", "_position").collect()
        bad = {row["_position"]: (row["reason"], row["raw"]) for row in decoded.quarantined.collect()}
    assert [tuple(row) for row in good] == [("a", 1, 0), ("f", 2, 5)]
    assert {position: reason for position, (reason, _) in bad.items()} == {
        1: "id is null but required",
        2: "at is null but orders the events",
        3: "x is NaN or infinity; found 'NaN'",
        4: "x is NaN or infinity; found '-Infinity'",
    }
    assert json.loads(bad[2][1])["ID"] == "c"


@pytest.mark.parametrize(
    ("ddl", "row", "message"),
    [
        (
            "id bigint, at timestamp, n int, x float",
            (1, NOW, 1, 1.0),
            "'id' of rows.parquet.*found bigint; expected string",
        ),
        ("id string, at date, n int, x float", ("a", NOW.date(), 1, 1.0), "'at'.*found date; expected timestamp"),
        ("id string, at timestamp, n int, x decimal(9,2)", ("a", NOW, 1, Decimal(1)), "'x'.*found decimal"),
        ("id string, at timestamp, m int, x float", ("a", NOW, 1, 1.0), "lacks column 'n'"),
    ],
)
def test_parquet_types_that_could_lose_values_are_refused(spark, tmp_path, ddl, row, message):
    schema = Schema([Field(f.name, f.type, required=f.name == "n") for f in PARQUET])
    with pytest.raises(SchemaError, match=message):
        read(spark, parquet_file(spark, tmp_path, [row], ddl), schema)
