"""What commands found out goes to the store too, where the console shows it."""

from __future__ import annotations

import click

from headrace.cli.opening import opened_store
from headrace.config import Settings
from headrace.errors import HeadraceError
from headrace.stores.reports import Report


def keep(settings: Settings, definition: str, report: Report) -> None:
    """Keep a report in the serving store; one that cannot be kept is said on stderr and stops nothing."""
    try:
        with opened_store(settings) as store:
            store.add_report(definition, report)
    except HeadraceError as error:
        click.echo(f"headrace: the console will not show this outcome: {error}", err=True)
