"""Keep one generation current from its stream: one streaming query, whose only memory is the store."""

from __future__ import annotations

import logging
import shutil
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING

from headrace.config import Settings
from headrace.definitions import Definition
from headrace.errors import Fenced, HeadraceError, StartAgain
from headrace.registry import Generation
from headrace.registry.manifest import require_same
from headrace.registry.promotion import view
from headrace.registry.timeline import Moment, Timeline
from headrace.schemas import Vector
from headrace.sources.failures import explained
from headrace.sources.kafka import Broker, Topic, check_retention, check_topic, stream_records
from headrace.sources.payloads import good
from headrace.speed.arrivals import decoded_by
from headrace.speed.backlog import backlog
from headrace.speed.checkpoints import end_of, fresh_checkpoint
from headrace.speed.contributions import refuse_unstreamable
from headrace.speed.interval import Interim, Interval, count
from headrace.speed.settling import Plan
from headrace.speed.spark_interval import SparkInterval
from headrace.stores import Opening
from headrace.stores.port import Progress, Store

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

log = logging.getLogger(__name__)
_SAMPLES = 120


@dataclass(frozen=True)
class Batch:
    """What one micro-batch did, for metrics."""

    generation: int
    interim: Interim
    seconds: float


def plan_of(definition: Definition, generation: Generation, store: Store) -> Plan:
    """What a generation's speed layer needs. Raises DefinitionError when the definition is not the generation's."""
    manifest = generation.manifest
    require_same(definition, manifest, f"train and promote a generation of it first: headrace run {definition.name}")
    refuse_unstreamable(definition)
    seen = view(store.ledger(definition.name), manifest.generation)
    return Plan(definition, manifest.generation, seen, Vector.from_json(manifest.cut), generation.theta())


