"""`headrace generate` and `headrace split`: files of events."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from headrace.cli.options import with_settings
from headrace.cli.replay import instant
from headrace.config import Settings


@click.group()
def generate() -> None:
    """Write seeded sample data with the quirks of the real file."""


@generate.command()
@click.option("--customers", type=click.IntRange(min=1), default=4_372, show_default=True, help="Distinct customers.")
@click.option("--rows", type=click.IntRange(min=1), default=541_909, show_default=True, help="Invoice lines.")
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True, help="Same seed, same bytes.")
@click.option(
    "--to",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Where to: FILE.csv, FILE.csv.gz or FILE.parquet.",
)
@click.option("--replace", is_flag=True, help="Replace a file that is there.")
def purchases(*, customers: int, rows: int, seed: int, path: Path, replace: bool) -> None:
    """Write purchases of an invented shop, with the columns and quirks of UCI Online Retail."""
    from headrace.errors import InputError
    from headrace.sources.progress import shown
    from headrace.sources.purchases import write_purchases

    if path.exists() and not replace:
        raise InputError(f"{path} is there already", do="name another file, or replace it with --replace")
    with shown("generating purchases", rows, "rows") as advance:
        write_purchases(path, customers, rows, seed, advance)
    click.echo(f"{path}: {rows:,} rows of {customers:,} customers, seed {seed}")


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--at", type=instant, metavar="TIME", required=True, help="The first event time of the second file.")
@click.option(
    "--before", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File of the events before it."
)
@click.option(
    "--after", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File of the events from it on."
)
@click.option("--definition", default="segments", show_default=True, metavar="DEFINITION", help="Whose columns it has.")
@click.option("--replace", is_flag=True, help="Replace files that are there.")
@with_settings
def split(
    settings: Settings, path: Path, at: datetime, before: Path, after: Path, definition: str, replace: bool
) -> None:
    """Cut FILE (.csv or .csv.gz) in two by event time; rows keep their bytes, and both files have the header.

    Rows whose time cannot be read go to the first file.
    """
    from headrace.cli.opening import load
    from headrace.sources.files import fingerprint
    from headrace.sources.rows import split as cut

    loaded = load(definition)
    parts = cut(
        fingerprint(path),
        loaded.source.schema,
        loaded.event_time,
        at,
        (before, after),
        multiline=settings.ingest.multiline,
        replace=replace,
    )
    click.echo(f"{before}: {parts.before:,} rows before {at:%Y-%m-%d %H:%M:%S %Z}")
    click.echo(f"{after}: {parts.after:,} rows from then on")
    if parts.unread:
        click.echo(f"{parts.unread:,} of the rows in {before} have no time that can be read", err=True)
