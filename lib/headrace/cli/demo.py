"""`headrace demo`: history, then its last month live, with a hand-over in the middle of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.opening import load, now, opened_spark, opened_store, promoting
from headrace.cli.options import with_settings
from headrace.cli.output import fields, say_steps
from headrace.cli.stream import SPARK
from headrace.config import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from headrace.definitions import Definition
    from headrace.serving.lookup import Lookups
    from headrace.speed.driver import Driver

LIVE_FROM = datetime(2011, 11, 9, tzinfo=UTC)
_RATE = 2_000.0
_PARTITIONS = 4
_SHOWN = 3
_COLUMNS = ("recency", "frequency", "monetary", "cluster", "segment")
_WIDTH = 110


@click.command()
@with_settings
def demo(settings: Settings) -> int:
    """Show the seam that is not there: history as a batch, its last month live, a new generation promoted meanwhile.

    Purchases before 2011-11-09 are landed as history and served; the rest is replayed as a live stream while a new
    generation is trained and takes over; at the end every key is proved. It has a lake and a table of its own (`demo`
    in the home folder); run it again, and nothing is counted twice.
    """
    from headrace.sources.online_retail import find
    from headrace.speed.verify import verify

    definition, say = load("segments"), say_steps(as_json=False)
    # Whatever has landed elsewhere: the demo's lake is another one.
    found = find(None, settings)
    if found.note:
        click.echo(found.note, err=True)
    own = _apart(settings)
    history, live = _cut(definition, found.path, own)
    with opened_spark(own, "demo", say, ("delta", "kafka-source"), SPARK) as spark:
        _run(spark, own, definition, history, live, say)
        say("verify: every key recomputed from the lake, at the generation and vector it is served at")
        proved = verify(spark, own, definition, own.store.endpoint)
    click.echo(fields(proved.to_json()))
    return 0 if proved.equal else 1


def _run(
    spark: SparkSession,
    settings: Settings,
    definition: Definition,
    history: Path,
    live: Path,
    say: Callable[[str], None],
) -> None:
    from headrace.serving.lookup import Lookups
    from headrace.sources.files import fingerprint
    from headrace.sources.kafka import Broker
    from headrace.speed.replay import Selection, replay

    with opened_store(settings) as store, Broker(settings.kafka, settings.kafka.bootstrap) as broker:
        if not store.champion(definition.name).generation:
            say(f"history: purchases before {LIVE_FROM:%Y-%m-%d}")
            _champion(spark, settings, definition, history, say)
        lookups = Lookups(store, 0, now)
        broker.create(definition.source.name, _PARTITIONS)
        watched = _first_entities(definition, live)
        _show(lookups, definition, watched, "before the stream")
        driver = _driver(spark, settings, definition, say)
        broken_off = threading.Event()
        with _running(driver), ThreadPoolExecutor(1) as other, _at_last(broken_off):
            sending = other.submit(
                replay,
                broker,
                definition,
                fingerprint(live),
                settings.home / "replay",
                selection=Selection(),
                rate=_RATE,
                partitions=_PARTITIONS,
                multiline=False,
                stop=broken_off,
                progress=False,
            )
            say(f"replaying purchases from {LIVE_FROM:%Y-%m-%d} on, {_RATE:,.0f} a second; training meanwhile")
            taken = _champion(spark, settings, definition, None, say)
            _show(lookups, definition, watched, f"generation {taken} took over, purchases still coming in")
            sent = sending.result()
            say(f"{sent.sent:,} purchases were sent now, {sent.before:,} by earlier runs")
        say("counting what is left")
        driver.run(threading.Event(), only=None, until_idle=True)
        _show(lookups, definition, watched, "after the last purchase")


def _champion(
    spark: SparkSession, settings: Settings, definition: Definition, source: Path | None, say: Callable[[str], None]
) -> int:
    """The new champion's number: trained on the source, or anew on what the lake holds by now."""
    from headrace.batch.lease import owner_name
    from headrace.batch.run import run

    ran = run(
        spark,
        settings,
        definition,
        source,
        owner=owner_name(),
        say=say,
        promote=promoting(settings, definition.name),
        retrain=source is None,
    )
    return ran.after.generation


def _driver(spark: SparkSession, settings: Settings, definition: Definition, say: Callable[[str], None]) -> Driver:
    from headrace.batch.lease import owner_name
    from headrace.speed.driver import Driver
    from headrace.speed.metrics import Metrics
    from headrace.stores import Opening

    return Driver(
        spark,
        settings,
        definition,
        Opening(settings.store, settings.store.endpoint, settings.publish.retry_s),
        settings.kafka.bootstrap,
        owner=owner_name(),
        clock=now,
        say=say,
        metrics=Metrics(definition.name, definition.source.name),
    )


def _apart(settings: Settings) -> Settings:
    """The settings with a home and a table of the demo's own, and the addresses of the engines that run."""
    from headrace.local.endpoints import kafka_bootstrap, store_endpoint

    return settings.model_copy(
        update={
            "home": settings.home / "demo",
            "store": settings.store.model_copy(
                update={"table": f"{settings.store.table}-demo", "endpoint": store_endpoint(settings)}
            ),
            "kafka": settings.kafka.model_copy(update={"bootstrap": kafka_bootstrap(settings)}),
            "stream": settings.stream.model_copy(update={"ingest_interval_s": 2.0}),
        }
    )


def _cut(definition: Definition, found: Path, settings: Settings) -> tuple[Path, Path]:
    """The file before and from LIVE_FROM on, cut once."""
    from headrace.sources.files import fingerprint
    from headrace.sources.rows import split

    file = fingerprint(found)
    folder = settings.home / "data" / file.sha256[:12]
    parts = folder / "history.csv", folder / "live.csv"
    if not all(part.exists() for part in parts):
        folder.mkdir(parents=True, exist_ok=True)
        split(file, definition.source.schema, definition.event_time, LIVE_FROM, parts, multiline=False, replace=True)
    return parts


def _first_entities(definition: Definition, live: Path) -> list[str]:
    """The first entities that the stream will tell something of."""
    from headrace.sources.files import fingerprint
    from headrace.sources.rows import rows

    found: dict[str, None] = {}
    for row in rows(fingerprint(live), definition.source.schema, (), multiline=False):
        entity = (row.texts or {}).get(definition.entity)
        if entity:
            found[entity] = None
        if len(found) == _SHOWN:
            break
    return list(found)


def _show(lookups: Lookups, definition: Definition, entities: Sequence[str], when: str) -> None:
    from rich.console import Console
    from rich.table import Table

    answers = lookups.many(definition.name, entities)
    table = Table(title=when, title_justify="left")
    for name in (definition.entity, *_COLUMNS, "layer", "generation", "age"):
        table.add_column(name)
    for answer in answers.answers:
        values = {**answer.features, **answer.prediction}
        said = [str(values[name]) for name in _COLUMNS]
        table.add_row(answer.entity, *said, answer.layer, str(answer.generation), f"{answer.age_s:,.1f} s")
    for entity in answers.missing:
        table.add_row(entity, "not known yet")
    Console(width=max(Console().width, _WIDTH)).print(table)


@contextmanager
def _running(driver: Driver) -> Iterator[None]:
    """The driver in a thread of its own for the length of a block; what ended it ends the block."""
    stop = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="driver") as pool:
        ended = pool.submit(driver.run, stop, only=None, until_idle=False)
        try:
            yield
        finally:
            stop.set()
        ended.result()


@contextmanager
def _at_last(event: threading.Event) -> Iterator[None]:
    try:
        yield
    finally:
        event.set()
