"""Land a stream in the lake, exactly once: events in events/<stream>, bad records in quarantine/<stream>."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headrace.config import Settings
from headrace.definitions import Definition
from headrace.errors import HeadraceError, RetentionGap, StreamRecreated
from headrace.schemas import Vector
from headrace.schemas.lake import events_path
from headrace.sinks.lake import refuse_changed_schema
from headrace.sources.failures import explained
from headrace.sources.kafka import Broker, check_retention, check_topic, stream_records
from headrace.sources.lake import landed_logs
from headrace.speed.arrivals import decoded_by
from headrace.speed.checkpoints import end_of, fresh_checkpoint
from headrace.speed.gaps import beginning, note_gaps
from headrace.speed.lander import IngestProgress, Lander, Start
from headrace.speed.landing import Landing, lake_end

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

__all__ = ["IngestProgress", "Ingesting", "ingest_stream"]

log = logging.getLogger(__name__)


def ingest_stream(
    spark: SparkSession,
    settings: Settings,
    definition: Definition,
    bootstrap: str,
    *,
    until_idle: bool = False,
    allow_gap: bool = False,
    disjoint: bool = False,
    on_batch: Callable[[IngestProgress], None] | None = None,
    on_step: Callable[[str], None] | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Ingesting:
    """Start landing the topic of a definition's stream, from where the lake ends.

    until_idle: end when all that the topic held at the start has landed. allow_gap: go on where events were lost, and
    note the missing ranges in gaps/<stream>. disjoint: the caller vouches that no event is in history and stream.
    on_batch: told of each micro-batch. on_step: told of each step of one: `decoded`, `quarantined`, `landed`.

    Raises, before anything is written, SchemaError for columns that do not fit, StreamRecreated, RetentionGap, and
    what `Broker` raises. Later failures are told by the result's `exception`: these again, OverlapError for events
    that may be in the history too, IngestFenced when another driver lands the stream.
    """
    stream = definition.source
    refuse_changed_schema(spark, events_path(settings.lake, stream.name), stream.schema)
    broker = Broker(settings.kafka, bootstrap)
    with broker:
        incarnation = broker.topic(stream.name).incarnation
        end = lake_end(spark, settings.lake, stream.name, incarnation)
        history_ends = None
        if not (disjoint or definition.event_id or end.has_events):
            logs = landed_logs(spark, settings.lake, stream.name)
            history_ends = max((log.latest for log in logs), default=None)
        # Looked up last, since a query that starts must know every partition.
        topic = broker.topic(stream.name)
        check_topic(topic, incarnation)
        offsets, gaps = beginning(topic, broker.held(topic), end, allow_gap=allow_gap)
    if gaps:
        log.warning("stream %s lacks what its topic no longer holds: %s", stream.name, gaps)
        note_gaps(spark, settings.lake, stream.name, gaps, clock())
    ingesting = Ingesting(spark, settings, definition, bootstrap, Start(topic, end, offsets, history_ends))
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
        self, spark: SparkSession, settings: Settings, definition: Definition, bootstrap: str, start: Start
    ) -> None:
        self.total = IngestProgress()
        self._spark = spark
        self._settings = settings
        self._definition = definition
        self._bootstrap = bootstrap
        self._start = start
        self._topic = start.topic
        self._busy = threading.Lock()
        self._stopping = False
        self._failure: Exception | None = None
        self._named: Exception | None = None
        self._broker = Broker(settings.kafka, bootstrap)

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
        self._lander = Lander(settings, self._broker, landing, self._start, on_step=on_step, clock=clock)
        kafka, offsets = settings.kafka, self._start.offsets
        records = stream_records(self._spark, kafka, self._bootstrap, self._topic, offsets, headers=True)
        # Decoded by the query itself, which builds that plan once; a micro-batch would build it each time.
        decoded = decoded_by(self._definition, records, self._topic.incarnation, kafka.max_ahead_s)
        writing = decoded.writeStream.foreachBatch(self._micro_batch)
        writing = writing.queryName(f"ingest {name} {self._checkpoint.name}")
        writing = writing.option("checkpointLocation", str(self._checkpoint))
        interval_ms = round(settings.stream.ingest_interval_s * 1000)
        if until_idle:
            writing = writing.trigger(availableNow=True)
        else:
            writing = writing.trigger(processingTime=f"{interval_ms} milliseconds")
        self._broker.__enter__()
        try:
            self._query: StreamingQuery = writing.start()
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
        self._query.stop()
        self._close()

    def await_termination(self, timeout: int | None = None) -> bool:
        """Whether it ended within so many seconds (None: wait for ever), by itself or by a failure."""
        from pyspark.errors import StreamingQueryException

        with suppress(StreamingQueryException):
            if timeout is not None:
                return bool(self._query.awaitTermination(timeout))
            self._query.awaitTermination()
        return True

    def exception(self) -> Exception | None:
        """What ended it, named where it is known; None while it runs and after a good end."""
        if self._named is None and not self._query.isActive:
            raised = self._failure or self._query.exception()
            self._named = self._explained(raised) if raised is not None else None
        return self._named

    def _close(self) -> None:
        self._broker.__exit__()
        shutil.rmtree(self._checkpoint, ignore_errors=True)

    def _explained(self, error: Exception) -> Exception:
        """Look again whether the topic still is what it was, as that may be the reason of a failure without a name."""
        if isinstance(error, HeadraceError):
            return error
        named: HeadraceError | None = None
        try:
            topic = self._broker.topic(self._topic.name)
            check_topic(topic, self._topic.incarnation)
            check_retention(self._broker.held(topic), self._lander.next, topic)
        except (StreamRecreated, RetentionGap) as found:
            found.__cause__ = error
            return found
        except HeadraceError as found:
            named = found
        return explained(error) or named or error

    def _micro_batch(self, decoded: DataFrame, number: int) -> None:
        with self._busy:
            if self._stopping:
                return  # the checkpoint is never read again, and the lake says that nothing of this landed
            try:
                progress = self._lander.land(decoded, end_of(self._checkpoint, self._topic.name, number))
                self.total += progress
                if progress.batches:
                    self._on_batch(progress)
            except Exception as error:
                self._failure = error
                raise
