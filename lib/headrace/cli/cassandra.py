"""`headrace load | explore | cleanup`, and the history of a definition from Cassandra."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.opening import now, opened_spark
from headrace.cli.options import json_option, with_settings
from headrace.cli.output import say_steps, show
from headrace.config import Settings
from headrace.errors import AnswerIsNo, InputError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from headrace.batch.loading import LoadReport
    from headrace.batch.outcome import Outcome
    from headrace.batch.table_source import Landing
    from headrace.definitions import Definition
    from headrace.schemas import Schema
    from headrace.sources.cassandra import Cassandra, TableInfo

_DELTA = ("delta",)


@dataclass
class TableHistory:
    """A definition's history in Cassandra, connected to and found fit before Spark is started."""

    settings: Settings
    definition: Definition
    cassandra: Cassandra
    table: TableInfo
    refresh: bool
    landed: Landing | None = None

    def land(self, spark: SparkSession, say: Callable[[str], None]) -> Landing:
        """The snapshot to land, read now where there is none."""
        from headrace.batch.table_source import landing

        self.landed = landing(spark, self.settings, self.definition, self.table, refresh=self.refresh, now=now())
        say(self.landed.note)
        return self.landed

    def write_back(self, outcome: Outcome) -> dict[str, Any]:
        """Write the sizes of a run's clusters, where it has clusters; what to say of it."""
        from headrace.batch.table_source import write_back

        facts = outcome.facts
        sizes = next((category.counts for category in facts.categories if category.name == "cluster"), {})
        if not sizes or facts.created_at is None:
            return {}
        made_at = datetime.fromisoformat(facts.created_at)
        run_id = f"{facts.definition}-{facts.generation:08d}-{made_at:%Y%m%dT%H%M%SZ}"
        counts = {int(cluster): customers for cluster, customers in sizes.items()}
        table = write_back(self.settings, self.cassandra, run_id, made_at, counts, now=now())
        return {"results": {"table": table, "run_id": run_id, "rows": len(counts)}}


@contextmanager
def table_history(
    settings: Settings, definition: Definition, path: Path | None, *, refresh: bool
) -> Iterator[TableHistory | None]:
    """The history in Cassandra where the settings say so and no file is named; else None.

    Raises, before anything is begun, for a table that is missing, empty or has other columns.
    """
    if settings.source != "cassandra" or path is not None:
        if refresh:
            raise click.UsageError("--refresh goes with --set source=cassandra and without --input")
        yield None
        return
    from headrace.batch.table_source import checked_table
    from headrace.sources.cassandra import connected

    with connected(settings) as cassandra:
        yield TableHistory(settings, definition, cassandra, checked_table(settings, cassandra, definition), refresh)


def jars_of(table: TableHistory | None) -> tuple[str, ...]:
    """The jars that a session needs to land that history."""
    return _jars(table.settings) if table else _DELTA


def _jars(settings: Settings) -> tuple[str, ...]:
    signing = ("keyspaces-source",) if settings.cassandra.auth == "sigv4" else ()
    return (*_DELTA, "cassandra-source", *signing)


@click.command()
@click.argument("name", metavar="TABLE")
@click.option(
    "--input", "path", type=click.Path(path_type=Path), help="File of rows [default: the published one, as for `run`]."
)
@click.option(
    "--to", "target", type=click.Choice(["cassandra"]), default="cassandra", show_default=True, help="Where to."
)
@json_option
@with_settings
def load(settings: Settings, name: str, path: Path | None, as_json: bool, **_: str) -> None:
    """Load a file into TABLE (online_retail) of Cassandra or Amazon Keyspaces, and count its rows there.

    The table is made where there is none. A load that was stopped, even by kill -9, goes on where it stopped: run it
    again. A table that holds other rows is refused.
    """
    from headrace.batch.loading import layout_of, load_file
    from headrace.sources.cassandra import connected
    from headrace.sources.files import fingerprint
    from headrace.sources.online_retail import find
    from headrace.sources.progress import shown

    layout_of(name)
    found = find(path, settings)
    rows = fingerprint(found.path).lines or None
    say = say_steps(as_json)
    with connected(settings) as cassandra, opened_spark(settings, f"load {name}", say, _jars(settings)) as spark:
        text = f"loading {settings.cassandra.keyspace}.{name}"
        with shown(text, rows, "rows", wanted=not as_json) as advance:
            done = load_file(spark, settings, cassandra, name, found.path, now=now(), advance=advance)
    show(as_json, {**asdict(done), "note": found.note}, lambda: _load_text(done, found.note))


