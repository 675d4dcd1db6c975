"""What commands open: definitions, Spark, the serving store; each closed when the command ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headrace.config import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from headrace.definitions import Definition
    from headrace.stores.port import Champion, Store

log = logging.getLogger(__name__)


def load(name: str) -> Definition:
    from headrace.definitions import load_definition

    return load_definition(name)


def name_of(definition: str) -> str:
    """The definition's name; a file or module is loaded to learn it, a plain name need not be installed here."""
    return load(definition).name if ":" in definition else definition


def now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def opened_spark(
    settings: Settings,
    app: str,
    say: Callable[[str], None],
    jars: Sequence[str] = ("delta",),
    extra: Mapping[str, str] | None = None,
) -> Iterator[SparkSession]:
    from headrace.batch.tasks import interruptible
    from headrace.session import open_session
    from headrace.sources.failures import named_failures

    say("starting Spark")
    spark = open_session(settings, f"headrace {app}", jars, extra)
    try:
        with interruptible(spark), named_failures():
            yield spark
    finally:
        spark.stop()


@contextmanager
def opened_store(settings: Settings) -> Iterator[Store]:
    store = open_prepared(settings)
    try:
        yield store
    finally:
        store.close()


def open_prepared(settings: Settings) -> Store:
    """The store with its table, if it is ours to create: without one, nothing is served yet. The caller closes it."""
    from headrace.local.endpoints import store_endpoint
    from headrace.stores import open_store

    store = open_store(settings.store, store_endpoint(settings))
    try:
        if settings.store.create_table:
            store.prepare()
    except BaseException:
        store.close()
        raise
    return store


def promoting(settings: Settings, name: str, *, force: bool = False) -> Callable[[Store, int], Champion]:
    """What makes a generation the champion once its stream has counted what the champion's has.

    force: although it fails its gate.
    """
    from headrace.speed.handover import Waiting, promote

    waiting = Waiting(settings.stream.handover_s)

    def promoted(store: Store, generation: int) -> Champion:
        champion = promote(store, name, generation, now=now(), waiting=waiting, force=force)
        note_flip(settings, store, name, champion)
        return champion

    return promoted


def note_flip(settings: Settings, store: Store, name: str, champion: Champion) -> None:
    """Have the lake know from when on readers see the champion; where it cannot be written to, warn: they do see it."""
    from headrace.registry.timeline import Timeline, flip

    entries = (entry for entry in store.ledger(name) if entry.generation == champion.generation)
    for entry in entries:
        try:
            Timeline(settings.lake, name).flipped(flip(entry, now()))
        except OSError as error:
            log.warning(
                "generation %d is the champion of %s, but the lake does not know from when on: %s; answers as of a "
                "past instant are the former champion's until, with a lake that can be written to: "
                "headrace promote %s -g %d",
                champion.generation,
                name,
                error,
                name,
                champion.generation,
            )
