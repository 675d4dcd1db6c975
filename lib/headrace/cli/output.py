"""How commands speak: steps on stderr, the result on stdout, as text or as one JSON object."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click


def say_steps(as_json: bool) -> Callable[[str], None]:
    """Where steps are announced: stderr, so that stdout holds the result alone."""
    return (lambda _text: None) if as_json else (lambda text: click.echo(f"· {text}", err=True))


def log_lines(name: str, level: int | str) -> None:
    """What that logger is told from that level on goes to stderr as it is, without the prefix of other logs."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger(name)
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False


def show(as_json: bool, value: Any, text: Callable[[], Any]) -> None:
    """Print the result: as one JSON object, or as text or what rich draws.

    A plain text goes out as it is: what users name, such as a column `[/a]`, is no markup, and a path is not broken.
    """
    if as_json:
        click.echo(json.dumps(value, default=str))
        return
    told = text()
    if isinstance(told, str):
        click.echo(told)
        return
    from rich.console import Console

    Console().print(told, highlight=False)


def fields(values: dict[str, Any]) -> str:
    return "\n".join(f"{name:<12} {value}" for name, value in values.items() if value not in ([], None))


def table(rows: Sequence[Mapping[str, Any]], none: str) -> Any:
    """Rows of one shape as a table headed by their names; `none` where there is no row."""
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return none
    drawn = Table()
    for name in rows[0]:
        drawn.add_column(Text(name), overflow="fold")
    for row in rows:
        drawn.add_row(*(Text("" if value is None else str(value)) for value in row.values()))
    return drawn
