"""A file lands whole and once, whatever is run again, crashes, overlaps or changes its columns."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headrace import Count, Definition, Field, Schema, Stream, Vector
from headrace.batch.ingest import ingest
from headrace.errors import ConfigError, InputError, OverlapError, SchemaError
from headrace.schemas.lake import events_path, quarantine_path
from headrace.sinks.lake import append_file, writer
from headrace.sources.files import fingerprint, read_events
from headrace.sources.lake import events_at, latest_version, quarantine_counts, snapshot
from headrace.sources.payloads import decode, good

pytestmark = pytest.mark.spark

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
FIELDS = (
    Field("who", "string"),
    Field("at", "timestamp", required=True),
    Field("amount", "double", required=True),
)


def definition(*fields: Field, event_id: str | None = None) -> Definition:
    return Definition(
        name="visits",
        entity="who",
        event_time="at",
        event_id=event_id,
        source=Stream("visits", Schema(fields or FIELDS)),
        features={"n": Count()},
    )


def csv_file(folder: Path, name: str, rows: list[str], header: str = "who,at,amount") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def rows_on(day: int, bad: int = 0, good: int = 40) -> list[str]:
    return [f"u{n % 7},2024-01-{day:02} 00:{n:02}:00,{n}" for n in range(good)] + ["u1,never,1"] * bad


def landed(spark, settings) -> list[tuple[str, int]]:
    events = spark.read.format("delta").load(str(events_path(settings.lake, "visits")))
    return sorted((row["_source"], row["_position"]) for row in events.select("_source", "_position").collect())


def quarantined(spark, settings) -> list[tuple[str, int]]:
    records = spark.read.format("delta").load(str(quarantine_path(settings.lake, "visits")))
    return sorted((row["source"], row["_position"]) for row in records.collect())


def test_a_file_lands_once_and_its_report_is_the_same_again(spark, headrace_settings, tmp_path):
    settings = headrace_settings("ingest.max_quarantine_share=0.1")
    path = csv_file(tmp_path, "a.csv", [*rows_on(1, bad=1), "", "u1,never,1", "u2,2024-01-01,inf"])
    first = ingest(spark, settings, definition(), path, now=NOW)
    version = latest_version(spark, events_path(settings.lake, "visits"))
    again = ingest(spark, settings, definition(), path, now=NOW + timedelta(days=1))

    assert (first.rows_read, first.landed, first.quarantined, first.blank) == (43, 40, 3, 1)
    assert first.quarantined_by_reason == {"at is not a time": 2, "amount is NaN or infinity": 1}
    assert (first.already_landed, again.already_landed) == (False, True)
    assert {**again.__dict__, "already_landed": False} == first.__dict__
    assert latest_version(spark, events_path(settings.lake, "visits")) == version
    assert landed(spark, settings) == [("a.csv", n) for n in range(40)]
    assert quarantined(spark, settings) == [("a.csv", 40), ("a.csv", 42), ("a.csv", 43)]
    counts = quarantine_counts(spark, settings.lake, "visits").collect()
    assert [tuple(row) for row in counts] == [("at is not a time", 2), ("amount is NaN or infinity", 1)]


def test_a_snapshot_is_pinned_and_its_cut_is_after_the_last_event(spark, headrace_settings, tmp_path):
    settings = headrace_settings()
    with pytest.raises(InputError, match=r"nothing has been ingested into stream 'visits' yet.*headrace ingest"):
        snapshot(spark, settings.lake, "visits")
    first, second = (csv_file(tmp_path, f"{day}.csv", rows_on(day, bad=1)) for day in (1, 2))
    ingest(spark, settings, definition(), first, now=NOW)
    ingest(spark, settings, definition(), second, now=NOW + timedelta(hours=1))

    whole = snapshot(spark, settings.lake, "visits")
    assert whole.cut == Vector({("", fingerprint(first).sha256): 40, ("", fingerprint(second).sha256): 40})
    assert (whole.rows, whole.events.count()) == (80, 80)
    assert whole.latest_event == datetime(2024, 1, 2, 0, 39, tzinfo=UTC)
    assert whole.as_of == NOW + timedelta(hours=1)
    assert events_at(spark, settings.lake, "visits", whole.version - 1).count() == 40
    assert events_at(spark, settings.lake, "visits").count() == 80
    with pytest.raises(InputError, match=r"no version 9; found .*Available versions: \[0, 1\]"):
        events_at(spark, settings.lake, "visits", 9)
    with pytest.raises(InputError, match="nothing has been ingested into stream 'others'"):
        events_at(spark, settings.lake, "others", 0)
    spark.sql(f"DELETE FROM delta.`{events_path(settings.lake, 'visits')}`")
    with pytest.raises(InputError, match=r"nothing has been ingested .*version 2 of .* is empty"):
        snapshot(spark, settings.lake, "visits")


def test_files_that_cover_the_same_time_are_refused_unless_nothing_counts_twice(spark, headrace_settings, tmp_path):
    settings = headrace_settings()
    first = csv_file(tmp_path, "a.csv", rows_on(1))
    second = csv_file(tmp_path, "b.csv", rows_on(1)[20:] + rows_on(2))
    ingest(spark, settings, definition(), first, now=NOW)
    with pytest.raises(OverlapError) as refused:
        ingest(spark, settings, definition(), second, now=NOW)
    assert "events of b.csv may count twice in stream 'visits'" in str(refused.value)
    assert "file a.csv from 2024-01-01 00:00:00Z to 2024-01-01 00:39:00Z" in str(refused.value)
    for way in ("--replace", "--disjoint", "event_id"):
        assert way in str(refused.value)
    assert landed(spark, settings) == [("a.csv", n) for n in range(40)]

    assert ingest(spark, settings, definition(event_id="who"), second, now=NOW).landed == 60
    third = csv_file(tmp_path, "c.csv", rows_on(2, good=10))
    assert ingest(spark, settings, definition(), third, now=NOW, disjoint=True).landed == 10
    assert len(landed(spark, settings)) == 110


def test_replacing_drops_what_files_landed_and_keeps_the_stream(spark, headrace_settings, tmp_path):
    settings = headrace_settings()
    a, b = csv_file(tmp_path, "a.csv", rows_on(1, bad=1)), csv_file(tmp_path, "b.csv", rows_on(1, bad=2))
    ingest(spark, settings, definition(), a, now=NOW)
    table = events_path(settings.lake, "visits")
    streamed = spark.read.format("delta").load(str(table)).limit(5).selectExpr(
        "who", "at + INTERVAL 5 DAYS AS at", "amount", "'topic1' AS _incarnation", "'0' AS _partition", "_position",
        "_event_ts + INTERVAL 5 DAYS AS _event_ts", "_arrival_ts", "'visits' AS _source",
    )  # fmt: skip
    streamed.write.format("delta").mode("append").save(str(table))

    for path in (b, a, b):  # back and forth: an earlier landing of the same bytes must not stand in the way
        assert ingest(spark, settings, definition(), path, now=NOW, replace=True).landed == 40
        sources = {source for source, _ in landed(spark, settings)}
        assert sources == {path.name, "visits"}
        assert len(landed(spark, settings)) == 45
        assert {source for source, _ in quarantined(spark, settings)} == {path.name}
    late = csv_file(tmp_path, "late.csv", rows_on(6))
    for options in ({"replace": True}, {"disjoint": True}):
        with pytest.raises(OverlapError, match=r"landed already: stream visits from 2024-01-06.*cut the file off"):
            ingest(spark, settings, definition(), late, now=NOW, **options)


def test_rows_removed_by_hand_land_again(spark, headrace_settings, tmp_path):
    settings = headrace_settings()
    path = csv_file(tmp_path, "a.csv", rows_on(1, bad=1))
    ingest(spark, settings, definition(), path, now=NOW)
    spark.sql(f"DELETE FROM delta.`{events_path(settings.lake, 'visits')}`")
    assert ingest(spark, settings, definition(), path, now=NOW).already_landed is False
    assert landed(spark, settings) == [("a.csv", n) for n in range(40)]
    assert quarantined(spark, settings) == [("a.csv", 40)]


def test_appending_the_same_file_twice_at_once_lands_it_once(spark, headrace_settings, tmp_path):
    settings = headrace_settings()
    file = fingerprint(csv_file(tmp_path, "a.csv", rows_on(1)))
    path = events_path(settings.lake, "visits")
    for _ in range(2):  # neither sees the other's rows before it writes, as two processes would
        with read_events(spark, file, Schema(FIELDS), "at", arrival_ts=NOW) as decoded:
            decoded.events.write.format("delta").mode("append").options(
                txnAppId=f"headrace:{file.sha256}", txnVersion="1"
            ).save(str(path))
    with read_events(spark, file, Schema(FIELDS), "at", arrival_ts=NOW) as decoded:
        append_file(spark, decoded.events, path, file.sha256)
    assert landed(spark, settings) == [("a.csv", n) for n in range(40)]


CRASH = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
sys.path.insert(0, {tests!r})
import headrace.batch.ingest as step
from headrace.config import load
from headrace.session import open_session
from test_ingest_landing import definition

real, calls = step.append_file, []

def append_or_die(spark, rows, path, partition):
    if len(calls) == {survive}:
        os.kill(os.getpid(), signal.SIGKILL)
    calls.append(path)
    real(spark, rows, path, partition)

step.append_file = append_or_die
settings = load(["home={home}", "spark.driver_memory=1g"], environment="local")
spark = open_session(settings, "crash")
step.ingest(spark, settings, definition(), Path({path!r}), now=datetime(2024, 5, 1, tzinfo=UTC))
"""


