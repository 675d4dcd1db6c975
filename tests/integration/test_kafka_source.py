"""A topic is read at exact offsets, known by its identity, and what it no longer holds is named."""

from __future__ import annotations

import socket
import time
import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from headrace.errors import EngineError, InputError, RetentionGap, StreamRecreated, TransientError
from headrace.sources.failures import named_failures
from headrace.sources.kafka import Broker, range_records, stream_records
from headrace.sources.streams import check_retention, check_topic

pytestmark = [pytest.mark.kafka]


@pytest.fixture
def broker(kafka, headrace_settings):
    with Broker(headrace_settings().kafka, kafka) as opened:
        yield opened


@pytest.fixture
def topic(broker):
    return broker.create(f"kafka_source_{uuid.uuid4().hex[:8]}", 2)


def send(broker, topic, records, **options):
    """Values to partitions, in order: (partition, value)."""
    producer = broker.producer()
    sent = [producer.send(topic.name, value=value, partition=partition, **options) for partition, value in records]
    return [future.get(timeout=30).offset for future in sent]


def numbered(*partitions, count=10):
    return [(p, f"{p}/{n}".encode()) for n in range(count) for p in partitions]


def test_a_topic_is_known_by_its_identity(broker, topic):
    assert uuid.UUID(topic.incarnation)
    assert topic.partitions == (0, 1)
    assert broker.topic(topic.name) == topic
    assert broker.create(topic.name, 9) == topic  # one that is there is left as it is
    check_topic(broker.topic(topic.name), topic.incarnation)


def test_a_recreated_topic_is_refused_by_name(broker, topic):
    broker._admin.delete_topics([topic.name])
    again = broker.create(topic.name, 2)
    with pytest.raises(StreamRecreated) as refused:
        check_topic(again, topic.incarnation)
    assert refused.value.exit_code == 2
    assert f"found topic id {again.incarnation}; expected {topic.incarnation}" in str(refused.value)


def test_a_misspelt_topic_meets_the_nearest(broker, topic):
    with pytest.raises(InputError, match=rf"there is no topic .*nearest '{topic.name}'.*create it"):
        broker.topic(topic.name + "x")


def test_nobody_answers(headrace_settings, monkeypatch):
    monkeypatch.setattr("headrace.sources.kafka._PATIENCE_MS", 1_000)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(EngineError, match=rf"Kafka at {address} does not answer") as refused:
            Broker(headrace_settings().kafka, address).__enter__()
    assert refused.value.exit_code == 75


def test_what_is_held_and_what_is_missing(broker, topic):
    from kafka import TopicPartition

    send(broker, topic, numbered(0, 1))
    assert broker.held(topic) == {0: (0, 10), 1: (0, 10)}
    broker._admin.delete_records({TopicPartition(topic.name, 1): 7})
    held = broker.held(topic)
    assert held == {0: (0, 10), 1: (7, 10)}
    check_retention(held, {0: 0, 1: 7}, topic)
    with pytest.raises(RetentionGap, match=r"found partition 1: \[5, 7\); "):
        check_retention(held, {0: 2, 1: 5}, topic)
    with pytest.raises(RetentionGap, match=r"found partition 1: \[0, 7\); "):
        check_retention(held, {}, topic)
    with pytest.raises(RetentionGap, match=r"partition 0: \[10, 12\), which was read before"):
        check_retention(held, {0: 12, 1: 7}, topic)
    with pytest.raises(RetentionGap, match="no longer holds"):
        list(broker.records(topic, {1: 3}, {1: 10}))


def test_records_without_spark(broker, topic):
    send(broker, topic, numbered(0, 1), headers=[("headrace-row", b"7")])
    found = list(broker.records(topic, {0: 3, 1: 10}, {0: 5, 1: 10}))
    assert [(r.partition, r.offset, r.value, r.headers) for r in found] == [
        (0, 3, b"0/3", [("headrace-row", b"7")]),
        (0, 4, b"0/4", [("headrace-row", b"7")]),
    ]


def test_the_broker_stamps_records_of_a_topic_we_made(broker, topic):
    send(broker, topic, [(0, b"x")], timestamp_ms=1)
    (record,) = broker.records(topic, {}, {0: 1})
    assert abs(datetime.fromtimestamp(record.timestamp / 1000, UTC) - datetime.now(UTC)) < timedelta(minutes=5)


