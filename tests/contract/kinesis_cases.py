"""What landing a stream of Kinesis promises beside the contract of every stream."""

from __future__ import annotations

import threading

from stream_cases import StreamCases
from streamed import KinesisWorld, wait_for

from headrace.schemas.lake import events_path


class KinesisCases(StreamCases):
    """The cases; a subclass gives the fixture `world`."""

    def test_split_and_merge_under_load_land_each_record_once_and_parents_before_children(self, world: KinesisWorld):
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
                lambda: world.log.merge(world.name, 6, 5),
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
