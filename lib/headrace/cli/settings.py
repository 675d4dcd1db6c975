"""`headrace config`."""

from __future__ import annotations

import json

import click

from headrace.cli.options import with_settings
from headrace.config import Settings, redacted


@click.command()
@with_settings
def config(settings: Settings) -> None:
    """Print the settings in force as JSON; they hold names of secrets, never values."""
    click.echo(json.dumps(redacted(settings), indent=2))
