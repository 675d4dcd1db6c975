"""What landing a stream promises, whichever system carries it: each record once, whatever stops, crashes or races."""

from __future__ import annotations

import json
import shutil
import threading
import time
from datetime import UTC, datetime
from functools import partial

import pytest
from streamed import FIELDS, PATIENCE_S, World, stopped_clock, wait_for

from headrace import Field
from headrace.batch.ingest import ingest
from headrace.errors import (
    IngestFenced,
    InputError,
    OverlapError,
    SchemaError,
    StartAgain,
    StreamRecreated,
    TransientError,
)
from headrace.schemas.lake import events_path
from headrace.speed.restarting import KeptLanding


class Killed(Exception):
    """What a step is stopped with."""


def killed_at(step):
    def on_step(reached):
        if reached == step:
            raise Killed(step)

    return on_step


def bad(amount):
    return json.dumps({"who": "u1", "at": "never", "amount": amount}).encode()


def _landing(world, on_batch):
    return world.start(on_batch=on_batch)


class StreamCases:
    """The cases; a subclass gives the fixture `world`."""

    def test_stop_and_start_and_a_lost_checkpoint_land_each_record_once(self, world: World):
        with pytest.raises(InputError, match=f"there is no .*{world.kind}"):
            world.start()
        world.create()
        assert world.run().landed == {}
        assert world.versions() == (-1, -1, -1)  # an empty stream: nothing is written

        seen = []
        ingesting = world.start(on_batch=seen.append)
        world.send(range(20))
        world.send_raw([(0, bad(1)), (1, bad(2))])
        wait_for(lambda: sum(ingesting.landed.values()) == 22)
        world.send(range(20, 30))
        ingesting.stop()
        assert ingesting.exception() is None
        assert ingesting.total == sum(seen[1:], seen[0])
        assert ingesting.total.rows >= 20
        assert (ingesting.total.replayed, dict(ingesting.total.quarantined)) == (0, {"at is not a time": 2})
        assert set(ingesting.total.lag) == world.lags

        shutil.rmtree(world.settings.home / "checkpoints")
        assert world.run().rows == 30 - ingesting.total.rows
        world.assert_equal()
        before = world.versions()
        done = world.run()
        assert (done.batches, done.landed) == (
            0,
            {(world.create().incarnation, "0"): 16, (world.create().incarnation, "1"): 16},
        )
        assert world.versions() == before
        assert list((world.settings.home / "checkpoints" / "ingest" / world.name).iterdir()) == []

        # The lake is the memory: one that is put back to an older state is filled again from there.
        path = events_path(world.settings.lake, world.name)
        world.spark.sql(f"RESTORE TABLE delta.`{path}` TO VERSION AS OF 1")
        lost = len(world.sent) - 2 - world.landed().total()
        assert lost > 0
        again = world.run()
        assert again.rows == lost
        world.assert_equal()

    @pytest.mark.parametrize("rounds", [1, pytest.param(3, marks=pytest.mark.slow)])
    def test_a_crash_at_any_step_lands_each_record_once(self, world: World, rounds):
        world.create()
        for round_, step in enumerate(["decoded", "quarantined", "landed"] * rounds):
            world.send(range(10 * round_, 10 * round_ + 10))
            world.send_raw([(0, bad(round_))])
            with pytest.raises(Killed, match=step):
                world.run(on_step=killed_at(step), clock=stopped_clock if round_ == 1 else lambda: datetime.now(UTC))
            landed = sum(world.landed().values())
            assert landed == 10 * round_ + (10 if step == "landed" else 0)
            assert world.quarantined().total() == round_ + (step != "decoded")
            before = world.versions()
            done = world.run(clock=stopped_clock)  # a driver whose clock was set back
            if step == "landed":
                assert (done.batches, world.versions()) == (0, before)
            else:
                assert (done.rows, done.quarantined) == (10, {"at is not a time": 1})  # read again
            world.assert_equal()

    def test_a_batch_without_events_lands_once_too(self, world: World):
        world.create()
        world.send_raw([(0, bad(1)), (1, None), (1, b"\xff\x00")])
        assert world.run().rows == 0
        assert world.reasons() == {(0, 0): "at is not a time", (1, 0): world.nothing, (1, 1): "not UTF-8"}
        before = world.versions()
        assert world.run().batches == 0
        assert world.versions() == before
        world.assert_equal()

    def test_of_two_drivers_exactly_one_lands(self, world: World):
        world.create()
        fenced = []
        drivers = [KeptLanding(partial(_landing, world), on_batch=lambda _: None, say=lambda _: None) for _ in range(2)]
        try:
            for driver in drivers:
                driver.start()
            for n in range(60):
                world.send(range(4 * n, 4 * n + 4))
                world.send_raw([(n % 2, bad(n))])
                for driver in drivers:
                    try:
                        driver.tend()
                    except IngestFenced as error:
                        fenced.append(driver)
                        said = str(error)
                if fenced:
                    break
                time.sleep(0.5)
            (loser,) = fenced
            assert "another driver lands stream" in said
            (winner,) = [driver for driver in drivers if driver is not loser]

            def landed():
                winner.tend()
                return winner.covers(world.head())

            wait_for(landed)
        finally:
            for driver in drivers:
                driver.stop()
        world.assert_equal()

    def test_a_driver_that_slept_while_another_landed_writes_nothing_more(self, world: World):
        world.create()
        world.send(range(8))
        world.send_raw([(0, bad(1)), (1, bad(2))])
        asleep, wake = threading.Event(), threading.Event()

        def sleep_after_quarantining(step):
            if step == "quarantined":
                asleep.set()
                assert wake.wait(PATIENCE_S)

        zombie = world.start(on_step=sleep_after_quarantining)
        try:
            assert asleep.wait(PATIENCE_S)
            assert (world.landed().total(), world.quarantined().total()) == (0, 2)
            assert world.run().rows == 8
            world.send_raw([(0, bad(3))])
            world.run()
            before = world.versions()
            wake.set()
            assert zombie.await_termination(PATIENCE_S)
        finally:
            wake.set()
            zombie.stop()
        assert isinstance(zombie.exception(), IngestFenced)
        assert world.versions() == before
        world.assert_equal()

    def test_poison_is_quarantined_with_reason_and_position_and_a_great_share_is_an_alarm(self, world: World, caplog):
        world.create()
        world.send(range(1_000))
        assert world.run().alarms == 0
        poison = {
            b"{": "not one JSON object",
            b"[1]": "not one JSON object",
            b"": "blank value",
            b'{"who": "u1", "amount": 1}': "at is null but required",
            b'{"who": "u1", "at": "2024-05-01T12:00:00Z", "amount": "many"}': "amount is not a number",
            b'{"who": "u1", "at": "2999-01-01T00:00:00Z"}': "at is more than 600 s after the record arrived",
            b"\x00": "NUL byte",
            b"x" * 900_000: "not one JSON object",
        }
        world.send(range(1_000, 2_000), partitions=1)
        good, sent = list(world.sent), len(world.sent)
        world.send_raw([(1, value) for value in poison for _ in range(10)])
        reasons = {(p, offset): kind for (p, offset, _), kind in zip(
            world.sent[sent:], [kind for kind in poison.values() for _ in range(10)], strict=True
        )}  # fmt: skip
        done = world.run()
        assert (done.rows, done.alarms, sum(done.quarantined.values())) == (1_000, 1, 10 * len(poison))
        assert "80 of 1080 records of a micro-batch are bad, more than 5.0%" in caplog.text
        assert done.quarantined["not one JSON object"] == 30
        assert world.reasons() == reasons
        assert world.landed() == dict.fromkeys(good, 1)

    def test_a_recreated_stream_stops_before_any_write_and_lands_beside_the_former_when_told_to(self, world: World):
        former = world.create().incarnation
        world.send(range(6))
        world.run()
        running = world.start()
        first = list(world.sent)
        world.recreate()
        world.send(range(100, 140))  # more than the former life had, so that no position looks lost
        assert running.await_termination(PATIENCE_S)
        assert isinstance(running.exception(), StreamRecreated)
        running.stop()
        before = world.versions()
        with pytest.raises(StreamRecreated, match=rf"expected {former}; .*--allow-gap"):
            world.start()
        assert world.versions() == before

        assert world.run(allow_gap=True).rows == 40
        assert world.gaps() == [(former, "0", 3, None), (former, "1", 3, None)]
        assert world.run().batches == 0
        world.sent += first
        world.assert_equal()

    def test_landing_is_started_again_after_what_passes_and_ended_by_what_does_not(self, world: World):
        """Also when the failure comes with the first micro-batch after a start."""
        failures = [TransientError("passing") for _ in range(2)]
        said = []

        def on_batch(_):
            if failures:
                raise failures.pop()

        world.create()
        kept = KeptLanding(lambda each: world.start(on_batch=each), on_batch=on_batch, say=said.append)
        kept.start()

        def landed():
            kept.tend()
            return kept.covers(world.head())

        try:
            world.send(range(10))
            wait_for(landed)
            world.send(range(10, 15))
            wait_for(landed)
            world.send(range(15, 20))
            wait_for(landed)
            assert not failures
            assert said.count("landing is started again: passing") == 2
            world.assert_equal()
            failures.append(StartAgain("no room"))
            world.send([20])
            with pytest.raises(StartAgain, match="no room"):
                wait_for(kept.tend)  # what is landed says nothing yet of how its micro-batch ended
        finally:
            kept.stop()
        world.assert_equal()

    def test_a_new_nullable_column_flows_and_a_changed_one_stops_it(self, world: World):
        world.create()
        world.send(range(4))
        world.run()
        world.send(range(4, 6), note="new")
        assert world.run(world.definition(Field("note", "string"))).rows == 2
        path = str(events_path(world.settings.lake, world.name))
        rows = world.spark.read.format("delta").load(path).select("amount", "note").collect()
        assert sorted((r[0], r[1]) for r in rows) == [(n, "new" if n > 3 else None) for n in range(6)]

        before = world.versions()
        world.send([6])
        retyped = world.definition(Field("note", "string"), schema=(*FIELDS[:2], Field("amount", "bigint")))
        with pytest.raises(SchemaError, match=r"column 'amount' .* changed its type"):
            world.start(retyped)
        with pytest.raises(SchemaError, match=r"column 'note' .* no longer declared"):
            world.start()
        assert world.versions() == before
        assert world.run(world.definition(Field("note", "string"))).rows == 1

    def test_a_stream_that_may_repeat_its_history_is_refused(self, world: World, tmp_path):
        file = tmp_path / "history.csv"
        file.write_text("who,at,amount\n" + "".join(f"u1,2024-05-01 12:0{n}:00,{n}\n" for n in range(5)))
        ingest(world.spark, world.settings, world.definition(), file, now=datetime(2024, 5, 2, tzinfo=UTC))
        world.create()
        world.send_raw([(0, bad(1))])
        world.send([10], at="2024-05-01T12:04:00Z")
        before = world.versions()
        with pytest.raises(OverlapError) as refused:
            world.run()
        span = "from 2024-05-01 12:04:00Z to 2024-05-01 12:04:00Z"
        assert f"first events of the {world.kind} {span}" in str(refused.value)
        assert "history, which reaches to 2024-05-01 12:04:00Z" in str(refused.value)
        assert world.versions() == before

        assert world.run(disjoint=True).rows == 1
        world.send([11], at="2024-05-01T11:00:00Z")  # a late event of the stream
        assert world.run().rows == 1
        world.assert_equal()