@pytest.mark.spark
def test_a_range_is_read_exactly(spark, kafka, headrace_settings, broker, topic):
    settings = headrace_settings().kafka
    send(broker, topic, numbered(0, 1), headers=[("a", b"\x00"), ("b", b"")])
    records = range_records(spark, settings, kafka, topic, {0: 3}, {0: 5, 1: 2}, headers=True)
    rows = sorted(records.collect(), key=lambda row: (row["partition"], row["offset"]))
    assert [(row["partition"], row["offset"], bytes(row["value"])) for row in rows] == [
        (0, 3, b"0/3"), (0, 4, b"0/4"), (1, 0, b"1/0"), (1, 1, b"1/1"),
    ]  # fmt: skip
    assert [tuple(header) for header in rows[0]["headers"]] == [("a", b"\x00"), ("b", b"")]
    nothing = range_records(spark, settings, kafka, topic, {0: 3}, {0: 3}, headers=True)
    assert nothing.collect() == []
    assert nothing.schema.simpleString() == records.schema.simpleString()


class Seen:
    """What a stream has given, by partition."""

    def __init__(self) -> None:
        self.offsets = defaultdict(list)
        self.largest = 0

    def __call__(self, batch, _number) -> None:
        rows = batch.select("partition", "offset").orderBy("partition", "offset").collect()
        self.largest = max(self.largest, len(rows))
        for row in rows:
            self.offsets[row["partition"]].append(row["offset"])

    def wait(self, query, expected) -> None:
        deadline = time.monotonic() + 90
        while dict(self.offsets) != expected:
            assert query.exception() is None, query.exception()
            assert time.monotonic() < deadline, (dict(self.offsets), expected)
            time.sleep(0.2)


@pytest.mark.spark
def test_a_stream_starts_exactly_and_takes_up_new_partitions(spark, kafka, headrace_settings, broker, topic, tmp_path):
    settings = headrace_settings("kafka.max_per_trigger=6").kafka
    send(broker, topic, numbered(0, 1))
    stream = stream_records(spark, settings, kafka, topic, {0: 4})
    assert stream.columns == ["key", "value", "partition", "offset", "timestamp"]
    seen = Seen()
    query = stream.writeStream.foreachBatch(seen).option("checkpointLocation", str(tmp_path / "checkpoint")).start()
    try:
        seen.wait(query, {0: list(range(4, 10)), 1: list(range(10))})
        assert seen.largest <= 6
        broker._admin.create_partitions({topic.name: 4})
        grown = broker.create(topic.name, 4)
        assert (grown.partitions, grown.incarnation) == ((0, 1, 2, 3), topic.incarnation)
        send(broker, grown, numbered(2, 3, count=3))
        seen.wait(query, {0: list(range(4, 10)), 1: list(range(10)), 2: [0, 1, 2], 3: [0, 1, 2]})
    finally:
        query.stop()


@pytest.mark.spark
def test_a_stream_does_not_skip_what_it_cannot_have(spark, kafka, headrace_settings, broker, topic, tmp_path):
    from kafka import TopicPartition

    send(broker, topic, numbered(0, 1))
    broker._admin.delete_records({TopicPartition(topic.name, 0): 7})
    settings = headrace_settings().kafka

    def failing(start, run):
        seen = Seen()
        frame = stream_records(spark, settings, kafka, topic, start)
        options = {"checkpointLocation": str(tmp_path / run)}
        query = frame.writeStream.foreachBatch(seen).options(**options).start()
        try:
            with named_failures():
                query.awaitTermination(90)
        finally:
            query.stop()
            assert 0 not in seen.offsets

    with pytest.raises(RetentionGap, match="no longer holds events that were not counted"):
        failing({0: 2}, "gap")
    with pytest.raises(RetentionGap, match="no longer holds events that were not counted"):
        failing({0: 7, 1: 50}, "beyond")
    with pytest.raises(RetentionGap), named_failures():
        range_records(spark, settings, kafka, topic, {0: 2}, {0: 9}).count()
    broker._admin.create_partitions({topic.name: 3})
    with pytest.raises(TransientError, match="a partition was added"):
        failing({0: 7}, "grown")
    broker._admin.delete_topics([topic.name])
    with pytest.raises(StreamRecreated, match="the topic was deleted while it was read"):
        failing({0: 7}, "gone")
