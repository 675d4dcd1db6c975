"""A stream of small events, what is sent to it, and what of it is in the lake."""

from __future__ import annotations

import json
import time
import uuid
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from kinesis_log import KinesisLog
from pyspark.sql import SparkSession

from headrace import Count, Definition, Field, Schema, Stream
from headrace.config import Settings
from headrace.schemas import Vector
from headrace.schemas.lake import FOUND, events_path, gaps_path, quarantine_path
from headrace.sources.kafka import Broker
from headrace.sources.lake import is_table, latest_version
from headrace.sources.streams import Topic
from headrace.speed.ingest import Ingesting, IngestProgress, ingest_stream

PATIENCE_S = 240  # on a machine that much else runs on
FIELDS = (
    Field("who", "string"),
    Field("at", "timestamp", required=True),
    Field("amount", "double"),
)


@dataclass
class World(ABC):
    """One stream, its tables, and the log of what was sent: the oracle.

    kind: what its system calls it. lags: the partitions whose lag it tells. nothing: why a record without value is bad.
    """

    kind: ClassVar[str]
    lags: ClassVar[set[int]]
    nothing: ClassVar[str]

    spark: SparkSession
    settings: Settings
    address: str
    name: str = field(default_factory=lambda: f"visits_{uuid.uuid4().hex[:8]}")
    sent: list[tuple[int, int, Any]] = field(default_factory=list)  # partition, position, amount (None: a bad record)

    def definition(self, *fields: Field, event_id: str | None = None, schema: tuple[Field, ...] = FIELDS) -> Definition:
        source = Stream(self.name, Schema((*schema, *fields)))
        return Definition(
            name="visits", entity="who", event_time="at", source=source, event_id=event_id, features={"n": Count()}
        )

    @abstractmethod
    def create(self, partitions: int = 2) -> Topic:
        """The stream, made when there is none."""

    @abstractmethod
    def recreate(self) -> Topic:
        """Delete it and make it anew; what was sent is forgotten."""

    @abstractmethod
    def send_raw(self, records: Iterable[tuple[int, bytes | None]]) -> None:
        """Records to partitions."""

    @abstractmethod
    def head(self) -> Vector:
        """Where the stream ends."""

    def send(
        self, amounts: Iterable[float], partitions: int = 2, at: str = "2024-05-01T12:00:00Z", **more: Any
    ) -> None:
        """Good events, dealt to the partitions in turn."""
        records = [{"who": f"u{n % 5}", "at": at, "amount": n, **more} for n in amounts]
        self.send_raw([(i % partitions, json.dumps(r).encode()) for i, r in enumerate(records)])

    def start(self, definition: Definition | None = None, **options: Any) -> Ingesting:
        return ingest_stream(self.spark, self.settings, definition or self.definition(), self.address, **options)

    def run(self, definition: Definition | None = None, **options: Any) -> IngestProgress:
        """Land all there is; raises what went wrong."""
        ingesting = self.start(definition, until_idle=True, **options)
        try:
            assert ingesting.await_termination(PATIENCE_S)
            failure = ingesting.exception()
        finally:
            ingesting.stop()
        if failure is not None:
            raise failure
        return ingesting.total

    def landed(self) -> Counter[tuple[int, int, float]]:
        """Partition, offset and amount of the events in the lake that came from the topic, in all its lives."""
        path = events_path(self.settings.lake, self.name)
        if not is_table(self.spark, path):
            return Counter()
        rows = self.spark.read.format("delta").load(str(path)).where("_incarnation != ''")
        return Counter((int(r["_partition"]), r["_position"], r["amount"]) for r in rows.collect())

    def quarantined(self) -> Counter[tuple[int, int]]:
        return Counter((int(r["_partition"]), r["_position"]) for r in self._bad())

    def reasons(self) -> dict[tuple[int, int], str]:
        return {(int(r["_partition"]), r["_position"]): r["reason"].partition(FOUND)[0] for r in self._bad()}

    def gaps(self) -> list[tuple[Any, ...]]:
        path = gaps_path(self.settings.lake, self.name)
        if not is_table(self.spark, path):
            return []
        return sorted(tuple(r)[:4] for r in self.spark.read.format("delta").load(str(path)).collect())

    def versions(self) -> tuple[int, ...]:
        """The newest version of each table; equal before and after means that nothing was written."""
        paths = [kind(self.settings.lake, self.name) for kind in (events_path, quarantine_path, gaps_path)]
        return tuple(latest_version(self.spark, path) if is_table(self.spark, path) else -1 for path in paths)

    def assert_equal(self) -> None:
        """Each record that was sent is in the lake once: as the event it is, or in quarantine."""
        good = Counter((p, offset, amount) for p, offset, amount in self.sent if amount is not None)
        bad = Counter((p, offset) for p, offset, amount in self.sent if amount is None)
        assert self.landed() == good
        assert self.quarantined() == bad

    def _bad(self) -> list[Any]:
        path = quarantine_path(self.settings.lake, self.name)
        return self.spark.read.format("delta").load(str(path)).collect() if is_table(self.spark, path) else []


@dataclass
class KafkaWorld(World):
    """A topic."""

    kind, lags, nothing = "topic", {0, 1}, "no value (a tombstone)"

    broker: Broker = field(kw_only=True)

    def create(self, partitions: int = 2) -> Topic:
        return self.broker.create(self.name, partitions)

    def recreate(self) -> Topic:
        self.broker._admin.delete_topics([self.name])
        self.sent.clear()
        return self.create()

    def send_raw(self, records: Iterable[tuple[int, bytes | None]]) -> None:
        producer = self.broker.producer()
        futures = [(p, value, producer.send(self.name, key=b"k", value=value, partition=p)) for p, value in records]
        producer.flush()
        for partition, value, future in futures:
            self.sent.append((partition, future.get(30).offset, _amount(value)))

    def head(self) -> Vector:
        topic = self.broker.topic(self.name)
        return Vector.of(topic.incarnation, {p: end for p, (_, end) in self.broker.held(topic).items()})


@dataclass
class KinesisWorld(World):
    """A stream of Kinesis; ends: how many records were sent to each shard, or where a gap was passed."""

    kind, lags, nothing = "stream", set(), "blank value"

    log: KinesisLog = field(kw_only=True)
    ends: Counter[int] = field(default_factory=Counter)

    def create(self, partitions: int = 2) -> Topic:
        return self.log.create(self.name, partitions)

    def recreate(self) -> Topic:
        self.sent.clear()
        self.ends.clear()
        return self.log.recreate(self.name, 2)

    def send_raw(self, records: Iterable[tuple[int, bytes | None]]) -> None:
        values = [(p, value or b"") for p, value in records]
        self.log.put(self.name, [(p, value, "k") for p, value in values])
        for partition, value in values:
            self.sent.append((partition, self.ends[partition], _amount(value)))
            self.ends[partition] += 1

    def head(self) -> Vector:
        return Vector.of(self.create().incarnation, self.ends)


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def stopped_clock() -> datetime:
    return datetime(2001, 1, 1, tzinfo=UTC)


def _amount(value: bytes | None) -> float | None:
    try:
        record = json.loads(value or b"null")
        return float(record["amount"]) if record["at"].startswith("20") else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
