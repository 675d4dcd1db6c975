"""Commands of the batch layer: run and its steps, and the proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.cassandra import jars_of, table_history
from headrace.cli.keeping import keep
from headrace.cli.opening import load, name_of, now, opened_spark, opened_store, promoting
from headrace.cli.options import (
    INSTANT,
    definition_argument,
    force_option,
    generation_option,
    json_option,
    with_settings,
)
from headrace.cli.output import fields, say_steps, show
from headrace.config import Settings
from headrace.errors import AnswerIsNo

if TYPE_CHECKING:
    from headrace.batch.ingest import IngestReport
    from headrace.definitions import Definition
    from headrace.serving.sampled import Logged

_input = click.option(
    "--input", "path", type=click.Path(path_type=Path), help="File of events: .csv, .parquet or .json lines, or .gz."
)
_replace = click.option("--replace", is_flag=True, help="This file replaces all files landed before.")
_refresh = click.option("--refresh", is_flag=True, help="With source=cassandra: read the table anew.")
_disjoint = click.option("--disjoint", is_flag=True, help="This file shares no event with files landed before.")


@click.command()
@definition_argument
@_input
@_replace
@_disjoint
@_refresh
@click.option("--retrain", is_flag=True, help="Train a new generation even if nothing changed.")
@force_option
@json_option
@with_settings
def run(
    settings: Settings,
    definition: str,
    path: Path | None,
    replace: bool,
    disjoint: bool,
    refresh: bool,
    retrain: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Ingest, train, publish, promote and report DEFINITION: the main job.

    DEFINITION is a built-in name (segments or sales), package.module:name, or file.py:name. Every step resumes where an
    earlier run stopped, and what is unchanged is not sent again. A generation that fails the definition's gate is
    sealed, but not published nor promoted: exit 1. With --set source=cassandra its history is read from a table, once,
    and the clusters' sizes are written back.
    """
    from headrace.batch.lease import owner_name
    from headrace.batch.outcome import report_run
    from headrace.batch.run import run as run_all
    from headrace.report import summary

    loaded = load(definition)
    say = say_steps(as_json)
    with table_history(settings, loaded, path, refresh=refresh) as table:
        source, note = (None, "") if table else source_of(loaded, path, settings)
        with opened_spark(settings, f"run {loaded.name}", say, jars_of(table)) as spark:
            if table:
                read = table.land(spark, say)
                source, note, replace = read.path, read.note, replace or read.replace
            ran = run_all(
                spark,
                settings,
                loaded,
                source,
                owner=owner_name(),
                say=say,
                promote=promoting(settings, loaded.name, force=force),
                replace=replace,
                disjoint=disjoint,
                retrain=retrain,
                force=force,
            )
            say("report")
            outcome = report_run(spark, settings, loaded, ran, note)
            held_out = None
            if loaded.training is not None:
                from headrace.cli.prediction import held_out_told

                held_out = held_out_told(spark, settings, loaded, ran.trained.generation.manifest.generation, say)
        written = table.write_back(outcome) if table else {}
    keep(settings, loaded.name, outcome.to_report(now()))
    told = {**outcome.to_json(), **written, **({"held_out": held_out} if held_out else {})}
    show(as_json, told, lambda: summary(outcome.facts, outcome.report))
    if held_out and not as_json:
        click.echo("\n" + fields(held_out))


@click.command()
@definition_argument
@_input
@_replace
@_disjoint
@_refresh
@json_option
@with_settings
def ingest(
    settings: Settings, definition: str, path: Path | None, replace: bool, disjoint: bool, refresh: bool, as_json: bool
) -> None:
    """Land a file's events in the lake of DEFINITION's stream; bad rows go to quarantine."""
    from headrace.batch.ingest import ingest as land
    from headrace.batch.run import named_input

    loaded = load(definition)
    say = say_steps(as_json)
    with table_history(settings, loaded, path, refresh=refresh) as table:
        source = None if table else named_input(loaded, source_of(loaded, path, settings)[0])
        with opened_spark(settings, f"ingest {loaded.name}", say, jars_of(table)) as spark:
            if table:
                read = table.land(spark, say)
                source, replace = read.path, replace or read.replace
            landed = land(
                spark, settings, loaded, named_input(loaded, source), now=now(), replace=replace, disjoint=disjoint
            )
    show(as_json, _ingest_json(landed), lambda: _ingest_text(landed))


@click.command()
@definition_argument
@json_option
@with_settings
def train(settings: Settings, definition: str, as_json: bool) -> None:
    """Train DEFINITION on one snapshot of the lake and seal a generation; nothing is served by it yet."""
    from headrace.batch.run import train_next, usable
    from headrace.evaluate.gate import Verdict

    loaded = load(definition)
    with opened_spark(settings, f"train {loaded.name}", say_steps(as_json)) as spark, opened_store(settings) as store:
        base = usable(settings, loaded.name, store.champion(loaded.name).generation)
        generation = train_next(spark, settings, loaded, store, now=now(), base=base).generation
    manifest = generation.manifest
    said = {"generation": manifest.generation, "entities": manifest.entities, "metrics": manifest.metrics}
    text = f"sealed generation {manifest.generation}: {manifest.entities:,} entities in {generation.path}"
    if manifest.gate is not None:
        said["gate"] = manifest.gate
        text += f"\ngate: {Verdict.of(manifest.gate).text}"
    show(as_json, {**said, "path": str(generation.path)}, lambda: text)