class Update:
    """The query of one generation, from its progress in the store on.

    It keeps no state of its own: its checkpoint is made anew at each start, and begins where the progress item says.
    """

    def __init__(
        self,
        spark: SparkSession,
        settings: Settings,
        plan: Plan,
        opening: Opening,
        *,
        bootstrap: str,
        owner: str,
        on_batch: Callable[[Batch], None],
    ) -> None:
        self.plan = plan
        self.lag: Mapping[int, int] = {}
        self.as_of: datetime | None = None  # the arrival time up to which everything was counted when it last heard
        self._spark = spark
        self._settings = settings
        self._opening = opening
        self._store = opening.open()
        # Its own, since the query's thread asks it too.
        self._broker = Broker(settings.kafka, bootstrap)
        self._bootstrap = bootstrap
        self._owner = owner
        self._on_batch = on_batch
        self._busy = threading.Lock()
        self._stopping = False
        self._beginning: threading.Thread | None = None
        self._taken = False
        self._query: StreamingQuery | None = None
        self._timeline = Timeline(settings.lake, plan.definition.name)
        self._heard: deque[tuple[datetime, Vector]] = deque(maxlen=_SAMPLES)
        self._failure: Exception | None = None
        self._checkpoint = fresh_checkpoint(settings.home / "checkpoints" / "update" / plan.definition.name)

    def begin(self, as_of: datetime, on_follow: Callable[[], None]) -> None:
        """`start` in a thread of its own, as a backlog may take long; what it raises is the `failure`.

        on_follow: called once the stream is being followed.
        """
        from pyspark import InheritableThread

        def begin() -> None:
            try:
                self.start(as_of)
            except Exception as error:  # noqa: BLE001 -- for its driver to sort
                self._failure = error
            else:
                if self.follows:
                    on_follow()

        self._beginning = InheritableThread(target=begin, daemon=True)
        self._beginning.start()

    def start(self, as_of: datetime) -> None:
        """Take the generation over and start counting; what the stream no longer holds is counted from the lake first.

        as_of: that of the generation, for its first driver. Raises StreamRecreated, RetentionGap.
        """
        definition = self.plan.definition
        self._broker.__enter__()
        self._topic = topic = self._broker.topic(definition.source.name)
        self._progress = self._store.take_over(definition.name, self.plan.generation, self._owner, self.plan.cut, as_of)
        self._taken = True
        self._note(self._progress)
        held = self._broker.held(topic)
        for interval in backlog(
            self._spark, self._settings, self.plan, self._opening, topic=topic, held=held, counted=self.vector
        ):
            with self._busy:
                if self._stopping:
                    return
                self._count(interval, self._progress.as_of)
        start = {partition: self.vector.get((topic.incarnation, str(partition)), 0) for partition in topic.partitions}
        check_retention(held, start, topic)
        self._begun = self.vector
        kafka = self._settings.kafka
        records = stream_records(self._spark, kafka, self._bootstrap, topic, start)
        # Decoded by the query itself, which builds that plan once; a micro-batch would build it each time.
        events = good(decoded_by(definition, records, topic.incarnation, kafka.max_ahead_s))
        interval_ms = round(self._settings.stream.update_interval_s * 1000)
        self._query = (
            events.writeStream.foreachBatch(self._micro_batch)
            .queryName(f"update {definition.name} {self.plan.generation} {self._checkpoint.name[-8:]}")
            .option("checkpointLocation", str(self._checkpoint))
            .trigger(processingTime=f"{interval_ms} milliseconds")
            .start()
        )

    @property
    def follows(self) -> bool:
        """Whether all that the stream no longer holds is counted."""
        return self._query is not None

    @property
    def vector(self) -> Vector:
        """What is counted, for every entity."""
        return self._progress.vector

    @property
    def failure(self) -> Exception | None:
        """What ended the query, if anything did."""
        raised = self._failure
        if raised is None and self._query is not None and not self._query.isActive:
            raised = self._query.exception()
        named = explained(raised) if raised is not None else None
        # Of other failures the next start finds out what they were.
        return named if isinstance(named, StartAgain) else raised

    def fail(self, error: Exception) -> None:
        """Have the query examined for what happened beside it."""
        if isinstance(error, Fenced):
            self._failure = error

    def stop(self) -> None:
        """End after the micro-batch that is being counted."""
        self._stopping = True
        # Not held while the query stops, which waits for a micro-batch that has just begun; that one does nothing.
        with self._busy:
            pass
        if self._beginning is not None:
            self._beginning.join()
        if self._query is not None:
            self._query.stop()
        shutil.rmtree(self._checkpoint, ignore_errors=True)
        self._broker.__exit__()
        self._store.close()

    def hear(self, heard_at: datetime, topic: Topic, head: Mapping[int, int]) -> None:
        """Take note of where the stream ended just after `heard_at`; where all of it is counted, say so.

        Raises StreamRecreated.
        """
        if not self._taken:
            return
        check_topic(topic, self._topic.incarnation)
        self.lag = {p: max(0, n - self.vector.get((topic.incarnation, str(p)), 0)) for p, n in head.items()}
        end = Vector.of(topic.incarnation, head)
        self._heard.append((heard_at, end))
        if self._busy.acquire(blocking=False):
            try:
                as_of = self._as_of(self.vector)
                if as_of > self._progress.as_of and not self._stopping:
                    self._progress = replace(self._progress, as_of=as_of, head=end)
                    self._store.advance(self._progress)
            finally:
                self._busy.release()
        self.as_of = self._progress.as_of

    def _as_of(self, vector: Vector) -> datetime:
        """The arrival time up to which everything is below `vector`: when the stream was last heard to end there."""
        # A copy, since another thread may hear meanwhile.
        heard = [at for at, end in tuple(self._heard) if vector.covers(end)]
        return max(heard, default=self._progress.as_of)

    def _micro_batch(self, events: DataFrame, number: int) -> None:
        with self._busy:
            if self._stopping or self._failure is not None:
                return  # the checkpoint is never read again, and the progress item says it was not counted
            try:
                check_topic(self._broker.topic(self._topic.name), self._topic.incarnation)
                start = self._begun if number == 0 else self._end_of(number - 1)
                end = self._end_of(number)
                if self.vector.covers(end):
                    return  # a query's first micro-batch runs whether there is anything new or not
                self._count(SparkInterval(self.plan, self._opening, events, start, end), self._as_of(end))
            except HeadraceError as error:
                # Its driver reads it and ends the query; raised here, Spark would print it with its own stack.
                self._failure = error
            except Exception as error:
                self._failure = error
                raise

    def _count(self, interval: Interval, as_of: datetime) -> None:
        began = monotonic()
        heard = tuple(self._heard)
        progress = replace(self._progress, head=heard[-1][1]) if heard else self._progress
        interim = count(interval, self._store, progress, as_of, self._note)
        self._progress = interim.progress
        self._on_batch(Batch(self.plan.generation, interim, monotonic() - began))

    def _note(self, progress: Progress) -> None:
        moment = Moment(datetime.now(UTC), progress.generation, progress.vector, progress.as_of)
        self._timeline.counted(moment, progress.epoch)

    def _end_of(self, number: int) -> Vector:
        return Vector.of(self._topic.incarnation, end_of(self._checkpoint, self._topic.name, number))
