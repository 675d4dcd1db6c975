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
from headrace.sources.feeds import feed_of
from headrace.sources.payloads import good
from headrace.sources.streams import Following, Head, Reach, Topic, Work, check_retention, check_topic
from headrace.speed.arrivals import decoded_by
from headrace.speed.backlog import backlog
from headrace.speed.checkpoints import fresh_checkpoint
from headrace.speed.contributions import refuse_unstreamable
from headrace.speed.interval import Interim, Interval, count
from headrace.speed.lake_following import LakeFollowing
from headrace.speed.settling import Plan
from headrace.speed.spark_interval import SparkInterval
from headrace.stores import Opening
from headrace.stores.port import Progress, Store

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

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
        address: str,
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
        self._feed = feed_of(settings, plan.definition.source.name, address)
        self._owner = owner
        self._on_batch = on_batch
        self._busy = threading.Lock()
        self._stopping = False
        self._beginning: threading.Thread | None = None
        self._taken = False
        self._following: Following | None = None
        self._timeline = Timeline(settings.lake, plan.definition.name)
        self._heard: deque[tuple[datetime, Vector]] = deque(maxlen=_SAMPLES)
        self._head: Vector | None = None  # where the stream was last heard to end
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
        self._feed.__enter__()
        self._topic = topic = self._feed.topic()
        self._progress = self._store.take_over(definition.name, self.plan.generation, self._owner, self.plan.cut, as_of)
        self._taken = True
        self._note(self._progress)
        # Of a stream whose positions landing gives, everything is counted from the lake.
        held = {} if self._feed.is_counted else self._feed.held(topic, {})
        for interval in backlog(
            self._spark, self._settings, self.plan, self._opening, topic=topic, held=held, counted=self.vector
        ):
            with self._busy:
                if self._stopping:
                    return
                self._count(interval, self._progress.as_of)
        start = {partition: self.vector.get((topic.incarnation, str(partition)), 0) for partition in topic.partitions}
        if not self._feed.is_counted:
            check_retention(held, start, topic)
        life, max_ahead_s = topic.incarnation, self._feed.max_ahead_s
        work = Work(
            decoding=lambda records: good(decoded_by(definition, records, life, max_ahead_s)),
            batch=self._micro_batch,
            title=f"update {definition.name} {self.plan.generation} {self._checkpoint.name[-8:]}",
            checkpoint=self._checkpoint,
            interval_s=self._settings.stream.update_interval_s,
        )
        if self._feed.is_counted:
            begin = {int(partition): n for (life, partition), n in self.vector.items() if life == topic.incarnation}
            lake, schema = self._settings.lake, definition.source.schema
            self._following = LakeFollowing(self._spark, lake, schema, topic=topic, start=begin, work=work)
        else:
            self._following = self._feed.follow(self._spark, topic, Reach(start), work)

    @property
    def follows(self) -> bool:
        """Whether all that the stream no longer holds is counted."""
        return self._following is not None

    @property
    def vector(self) -> Vector:
        """What is counted, for every entity."""
        return self._progress.vector

    @property
    def failure(self) -> Exception | None:
        """What ended the query, if anything did."""
        raised = self._failure
        if raised is None and self._following is not None and not self._following.is_active:
            raised = self._following.exception()
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
        if self._following is not None:
            self._following.stop()
        shutil.rmtree(self._checkpoint, ignore_errors=True)
        self._feed.__exit__()
        self._store.close()

    def hear(self, topic: Topic, head: Head) -> None:
        """Take note of where the stream ends; where all of it is counted, say so.

        Raises StreamRecreated.
        """
        if not self._taken:
            return
        check_topic(topic, self._topic.incarnation)
        self.lag = {p: max(0, n - self.vector.get((topic.incarnation, str(p)), 0)) for p, n in head.ends.items()}
        self._heard.append((head.at, Vector.of(topic.incarnation, head.whole)))
        self._head = Vector.of(topic.incarnation, head.ends)
        if self._busy.acquire(blocking=False):
            try:
                as_of = self._as_of(self.vector)
                if as_of > self._progress.as_of and not self._stopping:
                    self._progress = replace(self._progress, as_of=as_of, head=self._head)
                    self._store.advance(self._progress)
            finally:
                self._busy.release()
        self.as_of = self._progress.as_of

    def _as_of(self, vector: Vector) -> datetime:
        """The arrival time up to which everything is below `vector`: when the stream was last heard to end there."""
        # A copy, since another thread may hear meanwhile.
        heard = [at for at, end in tuple(self._heard) if vector.covers(end)]
        return max(heard, default=self._progress.as_of)

    def _micro_batch(self, events: DataFrame, begin: Mapping[int, int], end: Reach) -> None:
        with self._busy:
            if self._stopping or self._failure is not None:
                return  # the checkpoint is never read again, and the progress item says it was not counted
            try:
                check_topic(self._feed.topic(), self._topic.incarnation)
                start, after = (Vector.of(self._topic.incarnation, n) for n in (begin, end.ends))
                if self.vector.covers(after):
                    return  # a query's first micro-batch runs whether there is anything new or not
                self._count(SparkInterval(self.plan, self._opening, events, start, after), self._as_of(after))
            except HeadraceError as error:
                # Its driver reads it and ends the query; raised here, Spark would print it with its own stack.
                self._failure = error
            except Exception as error:
                self._failure = error
                raise

    def _count(self, interval: Interval, as_of: datetime) -> None:
        began = monotonic()
        progress = replace(self._progress, head=self._head) if self._head is not None else self._progress
        interim = count(interval, self._store, progress, as_of, self._note)
        self._progress = interim.progress
        self._on_batch(Batch(self.plan.generation, interim, monotonic() - began))

    def _note(self, progress: Progress) -> None:
        moment = Moment(datetime.now(UTC), progress.generation, progress.vector, progress.as_of)
        self._timeline.counted(moment, progress.epoch)