@click.command()
@definition_argument
@generation_option
@json_option
@with_settings
def publish(settings: Settings, definition: str, generation: int | None, as_json: bool) -> None:
    """Write a sealed generation of DEFINITION to the serving store; readers see it after `promote`."""
    from headrace.batch.lease import owner_name
    from headrace.batch.run import publish_on_base
    from headrace.local.endpoints import store_endpoint
    from headrace.registry import Registry

    name = name_of(definition)
    registry = Registry(settings.registry)
    chosen = registry.load(name, generation or registry.newest(name))
    say = say_steps(as_json)
    with opened_spark(settings, f"publish {name}", say) as spark:
        done = publish_on_base(spark, settings, chosen, owner=owner_name(), endpoint=store_endpoint(settings), say=say)
    number, sent = done.generation, done.sent
    show(
        as_json,
        {"generation": number, "sent": sent},
        lambda: (
            f"generation {number} is published: {sent:,} items sent; make it champion with: "
            f"headrace promote {name} -g {number}"
        ),
    )


@click.command()
@definition_argument
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Compare N keys instead of all.")
@click.option(
    "--logged", is_flag=True, help="Recompute the answers that `headrace serve` logged instead; without Spark."
)
@click.option("--since", type=INSTANT, metavar="T", help="With --logged: answers served from then on.")
@json_option
@with_settings
def verify(
    settings: Settings, definition: str, sample: int | None, logged: bool, since: datetime | None, as_json: bool
) -> int:
    """Recompute from the lake what is served of DEFINITION; exit 1 when a key differs, lacks or is too many.

    With --logged, each answer is recomputed at the generation and vector it carried (`headrace index` first), and the
    report tells how far what is served has drifted from the training set.
    """
    if since is not None and not logged:
        raise click.UsageError("--since goes with --logged")
    loaded = load(definition)
    if logged:
        return _audited(settings, loaded, since, sample, as_json)
    from headrace.local.endpoints import store_endpoint
    from headrace.speed.verify import verify as prove

    with opened_spark(settings, f"verify {loaded.name}", say_steps(as_json)) as spark:
        found = prove(spark, settings, loaded, store_endpoint(settings), sample=sample)
    keep(settings, loaded.name, found.to_report(now()))
    show(as_json, found.to_json(), lambda: fields(found.to_json()))
    return 0 if found.equal else 1


def _audited(
    settings: Settings, definition: Definition, since: datetime | None, sample: int | None, as_json: bool
) -> int:
    from headrace.registry import Registry
    from headrace.report import write_audit
    from headrace.serving.audit import audit
    from headrace.serving.past import Past
    from headrace.serving.sampled import logged_answers
    from headrace.sources.progress import shown

    registry = Registry(settings.registry)
    answers = list(islice(logged_answers(settings.answers, definition.name, since), sample))
    if not answers:
        raise AnswerIsNo(
            f"no answer of {definition.name!r} was logged" + (f" since {since.isoformat()}" if since else ""),
            found=str(settings.answers / definition.name),
            do="have the server log a share of its answers: headrace serve --set serve.logged_share=0.01",
        )
    with shown("recomputing", len(answers), "answers") as advance:
        found = audit(Past(settings.lake, registry, definition), registry, definition, _told(answers, advance))
    path = write_audit(settings.reports / f"{definition.name}-answers.html", definition.name, found.to_json())
    keep(settings, definition.name, found.to_report(now()))
    show(as_json, {**found.to_json(), "report": str(path)}, lambda: fields({**found.to_json(), "report": str(path)}))
    return 0 if found.equal else 1


def _told(answers: Iterable[Logged], advance: Callable[[int], None]) -> Iterator[Logged]:
    for answer in answers:
        yield answer
        advance(1)


def source_of(definition: Definition, named: Path | None, settings: Settings) -> tuple[Path | None, str]:
    """What to land and what to know of it: --input, else the definition's known history; None: the lake as it is."""
    from headrace.schemas.lake import events_path
    from headrace.sources.online_retail import find

    history = definition.source.history
    if named is None and history is not None and history.name == "tickit":
        from headrace.sources.tickit import staged

        return staged(settings)
    if named is None and (history is None or history.name != "online_retail"):
        return None, ""
    found = find(named, settings)
    landed = events_path(settings.lake, definition.source.name) / "_delta_log"
    if found.origin == "generated" and any(landed.glob("*.json")):
        return None, "NO INPUT WAS NAMED OR FOUND: THE EVENTS THAT LANDED IN THE LAKE BEFORE ARE USED AS THEY ARE"
    return found.path, found.note


def _ingest_json(landed: IngestReport) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(landed)


def _ingest_text(landed: IngestReport) -> str:
    head = "already in the lake" if landed.already_landed else "landed"
    lines = [f"{head}: {landed.landed:,} of {landed.rows_read:,} rows of {landed.source}"]
    lines += [f"quarantined {rows:,}: {reason}" for reason, rows in landed.quarantined_by_reason.items()]
    return "\n".join(lines)
