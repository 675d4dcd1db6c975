"""`headrace generate`: seeded sample data."""

from __future__ import annotations

from pathlib import Path

import click


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
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def purchases(*, customers: int, rows: int, seed: int, path: Path, force: bool) -> None:
    """Write purchases of an invented shop, with the columns and quirks of UCI Online Retail."""
    from headrace.errors import InputError
    from headrace.sources.progress import shown
    from headrace.sources.purchases import write_purchases

    if path.exists() and not force:
        raise InputError(f"{path} is there already", do="name another file, or replace it with --force")
    with shown("generating purchases", rows, "rows") as advance:
        write_purchases(path, customers, rows, seed, advance)
    click.echo(f"{path}: {rows:,} rows of {customers:,} customers, seed {seed}")