def test_a_kill_between_the_two_commits_is_healed_by_running_again(spark, headrace_settings, tmp_path):
    settings = headrace_settings()
    path = csv_file(tmp_path, "a.csv", rows_on(1, bad=2))
    code = CRASH.format(tests=str(Path(__file__).parent), home=settings.home, path=str(path), survive=1)
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert len(quarantined(spark, settings)) == 2
    assert not events_path(settings.lake, "visits").exists()

    report = ingest(spark, settings, definition(), path, now=NOW)
    assert (report.already_landed, report.landed, report.quarantined) == (False, 40, 2)
    assert landed(spark, settings) == [("a.csv", n) for n in range(40)]
    assert quarantined(spark, settings) == [("a.csv", 40), ("a.csv", 41)]


def test_a_new_nullable_column_flows(spark, headrace_settings, tmp_path):
    settings = headrace_settings()
    ingest(spark, settings, definition(), csv_file(tmp_path, "a.csv", rows_on(1)), now=NOW)
    wider = definition(*FIELDS, Field("channel", "string"))
    rows = [f"{row},web" for row in rows_on(2)]
    ingest(spark, settings, wider, csv_file(tmp_path, "b.csv", rows, "who,at,amount,channel"), now=NOW)
    counts = snapshot(spark, settings.lake, "visits").events.groupBy("channel").count().collect()
    assert {(row["channel"], row["count"]) for row in counts} == {(None, 40), ("web", 40)}


