"""How commands speak: steps on stderr, the result on stdout, as text or as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click


def say_steps(as_json: bool) -> Callable[[str], None]:
    """Where steps are announced: stderr, so that stdout holds the result alone."""
    return (lambda _text: None) if as_json else (lambda text: click.echo(f"· {text}", err=True))


def show(as_json: bool, value: dict[str, Any], text: Callable[[], Any]) -> None:
    if as_json:
        click.echo(json.dumps(value, default=str))
        return
    from rich.console import Console

    Console().print(text(), highlight=False)


def fields(values: dict[str, Any]) -> str:
    return "\n".join(f"{name:<12} {value}" for name, value in values.items() if value not in ([], None))
