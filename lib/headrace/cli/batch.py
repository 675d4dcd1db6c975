"""Commands of the batch layer: run and its steps, promote, rollback, purge, verify."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.options import with_settings
from headrace.config import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from headrace.batch.ingest import IngestReport
    from headrace.definitions import Definition
    from headrace.stores.port import Store

_definition = click.argument("definition", metavar="DEFINITION")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
_input = click.option(
    "--input", "path", type=click.Path(path_type=Path), help="File of events: .csv, .parquet or .json lines, or .gz."
)
_replace = click.option("--replace", is_flag=True, help="This file replaces all files landed before.")
_disjoint = click.option("--disjoint", is_flag=True, help="This file shares no event with files landed before.")
_to = click.option("--generation", "-g", type=int, metavar="N", help="Which generation [default: the newest sealed].")


@click.command()
@_definition
@_input
@_replace
@_disjoint
@click.option("--retrain", is_flag=True, help="Train a new generation even if nothing changed.")
@_as_json
@with_settings
def run(
    settings: Settings,
    definition: str,
    path: Path | None,
    replace: bool,
    disjoint: bool,
    retrain: bool,
    as_json: bool,
) -> None:
    """Ingest, train, publish, promote and report DEFINITION: the main job.

    DEFINITION is a built-in name (segments), package.module:name, or file.py:name. Every step resumes where an
    earlier run stopped, and what is unchanged is not sent again.
    """
    from headrace.batch.lease import owner_name
    from headrace.batch.outcome import report_run
    from headrace.batch.run import run as run_all
    from headrace.report import summary

    loaded = _load(definition)
    source, note = _source(loaded, path, settings)
    say = _say(as_json)
    with _spark(settings, f"run {loaded.name}", say) as spark:
        ran = run_all(
            spark,
            settings,
            loaded,
            source,
            owner=owner_name(),
            say=say,
            replace=replace,
            disjoint=disjoint,
            retrain=retrain,
        )
        say("report")
        outcome = report_run(spark, settings, loaded, ran, note)
    _show(as_json, outcome.to_json(), lambda: summary(outcome.facts, outcome.report))


@click.command()
@_definition
@_input
@_replace
@_disjoint
@_as_json
@with_settings
def ingest(
    settings: Settings, definition: str, path: Path | None, replace: bool, disjoint: bool, as_json: bool
) -> None:
    """Land a file's events in the lake of DEFINITION's stream; bad rows go to quarantine."""
    from headrace.batch.ingest import ingest as land
    from headrace.batch.run import named_input

    loaded = _load(definition)
    source = named_input(loaded, _source(loaded, path, settings)[0])
    with _spark(settings, f"ingest {loaded.name}", _say(as_json)) as spark:
        landed = land(spark, settings, loaded, source, now=_now(), replace=replace, disjoint=disjoint)
    _show(as_json, _ingest_json(landed), lambda: _ingest_text(landed))


@click.command()
@_definition
@_as_json
@with_settings
def train(settings: Settings, definition: str, as_json: bool) -> None:
    """Train DEFINITION on one snapshot of the lake and seal a generation; nothing is served by it yet."""
    from headrace.batch.run import train_next

    loaded = _load(definition)
    with _spark(settings, f"train {loaded.name}", _say(as_json)) as spark, _store(settings) as store:
        generation = train_next(spark, settings, loaded, store, now=_now()).generation
    manifest = generation.manifest
    said = {"generation": manifest.generation, "entities": manifest.entities, "metrics": manifest.metrics}
    _show(
        as_json,
        {**said, "path": str(generation.path)},
        lambda: f"sealed generation {manifest.generation}: {manifest.entities:,} entities in {generation.path}",
    )


@click.command()
@_definition
@_to
@_as_json
@with_settings
def publish(settings: Settings, definition: str, generation: int | None, as_json: bool) -> None:
    """Write a sealed generation of DEFINITION to the serving store; readers see it after `promote`."""
    from headrace.batch.lease import owner_name
    from headrace.batch.run import publish_on_base
    from headrace.local.endpoints import store_endpoint
    from headrace.registry import Registry

    name = _name(definition)
    registry = Registry(settings.registry)
    chosen = registry.load(name, generation or max(registry.sealed(name), default=0))
    say = _say(as_json)
    with _spark(settings, f"publish {name}", say) as spark:
        done = publish_on_base(spark, settings, chosen, owner=owner_name(), endpoint=store_endpoint(settings), say=say)
    number, sent = done.generation, done.sent
    _show(
        as_json,
        {"generation": number, "sent": sent},
        lambda: (
            f"generation {number} is published: {sent:,} items sent; make it champion with: "
            f"headrace promote {name} -g {number}"
        ),
    )


@click.command()
@_definition
@_to
@_as_json
@with_settings
def promote(settings: Settings, definition: str, generation: int | None, as_json: bool) -> None:
    """Make a published generation of DEFINITION the champion, in one conditional write."""
    from headrace.batch.promote import promote as move

    name = _name(definition)
    with _store(settings) as store:
        sealed = [entry.generation for entry in store.ledger(name) if entry.status == "sealed"]
        champion = move(store, name, generation or max(sealed, default=0), now=_now())
    _show(
        as_json,
        {"generation": champion.generation, "epoch": champion.epoch},
        lambda: f"generation {champion.generation} is the champion of {name}",
    )


@click.command()
@_definition
@click.option("--to", "generation", type=int, metavar="N", help="Which former champion [default: the last one].")
@_as_json
@with_settings
def rollback(settings: Settings, definition: str, generation: int | None, as_json: bool) -> None:
    """Go back to a former champion of DEFINITION, in one conditional write."""
    from headrace.batch.promote import rollback as go_back

    name = _name(definition)
    with _store(settings) as store:
        champion = go_back(store, name, generation, now=_now())
    _show(
        as_json,
        {"generation": champion.generation, "epoch": champion.epoch},
        lambda: f"back to generation {champion.generation} of {name}",
    )


@click.command()
@_definition
@_as_json
@with_settings
def purge(settings: Settings, definition: str, as_json: bool) -> None:
    """Remove versions of DEFINITION that no champion, challenger or rollback can reach."""
    from headrace.batch.purge import purge as remove

    name = _name(definition)
    with _store(settings) as store:
        purged = remove(store, name, window=settings.publish.rollback_window, now=_now())
    _show(as_json, vars(purged) | {}, lambda: _fields(vars(purged)))


@click.command()
@_definition
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Compare N keys instead of all.")
@_as_json
@with_settings
def verify(settings: Settings, definition: str, sample: int | None, as_json: bool) -> int:
    """Recompute from the lake what is served of DEFINITION; exit 1 when a key differs, lacks or is too many."""
    from headrace.batch.verify import verify as prove
    from headrace.local.endpoints import store_endpoint

    loaded = _load(definition)
    with _spark(settings, f"verify {loaded.name}", _say(as_json)) as spark:
        found = prove(spark, settings, loaded, store_endpoint(settings), sample=sample)
    _show(as_json, found.to_json(), lambda: _fields(found.to_json()))
    return 0 if found.equal else 1


@click.command()
@_definition
@_as_json
@with_settings
def generations(settings: Settings, definition: str, as_json: bool) -> None:
    """List the generations of DEFINITION: sealed in the registry, and where each stands in the store."""
    from rich.table import Table

    from headrace.batch.run import standing

    name = _name(definition)
    with _store(settings) as store:
        rows = standing(settings, name, store)

    def table() -> Table:
        shown = Table("generation", "registry", "store", "champion", "entities", "created", title=name)
        for row in rows:
            shown.add_row(*("" if value is None else str(value) for value in row.values()))
        return shown

    _show(as_json, {"definition": name, "generations": rows}, table)


def _load(name: str) -> Definition:
    from headrace.definitions import load_definition

    return load_definition(name)


def _name(definition: str) -> str:
    """The definition's name; a file or module is loaded to learn it, a plain name need not be installed here."""
    return _load(definition).name if ":" in definition else definition


