"""Landing a Kafka topic."""

from __future__ import annotations

import pytest
from stream_cases import Killed, StreamCases, bad, killed_at
from streamed import KafkaWorld, wait_for

from headrace.errors import RetentionGap
from headrace.sources.kafka import Broker

pytestmark = [pytest.mark.spark, pytest.mark.kafka]


@pytest.fixture
def world(spark, kafka, headrace_settings):
    spark.conf.set("spark.sql.adaptive.enabled", "false")
    settings = headrace_settings(f"kafka.bootstrap={kafka}", "stream.ingest_interval_s=0.1")
    with Broker(settings.kafka, kafka) as broker:
        yield KafkaWorld(spark, settings, kafka, broker=broker)
    spark.conf.unset("spark.sql.adaptive.enabled")


class TestKafka(StreamCases):
    """The contract, on a real broker."""


def test_a_driver_that_begins_after_another_landed_counts_nothing_twice(world):
    world.create()
    late = world.start()
    try:
        with late._busy:  # it knows where the lake ended when it started, and has not begun to land
            world.send(range(8))
            world.send_raw([(0, bad(1))])
            assert world.run().rows == 8
        wait_for(lambda: late.total.batches > 0 and sum(late.landed.values()) == 9)
        assert late.total.rows == 0
        assert late.total.replayed > 0
        world.send(range(8, 12))
        wait_for(lambda: sum(late.landed.values()) == 13)
    finally:
        late.stop()
    assert late.exception() is None
    world.assert_equal()


def test_lost_records_stop_it_and_are_noted_when_given_up(world):
    from kafka import TopicPartition

    life = world.create().incarnation
    world.send(range(20))
    world.broker._admin.delete_records({TopicPartition(world.name, 1): 2})
    assert world.run().rows == 18  # what was gone before it was ever landed is no failure, but noted
    assert world.gaps() == [(life, "1", 0, 2)]
    world.send(range(20, 40))
    world.send_raw([(0, bad(1))])
    world.broker._admin.delete_records({TopicPartition(world.name, 0): 15})
    before = world.versions()
    with pytest.raises(RetentionGap, match=r"partition 0: \[10, 15\); .*--allow-gap"):
        world.run()
    assert world.versions() == before

    with pytest.raises(Killed):
        world.run(allow_gap=True, on_step=killed_at("quarantined"))
    assert world.run().rows == 15
    assert world.gaps() == [(life, "0", 10, 15), (life, "1", 0, 2)]
    world.sent = [
        (p, o, a) for p, o, a in world.sent if (p, o) not in {(1, 0), (1, 1), *((0, n) for n in range(10, 15))}
    ]
    world.assert_equal()


def test_added_partitions_are_read_from_their_beginning(world):
    world.create()
    world.send(range(10))
    ingesting = world.start()
    wait_for(lambda: sum(ingesting.landed.values()) == 10)
    world.broker._admin.create_partitions({world.name: 4})
    wait_for(lambda: len(world.broker.topic(world.name).partitions) == 4)
    world.send(range(10, 30), partitions=4)
    wait_for(lambda: sum(ingesting.landed.values()) == 30)
    ingesting.stop()
    assert ingesting.exception() is None
    world.send(range(30, 40), partitions=4)
    assert world.run().rows == 10
    world.assert_equal()
