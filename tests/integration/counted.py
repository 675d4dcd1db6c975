"""A definition with a history, a topic and a table of its own, and the drivers that count it or die."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kafka import TopicPartition
from kinesis_log import KinesisLog
from pyspark.sql import SparkSession
from tapped import LEARNER, Event, Oracle, events, history_file, taps

from headrace.batch.ingest import ingest
from headrace.batch.lease import owner_name
from headrace.batch.run import publish_on_base
from headrace.batch.train import train
from headrace.config import Settings, load
from headrace.definitions import Definition
from headrace.models.learner import Learner
from headrace.registry import Generation, Registry
from headrace.schemas import Vector
from headrace.sources.kafka import Broker
from headrace.sources.streams import Head
from headrace.speed.handover import Waiting, promote
from headrace.speed.ingest import ingest_stream
from headrace.speed.update import Batch, Update, plan_of
from headrace.stores import Opening
from headrace.stores.port import Progress, SpeedItem, Store


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Place:
    """One definition with a history, a topic and a table of its own."""

    spark: SparkSession
    settings: Settings
    definition: Definition
    broker: Broker | KinesisLog
    store: Store
    opening: Opening
    bootstrap: str
    oracle: Oracle
    batches: list[Batch] = field(default_factory=list)

    def trained(self, base: Generation | None = None) -> Generation:
        """Train on the lake as it is."""
        return train(self.spark, self.settings, self.definition, now=now(), base=base).generation

    def publish(self, generation: Generation, base: Generation | None = None) -> None:
        publish_on_base(
            self.spark,
            self.settings,
            generation,
            owner=owner_name(),
            endpoint=self.opening.endpoint,
            say=lambda _: None,
            base=base,
        )

    def published(self, base: Generation | None = None) -> Generation:
        """Train on the lake as it is, and publish."""
        made = self.trained(base)
        self.publish(made, base)
        return made

    def promote(self, generation: Generation, wait_s: float = 60) -> None:
        promote(self.store, self.definition.name, generation.manifest.generation, now=now(), waiting=Waiting(wait_s))

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
            address=self.bootstrap,
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
        assert ingesting.await_termination(180)
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

    def check(self) -> dict[str, Vector]:
        """Every key of the log is served as the recomputation; the answers' vectors."""
        return self.oracle.check(self.store, self.settings.registry)

    def progress(self, generation: Generation) -> Progress:
        """P of the generation, which a driver has taken over before."""
        progress = self.store.progress(self.definition.name, generation.manifest.generation)
        assert progress is not None
        return progress

    def items(self, generation: int) -> dict[str, SpeedItem]:
        """Every speed item of a generation, by entity."""
        return dict(self.store.scan_speed(self.definition.name, generation))

    def failed(self, update: Update, seconds: float = 90) -> Exception:
        """What ended the query, which is waited for."""
        deadline = time.monotonic() + seconds
        while (failure := update.failure) is None:
            assert time.monotonic() < deadline, "it goes on"
            time.sleep(0.1)
        return failure

    def settle(self, update: Update, seconds: float = 90, clock: Callable[[], datetime] = now) -> Vector:
        """Wait until everything the topic holds is counted; clock: the driver's."""
        deadline = time.monotonic() + seconds
        while True:
            if update.failure is not None:
                raise update.failure
            heard_at, topic = clock(), self.broker.topic(self.definition.source.name)
            ends = {p: end for p, (_, end) in self.broker.held(topic).items()}
            update.hear(topic, Head(ends, heard_at, ends))
            if not any(update.lag.values()):
                return update.vector
            assert time.monotonic() < deadline, f"not counted in time: {update.lag}"
            time.sleep(0.1)


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


@contextmanager
def placed(
    spark: SparkSession,
    settings: Settings,
    bootstrap: str,
    history_rows: int = 300,
    good: Callable[[bytes | None], Event | None] | None = None,
    log: KinesisLog | None = None,
    learner: Learner = LEARNER,
    **spelled: Any,
) -> Iterator[Place]:
    """A place whose history has landed, with an empty topic of two partitions, and nothing served yet.

    log: for a stream of Kinesis, that which the settings name, of two shards.
    """
    name = f"taps_{uuid.uuid4().hex[:8]}" if log is None else settings.kinesis.streams[0]
    definition = taps(name, learner, **spelled)
    file = history_file(settings.home / "history.csv", events(history_rows, seed=1))
    landed = ingest(spark, settings, definition, file, now=now())
    opening = Opening(settings.store, settings.store.endpoint, 20)
    store = opening.open()
    store.prepare()
    with Broker(settings.kafka, bootstrap) if log is None else nullcontext(log) as broker:
        broker.create(definition.source.name, 2)
        oracle = Oracle(definition, broker, file, landed.sha256, good)
        yield Place(spark, settings, definition, broker, store, opening, bootstrap, oracle)
    store.close()


def settings_in(home: Path, kafka: str, dynamodb: str) -> Settings:
    """Settings of a folder, a table of its own, and engines that listen there."""
    return load(
        [
            f"home={home}",
            f"store.table=t-{uuid.uuid4().hex[:12]}",
            f"store.endpoint={dynamodb}",
            f"kafka.bootstrap={kafka}",
            "stream.heartbeat_s=0.2",
        ],
        environment="local",
    )
