"""Quarantined records are listed, and re-enter the stream at most once, repaired or as they are."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from streamed import KafkaWorld

from headrace.batch.ingest import ingest
from headrace.cli.quarantine import quarantine
from headrace.errors import InputError
from headrace.sources.kafka import Broker
from headrace.sources.payloads import ORIGIN_HEADER
from headrace.speed.quarantine import Replayed, records, repairs_of, replay

pytestmark = [pytest.mark.spark, pytest.mark.kafka]

DEFINITION = """
from headrace import Count, Definition, Field, Schema, Stream

visits = Definition(
    name="visits", entity="who", event_time="at", features={{"n": Count()}},
    source=Stream("{stream}", Schema([
        Field("who", "string"), Field("at", "timestamp", required=True), Field("amount", "double")])),
)
"""


class Killed(Exception):
    """What a replay is stopped with."""


@pytest.fixture
def world(spark, kafka, headrace_settings):
    settings = headrace_settings(f"kafka.bootstrap={kafka}")
    with Broker(settings.kafka, kafka) as broker:
        yield KafkaWorld(spark, settings, kafka, broker=broker)


def now():
    return datetime.now(UTC)


def in_topic(world):
    """Partition, offset, value and origin of every record that re-entered."""
    topic = world.broker.topic(world.name)
    held = world.broker.held(topic)
    starts, ends = ({partition: place[which] for partition, place in held.items()} for which in (0, 1))
    return sorted(
        (r.partition, r.offset, r.value, dict(r.headers)[ORIGIN_HEADER].decode())
        for r in world.broker.records(topic, starts, ends)
        if r.headers
    )


def repairs(tmp_path, *lines):
    file = tmp_path / "repairs.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return repairs_of(file)


def test_records_re_enter_once_whatever_crashes(world, tmp_path):
    def again(**options):
        return replay(world.spark, world.settings, world.name, world.address, clock=now, **options)

    life = world.create().incarnation
    world.send(range(4))
    late = b'{"who": "u1", "at": "2024-05-01", "amount": "1,5"}'
    world.send_raw([(0, b"{"), (1, late), (1, b"\xff"), (0, None)])
    world.run()
    assert world.reasons() == {
        (0, 2): "not one JSON object",
        (1, 2): "amount is not a number",
        (1, 3): "not UTF-8",
        (0, 3): "no value (a tombstone)",
    }

    good = {"who": "u1", "at": "2024-05-01T00:00:00Z", "amount": 1.5}
    line = {"incarnation": life, "partition": "1", "position": 2, "value": good}
    mended = repairs(tmp_path, line, {**line, "position": 3, "value": json.dumps(good)})

    def kill(step):
        raise Killed(step)

    # Sent and not noted, twice: once the topic tells it, once the lake alone.
    with pytest.raises(Killed):
        again(repairs=dict([next(iter(mended.items()))]), on_step=kill)
    assert [origin for *_, origin in in_topic(world)] == [f"{life}/1/2"]
    with pytest.raises(Killed):
        again(repairs=mended, on_step=kill)
    assert [origin for *_, origin in in_topic(world)] == [f"{life}/1/2", f"{life}/1/3"]
    assert world.run().rows == 2
    from kafka import TopicPartition

    world.broker._admin.delete_records({TopicPartition(world.name, 1): 6})
    assert again(repairs=mended) == Replayed(sent=0, before=2, from_files=0)
    world.sent += [(1, 4, 1.5), (1, 5, 1.5)]
    world.assert_equal()

    # As they are: bad again, at new positions, and never a second time.
    assert again(reason="not one JSON object") == Replayed(sent=1, before=0, from_files=0)
    assert again() == Replayed(sent=1, before=3, from_files=0)
    assert in_topic(world) == [(0, 4, b"{", f"{life}/0/2"), (0, 5, None, f"{life}/0/3")]
    world.run()
    world.sent += [(0, 4, None), (0, 5, None)]
    world.assert_equal()
    sources = {r["_position"]: r["source"] for r in world._bad() if r["_partition"] == "0"}
    assert sources[4] == f"{world.name} repaired from {life}/0/2"


def test_what_cannot_re_enter_is_refused_by_name(world, tmp_path):
    def again(**options):
        return replay(world.spark, world.settings, world.name, world.address, clock=now, **options)

    file = tmp_path / "history.csv"
    file.write_text("who,at,amount\nu1,never,1\n" + "u1,2024-01-01,1\n" * 40)
    ingest(world.spark, world.settings, world.definition(), file, now=now())
    world.create()
    with pytest.raises(InputError, match=r"came from files.*--replace"):
        again()
    world.send_raw([(0, b"{")])
    world.run()
    (sha256,) = {r["_partition"] for r in world._bad() if r["_incarnation"] == ""}
    line = {"incarnation": "", "partition": sha256, "position": 0, "value": "{}"}
    with pytest.raises(InputError, match=rf"/{sha256}/0 of stream .* came from files"):
        again(repairs=repairs(tmp_path, line))
    with pytest.raises(InputError, match=r"1 of the repaired records are not in quarantine .*found x/0/7;"):
        again(repairs=repairs(tmp_path, {**line, "incarnation": "x", "partition": 0, "position": 7}))
    with pytest.raises(InputError, match=r"line 2 .* repairs /.*/0 again"):
        repairs(tmp_path, line, line)
    with pytest.raises(InputError, match=r"line 1 .* is not a repair; found KeyError: 'value'"):
        repairs(tmp_path, {"incarnation": ""})
    with pytest.raises(InputError, match=r"line 1 .* has no value to send"):
        repairs(tmp_path, {**line, "value": None})
    with pytest.raises(InputError, match=r"quarantined for 'at is no time'.*nearest 'at is not a time'"):
        records(world.spark, world.settings.lake, world.name, "at is no time")
    assert in_topic(world) == []
    assert again() == Replayed(sent=1, before=0, from_files=1)


def test_the_commands(world, tmp_path, monkeypatch):
    from contextlib import contextmanager

    @contextmanager
    def opened(*_args):
        yield world.spark

    monkeypatch.setattr("headrace.cli.quarantine.opened_spark", opened)
    monkeypatch.setenv("HEADRACE_HOME", str(world.settings.home))
    module = tmp_path / "visits.py"
    module.write_text(DEFINITION.format(stream=world.name))
    own = [f"{module}:visits", "--set", f"kafka.bootstrap={world.address}", "--json"]

    def run(*arguments):
        done = CliRunner().invoke(quarantine, [*arguments, *own], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert run("list") == {"stream": world.name, "rows": 0, "by_reason": {}, "records": []}
    life = world.create().incarnation
    world.send_raw([(1, b"{"), (1, b"{}"), (0, b"[")])
    world.run()
    listed = run("list", "--reason", "not one JSON object", "--limit", "1")
    assert (listed["rows"], listed["by_reason"]) == (2, {"not one JSON object": 2})
    (record,) = listed["records"]
    seen, unsent = record.pop("seen_ts"), record.pop("sent_ts")
    assert datetime.fromisoformat(seen)
    assert unsent is None
    assert record == {
        "incarnation": life, "partition": "0", "position": 0, "reason": "not one JSON object", "source": world.name,
        "raw": "[",
    }  # fmt: skip
    file = tmp_path / "repairs.jsonl"
    good = {"who": "u1", "at": "2024-05-01T00:00:00Z", "amount": 1.5}
    file.write_text(
        json.dumps({key: record[key] for key in ("incarnation", "partition", "position")} | {"value": good})
    )
    assert run("replay", "--repair", str(file)) == {"sent": 1, "before": 0, "from_files": 0}
    assert world.run().rows == 1
    assert {r["position"]: bool(r["sent_ts"]) for r in run("list")["records"] if r["partition"] == "0"} == {0: True}
    text = CliRunner().invoke(quarantine, ["list", *own[:-1]], catch_exceptions=False).stdout
    assert "not one JSON object" in text