def _load_text(done: LoadReport, note: str) -> str:
    lines = [f"{done.table}: {done.in_table:,} rows, as many as {done.source} has"]
    if done.resumed:
        lines.append(f"{done.resumed:,} of them had been written by an earlier load")
    lines += [f"not loaded {rows:,}: {reason}" for reason, rows in done.quarantined_by_reason.items()]
    return "\n".join([*lines, *([note] if note else [])])


@click.command()
@click.argument("name", metavar="TABLE")
@click.option("--input", "path", type=click.Path(path_type=Path), help="File of rows instead of the table.")
@click.option("--refresh", is_flag=True, help="With source=cassandra: read the table anew.")
@json_option
@with_settings
def explore(settings: Settings, name: str, path: Path | None, refresh: bool, as_json: bool) -> None:
    """Write a page about TABLE (online_retail): counts, nulls, distinct values, totals, returns, quantiles.

    With --set source=cassandra it looks at the snapshot of the table in the lake, and takes one where there is none;
    else at the file that `run` would take.
    """
    from headrace.batch.exploring import explore as look_through
    from headrace.batch.loading import layout_of
    from headrace.report.exploration import write_exploration

    layout = layout_of(name)
    say = say_steps(as_json)
    with _rows_of(settings, name, layout.schema, path, say, refresh=refresh) as (rows, note):
        facts = look_through(rows.select(*layout.schema.names), name, note)
    page = write_exploration(settings.reports / f"{name}-explored.html", facts)
    told = f"{facts.rows:,} rows, {facts.distinct_rows:,} of them distinct; {facts.return_lines:,} lines are returns"
    show(as_json, {**asdict(facts), "report": str(page)}, lambda: f"{name}: {told}\nreport: {page}")


@contextmanager
def _rows_of(
    settings: Settings, name: str, schema: Schema, path: Path | None, say: Callable[[str], None], *, refresh: bool
) -> Iterator[tuple[DataFrame, str]]:
    """The rows to look through, and where they are from."""
    from headrace.sources.files import fingerprint, read_events, spark_path
    from headrace.sources.online_retail import find

    if settings.source != "cassandra" or path is not None:
        found = find(path, settings)
        with (
            opened_spark(settings, f"explore {name}", say) as spark,
            read_events(spark, fingerprint(found.path), schema, "invoice_date", arrival_ts=now()) as decoded,
        ):
            yield decoded.events, found.note or found.path.name
        return
    from headrace.batch.table_source import kept_snapshot, readable_table, take_snapshot
    from headrace.schemas.lake import table_snapshot_path
    from headrace.sources.cassandra import connected

    full_name = f"{settings.cassandra.keyspace}.{name}"
    held = None if refresh else kept_snapshot(settings, full_name)
    with ExitStack() as opened:
        if held is None:
            cassandra = opened.enter_context(connected(settings))
            table = readable_table(settings, cassandra, name, schema)
        spark = opened.enter_context(opened_spark(settings, f"explore {name}", say, _jars(settings)))
        held = held or take_snapshot(spark, settings, table, schema, now=now())
        file = table_snapshot_path(settings.lake, full_name) / held.file
        yield spark.read.parquet(spark_path(file)), f"{full_name} as it was read at {held.read_at:%Y-%m-%d %H:%M:%SZ}"


@click.command()
@click.option("--yes", is_flag=True, help="Drop without asking.")
@json_option
@with_settings
def cleanup(settings: Settings, yes: bool, as_json: bool) -> None:
    """List what headrace made in Cassandra and the snapshots it took, and drop it after confirmation.

    Nothing else is dropped: neither a table of the same name that somebody else made since, nor a keyspace that holds
    other tables. With --json and without --yes it only lists.
    """
    from headrace.batch.cleaning import drop, needs_cassandra, planned
    from headrace.sources.cassandra import connected

    with ExitStack() as opened:
        cassandra = opened.enter_context(connected(settings)) if needs_cassandra(settings) else None
        steps = planned(settings, cassandra)
        going = [step for step in steps if step.drops]
        if not as_json:
            for step in steps:
                click.echo(f"{'drop' if step.drops else 'keep'}  {step.text}")
        if going and not yes and not as_json:
            if not sys.stdin.isatty():
                raise InputError("nothing was dropped: there is no terminal to confirm it at", do="give --yes")
            if not click.confirm(f"drop {len(going)} of {len(steps)}?", err=True):
                raise AnswerIsNo("nothing was dropped")
        dropped = going if yes or not as_json else []
        for step in dropped:
            drop(settings, cassandra, step)
    said = [{**asdict(step.made), "drops": step.drops, "why": step.why} for step in steps]
    if as_json or not steps:
        show(as_json, {"found": said, "dropped": len(dropped)}, lambda: "nothing was made that is not dropped yet")
