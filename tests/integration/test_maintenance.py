"""Files are merged and removed, and every version that a generation in use reads stays readable."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from delta.tables import DeltaTable
from published import promote, publish, version

from headrace.cli.maintenance import compact as compact_command
from headrace.cli.maintenance import vacuum as vacuum_command
from headrace.errors import InputError
from headrace.registry import Manifest, Registry
from headrace.schemas.lake import events_path, quarantine_path
from headrace.sinks.lake import writer
from headrace.sources.lake import latest_version, snapshot
from headrace.speed.maintenance import Compacted, compact, pinned, vacuum
from headrace.stores.memory import MemoryStore

pytestmark = pytest.mark.spark

MODULE = """
from headrace import Count, Definition, Field, Schema, Stream

visits = Definition(
    name="visits", entity="who", event_time="at", features={"n": Count()},
    source=Stream("visits", Schema([Field("who", "string"), Field("at", "timestamp", required=True)])),
)
"""


def land(spark, settings, day):
    """One file of events and one of bad records."""
    at = f"timestamp '2024-01-{day:02}'"
    frame = spark.sql(
        f"SELECT 'u{day}' who, {at} at, 'life' _incarnation, '0' _partition, {day}L _position, {at} _event_ts, "
        f"{at} _arrival_ts, 'visits' _source"
    )
    writer(frame).mode("append").save(str(events_path(settings.lake, "visits")))
    bad = frame.selectExpr("who raw", "_incarnation", "_partition", "_position")
    writer(bad).mode("append").save(str(quarantine_path(settings.lake, "visits")))


def train(spark, settings, name, base=None):
    """A sealed generation on the newest version, its number and that version."""
    seen = snapshot(spark, settings.lake, "visits")
    draft = Registry(settings.registry).claim(name)
    facts = {
        "generation": draft.generation, "definition": name, "base": base, "stream": "visits",
        "delta_version": seen.version, "cut": seen.cut.to_json(), "as_of": seen.as_of, "reference": seen.latest_event,
        "clock": "cut", "max_age_s": None, "types": {}, "schema_sha256": "", "definition_sha256": "",
        "code_version": "", "seed": None, "fingerprint": "", "rows": seen.rows, "entities": 1, "metrics": {},
        "settings": {}, "created_at": seen.as_of,
    }  # fmt: skip
    draft.seal(lambda files: Manifest(files=files, **facts))
    return draft.generation, seen.version


def rows(spark, settings, at=None):
    reader = spark.read.format("delta")
    if at is not None:
        reader = reader.option("versionAsOf", at)
    return sorted(row["who"] for row in reader.load(str(events_path(settings.lake, "visits"))).select("who").collect())


def files(settings):
    return {file.name for file in events_path(settings.lake, "visits").glob("*.parquet")}


def test_compact_and_vacuum_leave_what_generations_in_use_read(spark, headrace_settings, tmp_path, monkeypatch):
    settings = headrace_settings(f"home={tmp_path / 'a home with blanks'}", "publish.rollback_window=1")
    store = MemoryStore()
    now = datetime.now(UTC)
    with pytest.raises(InputError, match="stream 'visits' has no tables in the lake"):
        compact(spark, settings, "visits")

    # Of visits, generation 1 has left the window and 4 is not published yet; another definition pins a version too.
    at = {}
    for day in (1, 2, 3):
        land(spark, settings, day)
        generation, at[generation] = train(spark, settings, "visits")
        publish(store, "visits", generation, {"u1": version(1, 1)})
        promote(store, "visits", generation)
        if day == 2:
            compact(spark, settings, "visits")
    _, at[4] = train(spark, settings, "visits")
    compact(spark, settings, "visits")
    _, at["rival"] = train(spark, settings, "rival")
    publish(store, "rival", 1, {"u1": version(1, 1)})
    promote(store, "rival", 1)
    land(spark, settings, 4)
    newest = latest_version(spark, events_path(settings.lake, "visits"))
    before = {name: rows(spark, settings, pinned_at) for name, pinned_at in at.items()}
    assert [len(seen) for seen in before.values()] == [1, 2, 3, 3, 3]

    merged = [Compacted("events", 2, 1), Compacted("quarantine", 2, 1)]
    assert commanded(spark, settings, store, tmp_path, monkeypatch, "compact")["tables"] == [
        {"table": one.table, "removed": one.removed, "added": one.added} for one in merged
    ]
    whole = [f"u{day}" for day in (1, 2, 3, 4)]
    assert rows(spark, settings) == rows(spark, settings, newest) == whole
    pins = pinned(settings, "visits", store)
    assert [(pin.version, pin.generations) for pin in pins] == [
        (at[2], (("visits", 2),)),
        (at[3], (("visits", 3), ("visits", 4))),
        (at["rival"], (("rival", 1),)),
    ]

    young = commanded(spark, settings, store, tmp_path, monkeypatch, "vacuum", "--hours", "1")
    assert (young["removed"], young["kept"], young["log_days"]) == ({"events": 0, "quarantine": 0}, 5, 30)
    held = files(settings)
    done = vacuum(spark, settings, "visits", store, hours=0, now=now + timedelta(days=25))
    # One file of events alone was read by no generation: that of day 4, before it was merged.
    assert (done.removed, len(held - files(settings))) == ({"events": 1, "quarantine": 6}, 1)
    assert (done.kept, done.pins) == (5, tuple(pins))
    assert rows(spark, settings) == whole
    assert {name: rows(spark, settings, pinned_at) for name, pinned_at in at.items()} == before
    with pytest.raises(Exception, match=r"FILE_NOT_EXIST|FileNotFound|does not exist"):
        rows(spark, settings, newest)

    # Delta would drop the log that tells a version's files: it is kept as long as the version is in use.
    assert done.log_days == 90
    detail = DeltaTable.forPath(spark, str(events_path(settings.lake, "visits"))).detail().collect()[0]
    assert detail["properties"]["delta.logRetentionDuration"] == "interval 90 days"


def commanded(spark, settings, store, folder, monkeypatch, *arguments):
    @contextmanager
    def opened(what, *_):
        yield what

    monkeypatch.setattr("headrace.cli.maintenance.opened_spark", lambda *_: opened(spark))
    monkeypatch.setattr("headrace.cli.maintenance.opened_store", lambda *_: opened(store))
    monkeypatch.setenv("HEADRACE_HOME", str(settings.home))
    module = folder / "visits_module.py"
    module.write_text(MODULE)
    command = {"compact": compact_command, "vacuum": vacuum_command}[arguments[0]]
    own = ["--set", "publish.rollback_window=1", "--json"]
    done = CliRunner().invoke(command, [f"{module}:visits", *arguments[1:], *own], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)