def _source(definition: Definition, named: Path | None, settings: Settings) -> tuple[Path | None, str]:
    """What to land and what to know of it: --input, else the definition's known history; None: the lake as it is."""
    from headrace.sources.online_retail import find

    history = definition.source.history
    if named is None and (history is None or history.name != "online_retail"):
        return None, ""
    found = find(named, settings)
    return found.path, found.note


def _now() -> datetime:
    return datetime.now(UTC)


def _say(as_json: bool) -> Callable[[str], None]:
    """Where steps are announced: stderr, so that stdout holds the result alone."""
    return (lambda _text: None) if as_json else (lambda text: click.echo(f"· {text}", err=True))


@contextmanager
def _spark(settings: Settings, app: str, say: Callable[[str], None]) -> Iterator[SparkSession]:
    from headrace.session import open_session
    from headrace.sources.failures import named_failures

    say("starting Spark")
    spark = open_session(settings, f"headrace {app}")
    try:
        with named_failures():
            yield spark
    finally:
        spark.stop()


@contextmanager
def _store(settings: Settings) -> Iterator[Store]:
    from headrace.local.endpoints import store_endpoint
    from headrace.stores import open_store

    store = open_store(settings.store, store_endpoint(settings))
    try:
        if settings.store.create_table:
            store.prepare()
        yield store
    finally:
        store.close()


def _show(as_json: bool, value: dict[str, Any], text: Callable[[], Any]) -> None:
    if as_json:
        click.echo(json.dumps(value, default=str))
        return
    from rich.console import Console

    Console().print(text(), highlight=False)


def _fields(values: dict[str, Any]) -> str:
    return "\n".join(f"{name:<12} {value}" for name, value in values.items() if value not in ([], None))


def _ingest_json(landed: IngestReport) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(landed)


def _ingest_text(landed: IngestReport) -> str:
    head = "already in the lake" if landed.already_landed else "landed"
    lines = [f"{head}: {landed.landed:,} of {landed.rows_read:,} rows of {landed.source}"]
    lines += [f"quarantined {rows:,}: {reason}" for reason, rows in landed.quarantined_by_reason.items()]
    return "\n".join(lines)
