"""The process that keeps a definition current: it lands the stream, and runs a query for each generation in use."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Literal

from headrace.batch.lease import is_dead
from headrace.config import Settings
from headrace.definitions import Definition
from headrace.errors import (
    DefinitionError,
    Fenced,
    HeadraceError,
    RegistryError,
    StoreUnavailable,
    TransientError,
)
from headrace.registry import Registry
from headrace.schemas import Vector
from headrace.sources.feeds import feed_of
from headrace.sources.streams import Feed
from headrace.speed import journal
from headrace.speed.contributions import refuse_unstreamable
from headrace.speed.handover import HANDED, WANTED, Champions
from headrace.speed.ingest import Ingesting, IngestProgress, ingest_stream
from headrace.speed.metrics import Metrics
from headrace.speed.pulse import Pulse
from headrace.speed.restarting import KeptLanding, OnBatch, Pause, first_line
from headrace.speed.served import nothing_served
from headrace.speed.update import Batch, Update, plan_of
from headrace.speed.wanted import wanted
from headrace.stores import Opening
from headrace.stores.port import Progress, Store

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


log = logging.getLogger(__name__)
Only = Literal["ingest", "update"]
Say = Callable[[str], None]
Clock = Callable[[], datetime]


class Driver:
    """Runs until it is told to stop, or, with `until_idle`, until everything the stream holds is counted."""

    def __init__(
        self,
        spark: SparkSession,
        settings: Settings,
        definition: Definition,
        opening: Opening,
        address: str,
        *,
        owner: str,
        clock: Clock,
        say: Say,
        metrics: Metrics,
    ) -> None:
        self._spark = spark
        self._settings = settings
        self._definition = definition
        self._opening = opening
        self._address = address
        self._owner = owner
        self._clock = clock
        self._say = say
        self._metrics = metrics
        self._pulse = Pulse(settings.home, definition.name, owner, metrics.registry, clock)
        self._champions = Champions(definition.name)
        self._running: dict[int, Update] = {}
        self._pauses: dict[int, Pause] = {}
        self._not_ours: set[int] = set()
        self._landing: KeptLanding | None = None

    def run(
        self,
        stop: threading.Event,
        *,
        only: Only | None,
        until_idle: bool,
        allow_gap: bool = False,
        disjoint: bool = False,
    ) -> None:
        """Until `stop` is set; allow_gap, disjoint: as of `speed.ingest.ingest_stream`.

        Raises what cannot be mended by trying again: Fenced, StreamRecreated, RetentionGap, and wrong input.
        """
        if only != "ingest":
            refuse_unstreamable(self._definition)
        store = self._opening.open()
        try:
            self._pulse.begin(only, self._settings.stream.heartbeat_s)
            with feed_of(self._settings, self._definition.source.name, self._address) as feed:
                if only != "update":
                    begin = partial(self._ingest, allow_gap=allow_gap, disjoint=disjoint)
                    self._landing = KeptLanding(begin, on_batch=self._ingested, say=self._say)
                    self._landing.start()
                while not stop.is_set():
                    began = monotonic()
                    if only != "ingest":
                        self._tend(store, only_once=until_idle)
                    if self._landing is not None:
                        self._landing.tend()
                    try:
                        idle = self._hear(feed, updates=only != "ingest")
                    except TransientError as error:
                        log.warning("%s", error)
                        idle = False
                    self._pulse.beat()
                    if idle and until_idle:
                        return
                    stop.wait(max(0.0, self._settings.stream.heartbeat_s - (monotonic() - began)))
        finally:
            self._end()
            store.close()
            self._pulse.beat(ended=True)

    # -- generations --------------------------------------------------------------------------
    def _tend(self, store: Store, *, only_once: bool) -> None:
        """Start what is wanted, end what is not, and look at what failed."""
        name = self._definition.name
        try:
            champion, ledger = store.champion(name), store.ledger(name)
            now_wanted = wanted(
                champion, ledger, lambda g: _owner(store.progress(name, g)), ours=self._owner, now=self._clock()
            )
            self._follow(store, champion.generation, max(now_wanted, default=0))
            for generation, update in list(self._running.items()):
                failure = update.failure
                if failure is not None:
                    self._drop(generation)
                    self._examine(store, generation, failure, is_champion=generation == champion.generation)
                elif generation not in now_wanted:
                    self._drop(generation)
                    self._say(f"generation {generation} is no longer wanted")
            for generation in now_wanted:
                self._start(store, generation)
        except StoreUnavailable as error:
            log.warning("%s", error)
            return
        if only_once and not champion.generation and not now_wanted:
            raise nothing_served(name)
        if now_wanted and self._not_ours.issuperset(now_wanted):
            raise DefinitionError(
                f"none of the generations {now_wanted} of {name!r} can be counted here",
                found="other code, or files that this registry lacks; the log says which",
                do="train and publish a generation of it, or run the code they were trained with",
            )

    def _start(self, store: Store, generation: int) -> None:
        pause = self._pauses.setdefault(generation, Pause())
        if generation in self._running or generation in self._not_ours or not pause.is_over:
            return
        try:
            sealed = Registry(self._settings.registry).load(self._definition.name, generation)
            plan = plan_of(self._definition, sealed, store)
        except (DefinitionError, RegistryError) as error:
            # Another process has the code and files of that generation; this one waits for a generation of its own.
            self._not_ours.add(generation)
            log.warning("%s", error)
            return
        update = Update(
            self._spark,
            self._settings,
            plan,
            self._opening,
            address=self._address,
            owner=self._owner,
            on_batch=self._updated,
        )
        self._spark.sparkContext.setLocalProperty("spark.scheduler.pool", f"update-{generation}")
        update.begin(
            sealed.manifest.as_of, lambda: self._say(f"counting generation {generation} from {_shown(update)}")
        )
        self._running[generation] = update

    def _examine(self, store: Store, generation: int, failure: Exception, *, is_champion: bool) -> None:
        """Go on after what passes or was meant; raise the rest."""
        if isinstance(failure, Fenced):
            progress = store.progress(self._definition.name, generation)
            owner = progress.owner if progress is not None else WANTED
            if owner.startswith(HANDED):
                self._say(f"generation {generation} was {owner}")
                return
            if owner != WANTED and not is_dead(owner):
                raise failure
            return
        if isinstance(failure, HeadraceError) and not (is_champion or isinstance(failure, TransientError)):
            self._not_ours.add(generation)
            self._say(f"generation {generation} cannot be counted: {failure}")
            return
        self._pauses[generation].after(failure)
        log.warning("generation %d is started again: %s", generation, failure)
        self._say(f"generation {generation} is started again: {first_line(failure)}")

    def _updated(self, batch: Batch) -> None:
        self._pauses[batch.generation] = Pause()
        self._metrics.updated(batch)
        journal.counted(self._definition.name, batch)
        self._pulse.beat()

    def _drop(self, generation: int) -> None:
        self._running.pop(generation).stop()
        self._metrics.dropped(generation)

    def _follow(self, store: Store, champion: int, newest: int) -> None:
        """Tell which generation is served, and how long its hand-over took, to within a heartbeat."""
        self._metrics.serving(champion, newest if newest > champion else 0)
        took = self._champions.seen(store, champion, self._clock())
        if took is not None:
            self._metrics.handed_over(took)

    # -- the stream ---------------------------------------------------------------------------
    def _ingest(self, on_batch: OnBatch, *, allow_gap: bool, disjoint: bool) -> Ingesting:
        self._spark.sparkContext.setLocalProperty("spark.scheduler.pool", "ingest")
        ingesting = ingest_stream(
            self._spark,
            self._settings,
            self._definition,
            self._address,
            allow_gap=allow_gap,
            disjoint=disjoint,
            on_batch=on_batch,
        )
        self._say(f"landing stream {self._definition.source.name}")
        return ingesting

    def _ingested(self, progress: IngestProgress) -> None:
        self._metrics.ingested(progress)
        journal.landed(self._definition.source.name, progress)
        self._pulse.beat()

    def _hear(self, feed: Feed, *, updates: bool) -> bool:
        """Look where the stream ends; whether everything up to there is landed and counted."""
        now = self._clock()
        topic = feed.topic()
        head = feed.head(topic, now)
        idle = not updates or bool(self._running)
        for generation, update in self._running.items():
            try:
                update.hear(topic, head)
            except (Fenced, StoreUnavailable) as error:
                log.info("generation %d: %s", generation, error)  # its next batch, or the next look, says the same
                update.fail(error)
            self._metrics.heard(generation, update.lag, update.as_of)
            idle = idle and update.follows and not any(update.lag.values())
        if self._landing is not None:
            end = Vector.of(topic.incarnation, head.ends)
            self._metrics.landing_heard(self._landing.lag(end))
            idle = idle and self._landing.covers(end)
        return idle

    def _end(self) -> None:
        for update in self._running.values():
            update.stop()
        if self._landing is not None:
            self._landing.stop()


def _owner(progress: Progress | None) -> str | None:
    return progress.owner if progress is not None else None


def _shown(update: Update) -> str:
    stream = sum(n for (incarnation, _), n in update.vector.items() if incarnation)
    return f"position {stream:,} of the stream"