def test_a_column_declared_after_its_file_landed_is_not_left_null_in_silence(spark, headrace_settings, tmp_path):
    settings = headrace_settings()
    path = csv_file(tmp_path, "a.csv", [f"{row},web" for row in rows_on(1)], "who,at,amount,channel")
    assert ingest(spark, settings, definition(), path, now=NOW).ignored == ("channel",)
    wider = definition(*FIELDS, Field("channel", "string"))
    with pytest.raises(SchemaError, match=r"landed before column 'channel' was declared.*--replace"):
        ingest(spark, settings, wider, path, now=NOW)
    assert ingest(spark, settings, wider, path, now=NOW, replace=True).landed == 40
    assert snapshot(spark, settings.lake, "visits").events.where("channel = 'web'").count() == 40

    widest = definition(*FIELDS, Field("channel", "string"), Field("coupon", "string"))
    report = ingest(spark, settings, widest, path, now=NOW)
    assert (report.already_landed, report.absent) == (True, ("coupon",))
    assert "coupon" in snapshot(spark, settings.lake, "visits").events.columns


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((FIELDS[1], FIELDS[2], Field("whom", "string")), "column 'who' of .* is no longer declared.*nearest 'whom'"),
        (
            (FIELDS[0], FIELDS[1]),
            "column 'amount' of .* no longer declared; .*expected 'amount' of type double",
        ),
        (
            (*FIELDS[:2], Field("amount", "int", required=True)),
            "'amount' of .* changed its type; found int; expected",
        ),
        ((*FIELDS, Field("extra", "int", required=True)), "new column 'extra' of .* is required.*required=False"),
        ((Field("who", "string", required=True), *FIELDS[1:]), "column 'who' of .* is declared required; found landed"),
    ],
)
def test_any_other_change_of_columns_is_refused_before_a_write(spark, headrace_settings, tmp_path, fields, message):
    settings = headrace_settings()
    ingest(spark, settings, definition(), csv_file(tmp_path, "a.csv", [*rows_on(1), ",2024-01-01,1"]), now=NOW)
    entity = next(field.name for field in fields if field.type == "string")
    changed = Definition(
        name="visits", entity=entity, event_time="at", source=Stream("visits", Schema(fields)), features={"n": Count()}
    )
    path = csv_file(tmp_path, "b.csv", rows_on(2))
    with pytest.raises(SchemaError, match=message):
        ingest(spark, settings, changed, path, now=NOW)
    assert latest_version(spark, events_path(settings.lake, "visits")) == 0


