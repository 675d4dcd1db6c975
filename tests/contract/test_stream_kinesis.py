"""Landing a Kinesis stream: the contract, and what only Kinesis does."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest
from kinesis_log import KinesisLog, served
from stream_cases import Killed, StreamCases, bad, killed_at
from streamed import PATIENCE_S, KinesisWorld, wait_for

from headrace.errors import EngineError, RetentionGap, TransientError
from headrace.schemas.lake import events_path
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


class TestKinesis(StreamCases):
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


def test_split_and_merge_under_load_lose_and_double_nothing_and_parents_land_wholly_before_children(world):
    """Fault 24."""
    world.create()
    landed_by = []
    ingesting = world.start(on_batch=lambda progress: landed_by.append(dict(progress.landed)))
    stop, sent = threading.Event(), []

    def load():
        while not stop.is_set():
            n = len(sent)
            record = {"who": f"u{n % 5}", "at": "2024-05-01T12:00:00Z", "amount": n}
            sent.append((n, f"key{n % 50}", *world.log.put_json(world.name, record, f"key{n % 50}")))

    loading = threading.Thread(target=load)
    loading.start()
    try:
        for change in (
            lambda: world.log.split(world.name, 0),
            lambda: world.log.split(world.name, 1),
            lambda: world.log.merge(world.name, 3, 4),
            lambda: world.log.merge(world.name, 5, 6),
        ):
            before = len(sent)
            wait_for(lambda before=before: len(sent) > before + 30)
            change()
        before = len(sent)
        wait_for(lambda: len(sent) > before + 30)
    finally:
        stop.set()
        loading.join()
    total = len(sent)
    wait_for(lambda: sum(ingesting.landed.values()) == total)
    ingesting.stop()
    assert ingesting.exception() is None

    rows = world.spark.read.format("delta").load(str(events_path(world.settings.lake, world.name)))
    found = rows.select("amount", "_partition", "_position", "_sequence").collect()
    place = {amount: (int(shard), position, int(number)) for amount, shard, position, number in found}
    assert len(found) == len(place) == total
    assert {amount: (shard, number) for amount, (shard, _, number) in place.items()} == {
        n: (shard, int(number)) for n, _, shard, number in sent
    }
    assert {shard for shard, _, _ in place.values()} == {0, 1, 2, 3, 4, 5, 6, 7}
    for shard in range(8):
        own = sorted((position, number) for s, position, number in place.values() if s == shard)
        assert [position for position, _ in own] == list(range(len(own)))
        assert own == sorted(own, key=lambda one: one[1])
    life = world.create().incarnation
    ends = {shard: sum(s == shard for s, _, _ in place.values()) for shard in range(8)}
    for parent, child in ((0, 2), (0, 3), (1, 4), (1, 5), (3, 6), (4, 6), (5, 7), (6, 7)):
        for landed in landed_by:
            if landed.get((life, str(child)), 0):
                assert landed[life, str(parent)] == ends[parent], (parent, child)


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
