"""Land a stream in the lake, exactly once: events in events/<stream>, bad records in quarantine/<stream>."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headrace.config import Settings
from headrace.definitions import Definition
from headrace.errors import HeadraceError, RetentionGap, StreamRecreated
from headrace.schemas import Vector
from headrace.schemas.lake import events_path
from headrace.sinks.lake import refuse_changed_schema
from headrace.sources.failures import explained
from headrace.sources.feeds import feed_of
from headrace.sources.lake import landed_logs
from headrace.sources.streams import Reach, Work, check_retention, check_topic
from headrace.speed.arrivals import decoded_by
from headrace.speed.checkpoints import fresh_checkpoint
from headrace.speed.gaps import beginning, note_gaps
from headrace.speed.lander import IngestProgress, Lander, Start
from headrace.speed.landing import Landing, lake_end

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["IngestProgress", "Ingesting", "ingest_stream"]

log = logging.getLogger(__name__)


def ingest_stream(
    spark: SparkSession,
    settings: Settings,
    definition: Definition,
    address: str,
    *,
    until_idle: bool = False,
    allow_gap: bool = False,
    disjoint: bool = False,
    on_batch: Callable[[IngestProgress], None] | None = None,
    on_step: Callable[[str], None] | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Ingesting:
    """Start landing a definition's stream, from where the lake ends.

    address: of its system. until_idle: end when all that the stream held at the start has landed. allow_gap: go on
    where events were lost, and note the missing ranges in gaps/<stream>. disjoint: the caller vouches that no event is
    in history and stream. on_batch: told of each micro-batch. on_step: told of each step of one: `decoded`,
    `quarantined`, `landed`.

    Raises, before anything is written, SchemaError for columns that do not fit, StreamRecreated, RetentionGap, and
    what the stream's `Feed` raises. Later failures are told by the result's `exception`: these again, OverlapError for
    events that may be in the history too, IngestFenced when another driver lands the stream.
    """
    stream = definition.source
    refuse_changed_schema(spark, events_path(settings.lake, stream.name), stream.schema)
    feed = feed_of(settings, stream.name, address)
    with feed:
        incarnation = feed.topic().incarnation
        end = lake_end(spark, settings.lake, stream.name, incarnation)
        history_ends = None
        if not (disjoint or definition.event_id or end.has_events):
            logs = landed_logs(spark, settings.lake, stream.name)
            history_ends = max((log.latest for log in logs), default=None)
        # Looked up last, since a query that starts must know every partition.
        topic = feed.topic()
        check_topic(topic, incarnation)
        offsets, gaps = beginning(topic, feed.held(topic, end.place), end, allow_gap=allow_gap)
    if gaps:
        log.warning("stream %s lacks what its %s no longer holds: %s", stream.name, topic.kind, gaps)
        note_gaps(spark, settings.lake, stream.name, gaps, clock())
    ingesting = Ingesting(spark, settings, definition, address, Start(topic, end, offsets, history_ends))
    ingesting.start(
        until_idle=until_idle,
        on_batch=on_batch or (lambda _: None),
        on_step=on_step or (lambda _: None),
        clock=clock,
    )
    return ingesting


class Ingesting:
    """A stream that is being landed. total: what it has done so far."""

    def __init__(
        self, spark: SparkSession, settings: Settings, definition: Definition, address: str, start: Start
    ) -> None:
        self.total = IngestProgress()
        self._spark = spark
        self._settings = settings
        self._definition = definition
        self._start = start
        self._topic = start.topic
        self._busy = threading.Lock()
        self._stopping = False
        self._failure: Exception | None = None
        self._named: Exception | None = None
        self._feed = feed_of(settings, start.topic.name, address)

    def start(
        self,
        *,
        until_idle: bool,
        on_batch: Callable[[IngestProgress], None],
        on_step: Callable[[str], None],
        clock: Callable[[], datetime],
    ) -> None:
        settings, name = self._settings, self._topic.name
        self._on_batch = on_batch
        self._checkpoint = fresh_checkpoint(settings.home / "checkpoints" / "ingest" / name)
        landing = Landing(self._spark, settings.lake, name, self._topic.incarnation, owner=self._checkpoint.name)
        self._lander = Lander(settings, self._feed, landing, self._start, on_step=on_step, clock=clock)
        self.total = IngestProgress(landed=self._lander.landed)
        definition, life, max_ahead_s = self._definition, self._topic.incarnation, self._feed.max_ahead_s
        work = Work(
            decoding=lambda records: decoded_by(definition, records, life, max_ahead_s),
            batch=self._micro_batch,
            title=f"ingest {name} {self._checkpoint.name}",
            checkpoint=self._checkpoint,
            interval_s=settings.stream.ingest_interval_s,
            until_idle=until_idle,
            headers=True,
        )
        start = Reach(self._start.offsets, self._start.end.place)
        self._feed.__enter__()
        try:
            self._following = self._feed.follow(self._spark, self._topic, start, work)
        except BaseException:
            self._close()
            raise

    @property
    def landed(self) -> Vector:
        """Everything below this is in the lake, as an event or in quarantine, or was given up."""
        return self._lander.landed

    def stop(self) -> None:
        """End after the micro-batch that is being landed."""
        self._stopping = True
        # Not held while the query stops, which waits for a micro-batch that has just begun; that one does nothing.
        with self._busy:
            pass
        self.exception()
        self._following.stop()
        self._close()

    def await_termination(self, timeout: int | None = None) -> bool:
        """Whether it ended within so many seconds (None: wait for ever), by itself or by a failure."""
        return self._following.await_termination(timeout)

    def exception(self) -> Exception | None:
        """What ended it, named where it is known; None while it runs and after a good end."""
        if self._named is None and not self._following.is_active:
            raised = self._failure or self._following.exception()
            self._named = self._explained(raised) if raised is not None else None
        return self._named

    def _close(self) -> None:
        self._feed.__exit__()
        shutil.rmtree(self._checkpoint, ignore_errors=True)

    def _explained(self, error: Exception) -> Exception:
        """Look again whether the stream still is what it was, as that may be the reason of a failure without a name."""
        if isinstance(error, HeadraceError) and not isinstance(error, RetentionGap):
            return error
        named: HeadraceError | None = None
        try:
            topic = self._feed.topic()
            check_topic(topic, self._topic.incarnation)
            check_retention(self._feed.held(topic, self._lander.place), self._lander.next, topic)
        except (StreamRecreated, RetentionGap) as found:
            found.__cause__ = error
            return found
        except HeadraceError as found:
            named = found
        return explained(error) or named or error

    def _micro_batch(self, decoded: DataFrame, _begin: Mapping[int, int], end: Reach) -> None:
        with self._busy:
            if self._stopping:
                return  # the checkpoint is never read again, and the lake says that nothing of this landed
            try:
                progress = self._lander.land(decoded, end)
                self.total += progress
                if progress.batches:
                    self._on_batch(progress)
            except Exception as error:
                self._failure = error
                raise