def test_files_are_replaced_beside_a_stream_whose_places_are_counted(spark, headrace_settings, tmp_path):
    settings = headrace_settings("ingest.max_quarantine_share=0.1")
    sent = [json.dumps({"who": f"u{n}", "at": f"2024-03-0{n + 1}", "amount": n}).encode() for n in range(3)]
    records = spark.createDataFrame(
        [(value, 0, n, NOW, str(10**20 + n)) for n, value in enumerate(sent)],
        "value binary, partition int, offset bigint, timestamp timestamp, sequence string",
    )
    decoded = decode(
        records, Schema(FIELDS), "at", payload="json", incarnation="life", source="visits", max_ahead_s=600
    )
    path = events_path(settings.lake, "visits")
    writer(good(decoded)).mode("append").save(str(path))

    def rows() -> list[tuple[str, int, str | None]]:
        table = spark.read.format("delta").load(str(path))
        return sorted((row["_source"], row["_position"], row["_sequence"]) for row in table.collect())

    live = [("visits", n, str(10**20 + n)) for n in range(3)]
    ingest(spark, settings, definition(), csv_file(tmp_path, "a.csv", rows_on(1, bad=1)), now=NOW)
    assert rows() == [*(("a.csv", n, None) for n in range(40)), *live]
    wider = definition(*FIELDS, Field("channel", "string"))
    other = csv_file(tmp_path, "b.csv", [f"{row},web" for row in rows_on(1, good=9)], "who,at,amount,channel")
    assert ingest(spark, settings, wider, other, now=NOW, replace=True).landed == 9
    assert rows() == [*(("b.csv", n, None) for n in range(9)), *live]
    assert quarantined(spark, settings) == []


def test_contradictory_wishes_are_refused(spark, headrace_settings, tmp_path):
    path = csv_file(tmp_path, "a.csv", rows_on(1))
    with pytest.raises(ConfigError, match="replace and disjoint exclude each other"):
        ingest(spark, headrace_settings(), definition(), path, now=NOW, replace=True, disjoint=True)
    with pytest.raises(ConfigError, match="arrival time has no time zone"):
        ingest(spark, headrace_settings(), definition(), path, now=NOW.replace(tzinfo=None))
