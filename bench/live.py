"""A stream of users' events on real Kafka and DynamoDB Local, and one generation that the speed layer keeps current."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bench.peers import ROOT
from headrace import config
from headrace.algebra import Count, Max, Sum
from headrace.batch.ingest import ingest
from headrace.batch.lease import owner_name
from headrace.batch.promote import promote
from headrace.batch.run import publish_on_base
from headrace.batch.train import train
from headrace.cli.stream import SPARK as STREAMING
from headrace.config import Settings
from headrace.definitions import Definition, Field, Schema, Stream
from headrace.local.engines import running
from headrace.registry import Generation
from headrace.session import open_session
from headrace.sources.kafka import Broker
from headrace.speed.update import Batch, Update, plan_of
from headrace.stores import Opening

PARTITIONS = 2
USERS = 10_000
HOT = "hot"
TOPIC = "clicks"
CLICKS = Definition(
    name="clicks",
    entity="who",
    event_time="at",
    source=Stream(
        TOPIC, Schema([Field("who", "string"), Field("at", "timestamp", required=True), Field("x", "double")])
    ),
    features={"n": Count(), "spent": Sum("x", step="0.001"), "most": Max("x")},
)


@dataclass
class Place:
    """What a bench of the speed layer runs on."""

    spark: object
    settings: Settings
    bootstrap: str
    broker: Broker
    generation: Generation

    def served(self) -> Place:
        """The same with a table of its own, in which the generation is champion and nothing of the stream counted."""
        store_settings = self.settings.store.model_copy(update={"table": f"t-{uuid.uuid4().hex[:12]}"})
        made = replace(self, settings=self.settings.model_copy(update={"store": store_settings}))
        store = made.opening.open()
        store.prepare()
        self.publish(made)
        promote(store, CLICKS.name, self.generation.manifest.generation, now=now())
        store.close()
        return made

    def publish(self, place: Place) -> None:
        publish_on_base(
            self.spark,
            place.settings,
            self.generation,
            owner=owner_name(),
            endpoint=place.settings.store.endpoint,
            say=lambda _: None,
            base=None,
        )

    @property
    def opening(self) -> Opening:
        return Opening(self.settings.store, self.settings.store.endpoint, 60)

    def update(self, on_batch, items: str | None = None) -> Update:
        """The speed layer's query, counting; items: the endpoint of the store that executors write to, if another."""
        store = self.opening.open()
        plan = plan_of(CLICKS, self.generation, store)
        store.close()
        made = Update(
            self.spark,
            self.settings,
            plan,
            self.opening,
            address=self.bootstrap,
            owner=owner_name(),
            on_batch=on_batch,
        )
        if items is not None:
            made._opening = replace(self.opening, endpoint=items)
        made.start(self.generation.manifest.as_of)
        return made

    def head(self) -> dict[int, int]:
        return {p: end for p, (_, end) in self.broker.held(self.broker.topic(TOPIC)).items()}

    def counted(self, update: Update, head: Mapping[int, int], seconds: float = 600) -> None:
        """Wait until the query has counted everything below `head`."""
        incarnation = self.broker.topic(TOPIC).incarnation
        deadline = time.monotonic() + seconds
        while any(update.vector.get((incarnation, str(p)), 0) < end for p, end in head.items()):
            if update.failure is not None:
                raise update.failure
            if time.monotonic() > deadline:
                raise TimeoutError(f"not counted in {seconds:g} s")
            time.sleep(0.01)


def now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def place(work: Path) -> Iterator[Place]:
    """Engines, a session, a small history that was trained on, and an empty topic."""
    with ExitStack() as stack:
        base = config.load([f"home={work}"], "local")
        kafka, dynamodb = (
            stack.enter_context(running(name, work / name, base)).endpoint for name in ("kafka", "dynamodb")
        )
        settings = config.load(
            [f"home={work}", f"kafka.bootstrap={kafka}", f"store.endpoint={dynamodb}", "spark.driver_memory=3g"],
            "local",
        )
        spark = open_session(settings, "bench", ("delta", "kafka-source"), STREAMING)
        stack.callback(spark.stop)
        history = work / "history.csv"
        rows = (f"u{n},2025-01-{1 + n % 28:02d} 10:00:00,{n % 7}.5\n" for n in range(0, USERS, 2))
        history.write_text("who,at,x\n" + "".join(rows), "utf-8")
        ingest(spark, settings, CLICKS, history, now=now())
        generation = train(spark, settings, CLICKS, now=now()).generation
        broker = stack.enter_context(Broker(settings.kafka, kafka))
        broker.create(TOPIC, PARTITIONS)
        yield Place(spark, settings, kafka, broker, generation)


def events_of(spark, count: int, seed: int):
    """JSON records of random users, as Spark writes them to Kafka."""
    who = f"concat('u', cast(pmod(xxhash64(id, {seed}L), {USERS}) AS int))"
    at = "date_format(timestamp_seconds(1767225600 + id % 2000000), 'yyyy-MM-dd HH:mm:ss')"
    row = f"named_struct('who', {who}, 'at', {at}, 'x', round(rand({seed}) * 20, 3))"
    return spark.range(count).selectExpr(f"{who} AS key", f"to_json({row}) AS value")


def load(bootstrap: str, rate: int, seconds: float, hot: float = 0.0) -> subprocess.Popen[bytes]:
    """Events at a rate, from a process of their own; hot: the share of them that is of the user HOT."""
    given = [bootstrap, str(rate), str(seconds), str(hot)]
    return subprocess.Popen([sys.executable, "-m", "bench.live", *given], cwd=ROOT)


def _produce(bootstrap: str, rate: int, seconds: float, hot: float) -> None:
    import json
    import random

    with Broker(config.load([], "local").kafka, bootstrap) as broker:
        producer = broker.producer()
        chance = random.Random(rate)
        began = time.monotonic()
        for number in range(int(rate * seconds)):
            who = HOT if chance.random() < hot else f"u{chance.randrange(USERS)}"
            row = {"who": who, "at": "2026-02-01 00:00:00", "x": round(chance.uniform(0, 20), 3)}
            producer.send(TOPIC, value=json.dumps(row).encode(), key=who.encode())
            ahead = began + number / rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
        producer.flush()


__all__ = ["Batch", "Place", "events_of", "load", "place"]

if __name__ == "__main__":
    _produce(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
