"""`headrace datasource`: what the columns of a file are, in a file to edit, and their statistics on a page."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from headrace.cli.opening import opened_spark
from headrace.cli.options import json_option, with_settings
from headrace.cli.output import fields, say_steps, show
from headrace.config import Settings


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--target", metavar="NAME", help="The column to tell; it may be left out once the file says so.")
@click.option("--schema", type=click.Path(path_type=Path, dir_okay=False), help="The file [default: FILE.toml beside].")
@click.option(
    "--definition",
    "out",
    metavar="OUT.py",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draft a definition that tells the target, for you to edit; with --entity and --event-time.",
)
@click.option("--entity", metavar="NAME", help="With --definition: the column whose values are the keys.")
@click.option("--event-time", metavar="NAME", help="With --definition: the column of times that orders the events.")
@click.option(
    "--query",
    metavar="QUERY.sql",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Ask this query of the warehouse that sales.source names first; its rows become FILE (.parquet).",
)
@click.option("--replace", is_flag=True, help="Overwrite OUT.py of --definition, and FILE of --query.")
@json_option
@with_settings
def datasource(
    settings: Settings,
    path: Path,
    target: str | None,
    schema: Path | None,
    out: Path | None,
    entity: str | None,
    event_time: str | None,
    query: Path | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Tell what the columns of FILE (.parquet, .csv or .csv.gz, .json lines) are, and their statistics.

    The schema is written as TOML the first time, and read from then on, as you may have edited it. With --definition,
    a Python file is drafted from it, which `headrace run OUT.py:NAME --input FILE` trains. With --query, FILE is made
    of what a warehouse answers.
    """
    from headrace.batch.datasource import asked, described, require_writable, written_definition
    from headrace.report import write_statistics

    if out is not None:
        require_writable(out, replace=replace)
    elif entity or event_time:
        raise click.UsageError("--entity and --event-time go with --definition")
    elif replace and query is None:
        raise click.UsageError("--replace goes with --definition or --query")
    if query is not None:
        asked(settings, query, path, replace=replace)
    file = schema or path.with_name(f"{path.name}.toml")
    with opened_spark(settings, f"datasource {path.name}", say_steps(as_json)) as spark:
        source, columns = described(spark, path, file, target)
    page = write_statistics(
        settings.reports / f"{path.stem}-datasource.html", path.name, source.target, source.learner, columns
    )
    kinds = {one.name: one.kind for one in source.columns}
    told = {"target": source.target, "learner": source.learner, "schema": str(file), "report": str(page)}
    if out is not None:
        made = written_definition(out, path, source, columns, entity=entity, event_time=event_time, replace=replace)
        told |= {"definition": made, "next": f"headrace run {shlex.quote(made)} --input {shlex.quote(str(path))}"}
    show(as_json, {**told, "columns": columns}, lambda: fields({**told, **kinds}))
