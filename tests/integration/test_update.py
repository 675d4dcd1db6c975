"""The speed layer of one generation on real Kafka, DynamoDB Local and Spark: every answer is the recomputation."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from counted import Died, Dying, Place, now, placed, settings_in
from pyspark.sql import SparkSession
from tapped import Oracle, events, history_file, send, taps

from headrace.batch.ingest import ingest
from headrace.batch.lease import owner_name
from headrace.cli.standing import show_streams
from headrace.errors import CannotCatchUp, Fenced, RetentionGap, StreamRecreated
from headrace.registry import Generation
from headrace.schemas import Vector
from headrace.speed import backlog
from headrace.speed.metrics import Metrics
from headrace.speed.observed import drivers
from headrace.speed.pulse import Pulse
from headrace.speed.standing import standings
from headrace.speed.update import Batch

pytestmark = [pytest.mark.spark, pytest.mark.kafka, pytest.mark.dynamodb]


@pytest.fixture(scope="module")
def place(spark: SparkSession, kafka: str, dynamodb: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with placed(spark, settings_in(tmp_path_factory.mktemp("update"), kafka, dynamodb), kafka) as made:
        yield made


def test_a_stream_is_counted_once_through_restarts_batches_of_any_size_and_a_second_generation(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    first = place.champion()
    name = place.definition.source.name
    update = place.update(first)
    send(place.broker, name, events(400, seed=2))
    head = place.settle(update)
    vectors = place.check()
    assert all(vector.covers(head) for vector in vectors.values()), "everything counts, for every key"
    assert place.progress(first).as_of > first.manifest.as_of
    assert sum(place.progress(first).head.values()) == 400, "readers are told where the stream ended"
    update.stop()

    # What arrives while no driver runs is counted by the next one, and nothing twice.
    send(place.broker, name, [*events(200, seed=3), b"{broken", b'{"who": "p1", "at": "never", "x": 1}'])
    again = place.update(first)
    assert place.settle(again).covers(head)
    place.check()

    # A clock that is set back: what is counted stays so, and as_of does not go back.
    as_of = place.progress(first).as_of
    send(place.broker, name, events(50, seed=10))
    head = place.settle(again, clock=lambda: now() - timedelta(minutes=10))
    assert place.progress(first).as_of >= as_of
    assert all(vector.covers(head) for vector in place.check().values())
    again.stop()
    assert sum(batch.interim.settled.replayed for batch in place.batches) == 0
    _is_observed(place)
    capsys.readouterr()
    show_streams(place.settings, None, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert [(one["generation"], one["lag"]) for one in shown["generations"]] == [(1, 0)]
    assert [(one["state"], one["counting"][0]["lag"]) for one in shown["drivers"]] == [("ended", {"0": 0, "1": 0})]
    show_streams(place.settings, None, as_json=False)
    assert "freshness   p50" in capsys.readouterr().out


def _is_observed(place: Place) -> None:
    """What was counted is what Prometheus and `headrace status --streams` are told."""
    definition, home = place.definition, place.settings.home
    metrics = Metrics(definition.name, definition.source.name)
    pulse = Pulse(home, definition.name, owner_name(), metrics.registry, now)
    pulse.begin("update", 1.0)
    for batch in place.batches:
        metrics.updated(batch)
    metrics.heard(1, {0: 0, 1: 0}, now())
    pulse.beat(ended=True)

    of = {"definition": definition.name, "generation": "1"}
    written = sum(batch.interim.settled.written for batch in place.batches)
    read = metrics.registry.get_sample_value
    assert read("headrace_update_items_total", of) == written > 0
    assert read("headrace_freshness_seconds_bucket", {**of, "le": "+Inf"}) == written
    assert read("headrace_update_batch_seconds_count", of) == len(place.batches)
    spent = [read("headrace_update_phase_seconds_sum", {**of, "phase": p}) for p in ("settle", "learn", "advance")]
    assert all(seconds is not None and seconds > 0 for seconds in spent)
    assert sum(filter(None, spent)) <= (read("headrace_update_batch_seconds_sum", of) or 0.0)
    (counting,) = drivers(home, definition.name, now())[0].counting
    assert (counting.generation, counting.items, counting.replayed_batches) == (1, written, 0)
    assert counting.freshness_p50_s is not None
    assert 0 < counting.freshness_p50_s <= (counting.freshness_p99_s or 0)

    topic = place.broker.topic(definition.source.name)
    head = Vector.of(topic.incarnation, {p: end for p, (_, end) in place.broker.held(topic).items()})
    (standing,) = standings(place.store, definition.name, lambda _: head, now())
    assert (standing.generation, standing.role, standing.lag) == (1, "champion", 0)
    assert standing.counted == 652
    assert 0 <= standing.age_s < 60


def test_a_driver_that_dies_before_it_says_so_is_replayed_by_the_next_and_counts_once(place: Place) -> None:
    generation = place.champion()
    place.batches.clear()
    dying = Dying(place.opening)
    send(place.broker, place.definition.source.name, events(100, seed=4))
    update = place.update(generation, dying)
    assert isinstance(place.failed(update), Died)
    update.stop()
    place.check()

    send(place.broker, place.definition.source.name, events(100, seed=5))
    again = place.update(generation)
    head = place.settle(again)
    again.stop()
    replayed = sum(batch.interim.settled.replayed + batch.interim.recut for batch in place.batches)
    assert replayed > 0, "without a replay nothing was proved"
    vectors = place.check()
    assert all(vector.covers(head) for vector in vectors.values())


def test_a_second_driver_fences_the_first(place: Place) -> None:
    generation = place.champion()
    first = place.update(generation, owner="first")
    second = place.update(generation, owner="second")
    send(place.broker, place.definition.source.name, events(50, seed=6))
    place.settle(second)
    failure = place.failed(first)
    assert isinstance(failure, Fenced)
    assert "second" in str(failure)
    first.stop()
    second.stop()
    place.check()


def test_a_generation_is_handed_over_while_the_stream_runs(place: Place) -> None:
    old = place.champion()
    base_update = place.update(old, owner="old")
    send(place.broker, place.definition.source.name, events(60, seed=7))
    place.settle(base_update)
    candidate = place.published(base=old)
    number = candidate.manifest.generation
    with pytest.raises(CannotCatchUp, match=rf"generation {number} of .* positions behind after 1 s"):
        place.promote(candidate, wait_s=1)  # no driver counts it yet
    assert place.store.champion(place.definition.name).generation == old.manifest.generation
    assert base_update.failure is None
    running = place.update(candidate, owner="candidate")
    send(place.broker, place.definition.source.name, events(60, seed=8))
    before = place.progress(old)
    place.promote(candidate)
    vectors = place.check()
    assert all(vector.covers(before.vector) for vector in vectors.values()), "nothing that was served is taken back"
    assert place.store.champion(place.definition.name).generation == number
    send(place.broker, place.definition.source.name, events(20, seed=9))
    head = place.settle(running)
    assert "handed over" in str(place.failed(base_update))
    assert all(v.covers(head) for v in place.check().values())
    base_update.stop()
    running.stop()


def stop_within_the_backlog(place: Place, generation: Generation, monkeypatch: pytest.MonkeyPatch) -> Vector:
    """A driver that is told to stop while it counts from the lake ends after the interval it is in."""
    counted, followed = threading.Event(), threading.Event()

    def told(_batch: Batch) -> None:
        counted.set()
        time.sleep(0.5)

    with monkeypatch.context() as patch:
        patch.setattr(backlog, "_STEP", 15)
        update = place.prepared(generation, on_batch=told)
        update.begin(generation.manifest.as_of, followed.set)
        assert counted.wait(60)
        update.stop()
    assert update.failure is None
    assert not update.follows
    assert not followed.is_set()
    place.check()
    return update.vector


def test_what_landing_gave_up_is_passed_over_and_what_the_lake_holds_is_counted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the head of the topic is lost before it landed, then the topic is deleted and made anew."""
    definition = taps(f"taps_{uuid.uuid4().hex[:8]}")
    name = definition.source.name
    file = history_file(place.settings.home / "lost.csv", events(100, seed=41))
    landed = ingest(place.spark, place.settings, definition, file, now=now())
    place.broker.create(name, 1)
    own = replace(
        place, definition=definition, oracle=Oracle(definition, place.broker, file, landed.sha256), batches=[]
    )
    first = own.champion()
    send(own.broker, name, events(50, seed=42))
    own.lose(0, 20)
    with pytest.raises(RetentionGap, match=r"partition 0: \[0, 20\)"):
        own.update(first)
    assert own.land() == 30
    vector = own.count(first)
    assert vector.get((own.broker.topic(name).incarnation, "0")) == 50
    own.check()

    send(own.broker, name, events(40, seed=43))
    assert own.land() == 40
    own.check()  # which reads the events of the life that ends now
    former = own.broker.topic(name).incarnation
    own.recreate()
    send(own.broker, name, events(30, seed=44))
    with pytest.raises(StreamRecreated):
        own.update(first)
    with pytest.raises(StreamRecreated):
        own.land()
    assert own.land(allow_gap=True) == 30
    assert stop_within_the_backlog(own, first, monkeypatch).get((former, "0")) == 50 + 15
    for generation in (first, own.published(base=first)):
        vector = own.count(generation)
        assert vector.get((former, "0")) == 90
        assert vector.get((own.broker.topic(name).incarnation, "0")) == 30
        own.check()
