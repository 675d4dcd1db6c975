"""Landing a Kinesis stream: the contract, and what only Kinesis does."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from kinesis_cases import KinesisCases
from kinesis_log import KinesisLog, served
from stream_cases import Killed, bad, killed_at
from streamed import PATIENCE_S, KinesisWorld, wait_for

from headrace.errors import EngineError, RetentionGap, TransientError
from headrace.sources.kinesis_marks import LEAP

pytestmark = [pytest.mark.spark, pytest.mark.kinesis]


@pytest.fixture(scope="module")
def server():
    with served() as made:
        yield made


def world_of(spark, server, headrace_settings, *assignments):
    settings = headrace_settings(f"kinesis.endpoint={server.endpoint}", "stream.ingest_interval_s=0.1", *assignments)
    world = KinesisWorld(spark, settings, server.endpoint, log=KinesisLog(server, settings))
    named = settings.kinesis.model_copy(update={"streams": (world.name,)})
    world.settings = settings.model_copy(update={"kinesis": named})
    return world


@pytest.fixture
def world(spark, server, headrace_settings):
    spark.conf.set("spark.sql.adaptive.enabled", "false")
    yield world_of(spark, server, headrace_settings)
    spark.conf.unset("spark.sql.adaptive.enabled")


class TestKinesis(KinesisCases):
    """The contract, on moto with its resharding mended."""


def test_a_driver_that_begins_after_another_landed_is_started_again(world):
    world.create()
    late = world.start()
    try:
        with late._busy:  # it has counted from an empty lake, and has not begun to land
            world.send(range(8))
            assert world.run().rows == 8
        assert late.await_termination(PATIENCE_S)
        assert isinstance(late.exception(), TransientError)
        assert "another driver landed stream" in str(late.exception())
    finally:
        late.stop()
    world.send(range(8, 12))
    assert world.run().rows == 4
    world.assert_equal()


def test_an_expired_iterator_and_throttling_lose_and_double_nothing(world, server):
    world.create()
    world.send(range(10))
    ingesting = world.start()
    wait_for(lambda: sum(ingesting.landed.values()) == 10)
    server.fail("get_records", "ExpiredIteratorException", 3)
    server.fail("get_records", "ProvisionedThroughputExceededException", 4)
    world.send(range(10, 20))
    wait_for(lambda: sum(ingesting.landed.values()) == 20)
    assert not server.failing["get_records"]
    server.fail("get_shard_iterator", "ProvisionedThroughputExceededException", 2)
    ingesting.stop()
    assert ingesting.exception() is None
    world.send(range(20, 24))
    assert world.run().rows == 4
    world.assert_equal()


def test_records_that_expired_before_they_landed_stop_it_and_their_positions_are_never_given(world, server):
    life = world.create().incarnation
    world.send(range(20))
    assert world.run().rows == 20
    server.forget(world.name, 0, before=9)
    world.send(range(20, 24))
    assert world.run().rows == 4  # the last that landed is there, so none after it has expired
    world.assert_equal()

    world.send(range(24, 44))
    server.forget(world.name, 0, before=3 + 3)  # three of them had landed
    before = world.versions()
    with pytest.raises(RetentionGap, match=rf"partition 0: \[12, {12 + LEAP}\); .*--allow-gap"):
        world.run()
    assert world.versions() == before

    with pytest.raises(Killed):
        world.run(allow_gap=True, on_step=killed_at("decoded"))
    assert world.run().rows == 17
    assert world.gaps() == [(life, "0", 12, 12 + LEAP)]
    kept = [(p, n, a) for p, n, a in world.sent if p == 1 or n < 12]
    kept += [(p, n - 3 + LEAP, a) for p, n, a in world.sent if p == 0 and n >= 15]
    world.sent = kept
    world.assert_equal()
    assert world.run().batches == 0


@pytest.mark.parametrize(("since", "rows"), [("LATEST", 3), ("instant", 5)])
def test_a_stream_that_never_landed_begins_where_it_is_told(spark, server, headrace_settings, since, rows):
    world = world_of(spark, server, headrace_settings)
    world.create()
    world.send(range(4))
    time.sleep(0.05)
    instant = datetime.now(UTC).isoformat()
    world.send(range(4, 6))
    kinesis = world.settings.kinesis.model_copy(update={"since": since if since == "LATEST" else instant})
    world.settings = world.settings.model_copy(update={"kinesis": kinesis})
    time.sleep(0.05)
    ingesting = world.start()
    wait_for(lambda: ingesting._following._reader.whole_at is not None)
    world.send(range(6, 9))
    wait_for(lambda: ingesting.total.rows == rows)
    ingesting.stop()
    world.send_raw([(0, bad(1))])
    assert world.run().quarantined == {"at is not a time": 1}  # and from there it goes on
    assert sorted(amount for _, _, amount in world.landed()) == list(range(9 - rows, 9))


def test_nobody_answers(world):
    world.address = "http://127.0.0.1:9"
    with pytest.raises(EngineError, match=r"Kinesis at http://127\.0\.0\.1:9 does not answer"):
        world.start()
