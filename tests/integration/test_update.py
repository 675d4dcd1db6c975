"""The speed layer of one generation on real Kafka, DynamoDB Local and Spark: every answer is the recomputation."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from kafka import TopicPartition
from pyspark.sql import SparkSession
from tapped import Oracle, events, history_file, send, settings_of, taps

from headrace.batch.ingest import ingest
from headrace.batch.lease import owner_name
from headrace.batch.run import publish_on_base
from headrace.batch.train import train
from headrace.cli.standing import show_streams
from headrace.config import Settings
from headrace.definitions import Definition
from headrace.errors import Fenced, RetentionGap, StreamRecreated
from headrace.registry import Generation, Registry
from headrace.schemas import Vector
from headrace.sources.kafka import Broker
from headrace.speed import backlog
from headrace.speed.handover import Waiting, promote
from headrace.speed.ingest import ingest_stream
from headrace.speed.metrics import Metrics
from headrace.speed.observed import drivers
from headrace.speed.pulse import Pulse
from headrace.speed.standing import standings
from headrace.speed.update import Batch, Update, plan_of
from headrace.stores import Opening
from headrace.stores.port import Store

pytestmark = [pytest.mark.spark, pytest.mark.kafka, pytest.mark.dynamodb]


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Place:
    """One definition with a history, a topic and a table of its own."""

    spark: SparkSession
    settings: Settings
    definition: Definition
    broker: Broker
    store: Store
    opening: Opening
    bootstrap: str
    oracle: Oracle
    batches: list[Batch] = field(default_factory=list)

    def published(self, base: Generation | None = None) -> Generation:
        """Train on the lake as it is, and publish."""
        made = train(self.spark, self.settings, self.definition, now=now(), base=base).generation
        publish_on_base(
            self.spark,
            self.settings,
            made,
            owner=owner_name(),
            endpoint=self.opening.endpoint,
            say=lambda _: None,
            base=base,
        )
        return made

    def promote(self, generation: Generation) -> None:
        promote(self.store, self.definition.name, generation.manifest.generation, now=now(), waiting=Waiting(60))

    def champion(self) -> Generation:
        """The generation that is served; made when there is none."""
        number = self.store.champion(self.definition.name).generation
        if number:
            return Registry(self.settings.registry).load(self.definition.name, number)
        made = self.published()
        self.promote(made)
        return made

    def prepared(self, generation: Generation, opening: Any = None, owner: str = "", on_batch: Any = None) -> Update:
        return Update(
            self.spark,
            self.settings,
            plan_of(self.definition, generation, self.store),
            opening or self.opening,
            bootstrap=self.bootstrap,
            owner=owner or owner_name(),
            on_batch=on_batch or self.batches.append,
        )

    def update(self, generation: Generation, opening: Any = None, owner: str = "") -> Update:
        update = self.prepared(generation, opening, owner)
        try:
            update.start(generation.manifest.as_of)
        except BaseException:
            update.stop()
            raise
        return update

    def count(self, generation: Generation) -> Vector:
        """Start, count all there is, stop."""
        update = self.update(generation)
        try:
            return self.settle(update)
        finally:
            update.stop()

    def land(self, *, allow_gap: bool = False) -> int:
        """Land all there is; the rows landed."""
        ingesting = ingest_stream(
            self.spark, self.settings, self.definition, self.bootstrap, until_idle=True, allow_gap=allow_gap
        )
        assert ingesting.await_termination(60)
        ingesting.stop()
        assert ingesting.exception() is None
        return ingesting.total.rows

    def lose(self, partition: int, before: int) -> None:
        place = TopicPartition(self.definition.source.name, partition)
        self.broker._admin.delete_records({place: before})

    def recreate(self) -> None:
        """Delete the topic and make it anew."""
        name = self.definition.source.name
        former = self.broker.topic(name).incarnation
        self.broker._admin.delete_topics([name])
        deadline = time.monotonic() + 30
        while self.broker.create(name, 1).incarnation == former:
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def settle(self, update: Update, seconds: float = 90) -> Vector:
        """Wait until everything the topic holds is counted."""
        deadline = time.monotonic() + seconds
        while True:
            if update.failure is not None:
                raise update.failure
            heard_at, topic = now(), self.broker.topic(self.definition.source.name)
            update.hear(heard_at, topic, {p: end for p, (_, end) in self.broker.held(topic).items()})
            if not any(update.lag.values()):
                return update.vector
            assert time.monotonic() < deadline, f"not counted in time: {update.lag}"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def made(
    spark: SparkSession, kafka: str, dynamodb: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    from headrace.config import load

    def settings(*assignments: str, endpoint: str) -> Settings:
        home = tmp_path_factory.mktemp("update")
        return load(
            [f"home={home}", f"store.table=t-{uuid.uuid4().hex[:12]}", f"store.endpoint={endpoint}", *assignments],
            environment="local",
        )

    return settings


@pytest.fixture(scope="module")
def place(made: Callable[..., Settings], spark: SparkSession, kafka: str, dynamodb: str) -> Iterator[Place]:
    settings = settings_of(made, kafka, dynamodb)
    definition = taps(f"taps_{uuid.uuid4().hex[:8]}")
    file = history_file(settings.home.parent / "history.csv", events(300, seed=1))
    landed = ingest(spark, settings, definition, file, now=now())
    opening = Opening(settings.store, dynamodb, 20)
    store = opening.open()
    store.prepare()
    with Broker(settings.kafka, kafka) as broker:
        broker.create(definition.source.name, 2)
        oracle = Oracle(definition, broker, file, landed.sha256)
        yield Place(spark, settings, definition, broker, store, opening, kafka, oracle)
    store.close()


def test_a_stream_is_counted_once_through_restarts_batches_of_any_size_and_a_second_generation(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    first = place.champion()
    name = place.definition.source.name
    update = place.update(first)
    send(place.broker, name, events(400, seed=2))
    head = place.settle(update)
    vectors = place.oracle.check(place.store, place.settings.registry)
    assert all(vector.covers(head) for vector in vectors.values()), "everything counts, for every key"
    assert place.store.progress(place.definition.name, 1).as_of > first.manifest.as_of  # type: ignore[union-attr]
    update.stop()

    # What arrives while no driver runs is counted by the next one, and nothing twice.
    send(place.broker, name, [*events(200, seed=3), b"{broken", b'{"who": "p1", "at": "never", "x": 1}'])
    again = place.update(first)
    assert place.settle(again).covers(head)
    place.oracle.check(place.store, place.settings.registry)
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

    (standing,) = standings(place.store, definition.name, place.broker, now())
    assert (standing.generation, standing.role, standing.lag) == (1, "champion", 0)
    assert standing.counted == 602
    assert 0 <= standing.age_s < 60


def test_a_driver_that_dies_before_it_says_so_is_replayed_by_the_next_and_counts_once(place: Place) -> None:
    generation = place.champion()
    place.batches.clear()
    dying = Dying(place.opening)
    send(place.broker, place.definition.source.name, events(100, seed=4))
    update = place.update(generation, dying)
    deadline = time.monotonic() + 60
    while update.failure is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert isinstance(update.failure, Died)
    update.stop()
    place.oracle.check(place.store, place.settings.registry)

    send(place.broker, place.definition.source.name, events(100, seed=5))
    again = place.update(generation)
    head = place.settle(again)
    again.stop()
    replayed = sum(batch.interim.settled.replayed + batch.interim.recut for batch in place.batches)
    assert replayed > 0, "without a replay nothing was proved"
    vectors = place.oracle.check(place.store, place.settings.registry)
    assert all(vector.covers(head) for vector in vectors.values())


def test_a_second_driver_fences_the_first(place: Place) -> None:
    generation = place.champion()
    first = place.update(generation, owner="first")
    second = place.update(generation, owner="second")
    send(place.broker, place.definition.source.name, events(50, seed=6))
    place.settle(second)
    deadline = time.monotonic() + 60
    while first.failure is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert isinstance(first.failure, Fenced)
    assert "second" in str(first.failure)
    first.stop()
    second.stop()
    place.oracle.check(place.store, place.settings.registry)


def test_a_generation_is_handed_over_while_the_stream_runs(place: Place) -> None:
    old = place.champion()
    base_update = place.update(old, owner="old")
    send(place.broker, place.definition.source.name, events(60, seed=7))
    candidate = place.published(base=old)
    running = place.update(candidate, owner="candidate")
    send(place.broker, place.definition.source.name, events(60, seed=8))
    before = place.store.progress(place.definition.name, old.manifest.generation)
    assert before is not None
    place.promote(candidate)
    vectors = place.oracle.check(place.store, place.settings.registry)
    assert all(vector.covers(before.vector) for vector in vectors.values()), "nothing that was served is taken back"
    assert place.store.champion(place.definition.name).generation == candidate.manifest.generation
    send(place.broker, place.definition.source.name, events(20, seed=9))
    head = place.settle(running)
    while base_update.failure is None:
        time.sleep(0.1)
    assert "handed over" in str(base_update.failure)
    assert all(v.covers(head) for v in place.oracle.check(place.store, place.settings.registry).values())
    base_update.stop()
    running.stop()


class Died(Exception):
    """The driver is gone."""


@dataclass(frozen=True)
class Dying:
    """Opens a store whose progress cannot be advanced: the driver dies after its items were written."""

    real: Opening

    def __reduce__(self) -> Any:
        return (Opening, (self.real.settings, self.real.endpoint, self.real.retry_s))  # executors do not die

    def open(self) -> Any:
        store = self.real.open()

        def advance(_progress: object) -> None:
            raise Died

        store.advance = advance  # type: ignore[method-assign]
        return store


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
    place.oracle.check(place.store, place.settings.registry)
    return update.vector


def test_what_landing_gave_up_is_passed_over_and_what_the_lake_holds_is_counted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the head of the topic is lost before it landed, then the topic is deleted and made anew."""
    definition = taps(f"taps_{uuid.uuid4().hex[:8]}")
    name = definition.source.name
    file = history_file(place.settings.home.parent / "lost.csv", events(100, seed=41))
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
    own.oracle.check(own.store, own.settings.registry)

    send(own.broker, name, events(40, seed=43))
    assert own.land() == 40
    own.oracle.check(own.store, own.settings.registry)  # which reads the events of the life that ends now
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
        own.oracle.check(own.store, own.settings.registry)
