"""`headrace lookup`, `headrace predict` and `headrace serve`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from headrace.cli.opening import load, name_of, now, open_prepared, opened_store
from headrace.cli.options import INSTANT, with_settings
from headrace.cli.output import log_lines
from headrace.errors import InputError

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.serving.merge import Answer


@click.command()
@click.argument("definition")
@click.argument("entity")
@click.option("--as-of", type=INSTANT, metavar="T", help="What was answered at a past instant, ISO 8601 with its zone.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as one JSON object.")
@with_settings
def lookup(settings: Settings, definition: str, entity: str, as_of: datetime | None, as_json: bool) -> None:
    """Answer one key of DEFINITION from the serving store; exit 1 when ENTITY is unknown.

    With --as-of the answer is recomputed from the lake, as `headrace index` left it; DEFINITION's code must be here.
    """
    found = _now(settings, definition, entity) if as_of is None else _then(settings, definition, entity, as_of)
    if as_json:
        click.echo(json.dumps(found.to_json()))
    else:
        _show(found)


def _now(settings: Settings, definition: str, entity: str) -> Answer:
    from headrace.serving.lookup import Lookups

    with opened_store(settings) as store:
        return Lookups(store, 0, now).one(name_of(definition), entity)


def _then(settings: Settings, definition: str, entity: str, as_of: datetime) -> Answer:
    from headrace.registry import Registry
    from headrace.serving.lookup import past
    from headrace.serving.past import Past

    then = past(as_of, now())
    return Past(settings.lake, Registry(settings.registry), load(definition)).one(entity, then)


@click.command()
@click.argument("definition")
@click.argument("records", type=click.File("rb"), default="-", metavar="[FILE]")
@click.option("--fitted", is_flag=True, help="Score with the generation's own parameters, not the live ones.")
@with_settings
def predict(settings: Settings, definition: str, records: BinaryIO, fitted: bool) -> None:
    """Score records by the learner of DEFINITION's champion.

    FILE holds one JSON object a line with the learner's inputs, `-` (the default) is standard input. One JSON object
    a record goes to standard output, {"quarantined": reason} for one that the learner's rule for unseen categories
    sets aside; what the parameters count goes to standard error. A wrong record ends it, with exit code 2, in the
    thousand records that it is in.
    """
    from headrace.serving.lookup import MAX_RECORDS, Lookups

    name = name_of(definition)
    with opened_store(settings) as store:
        scorer = Lookups(store, 0, now).scorer(name, live=not fitted)
    asked = _records(records)
    while some := list(islice(asked, MAX_RECORDS)):
        done = scorer.predict(some, now=now())
        for number, prediction in enumerate(done.predictions):
            click.echo(json.dumps({"quarantined": done.quarantined[number]} if prediction is None else prediction))
    counted = json.dumps(scorer.vector.to_json())
    click.echo(f"generation {scorer.served.generation.number}, parameters count up to {counted}", err=True)


@click.command()
@click.option("--host", help="Address to listen on [default: the setting serve.host].")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@with_settings
def serve(settings: Settings, host: str | None, port: int | None) -> None:
    """Serve look-ups over HTTP until stopped; needs no Java."""
    from headrace.serving.server import address, bind
    from headrace.serving.tls import tls_of

    token, tls = _secret(settings), tls_of(settings.serve)
    listening = bind(host or settings.serve.host, settings.serve.port if port is None else port)
    try:
        from headrace.serving.api import create_app
        from headrace.serving.opening import OpeningStore
        from headrace.serving.server import serve as run

        log_lines("headrace.access", logging.INFO)
        store = OpeningStore(lambda: open_prepared(settings))
        app = create_app(settings, store, now, token)
        _announce(settings, address(listening, tls=tls is not None), listening.getsockname()[0])
        try:
            run(app, listening, tls)
        finally:
            store.close()
    finally:
        listening.close()


def _secret(settings: Settings) -> str | None:
    """The token of the environment, which a file of tokens makes optional."""
    from headrace import config

    wanted = settings.serve
    if not wanted.require_token or (wanted.token_file and not config.is_set(wanted.token_secret)):
        return None
    return config.secret(wanted.token_secret)


def _announce(settings: Settings, url: str, host: str) -> None:
    header = f' -H "Authorization: Bearer ${settings.serve.token_secret}"' if settings.serve.require_token else ""
    click.echo(f"serving on {url}", err=True)
    click.echo(f"  try: curl{header} {url}/v1/predictions/segments/17850", err=True)
    click.echo(f"  console: {url}/", err=True)
    if not header and host not in ("127.0.0.1", "::1"):
        click.echo("  warning: no token is required and other machines can reach this address", err=True)


def _records(lines: BinaryIO) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(f"line {number} is not JSON", found=error) from error
        if not isinstance(record, dict):
            raise InputError(f"line {number} is no record", found=type(record).__name__, expected="a JSON object")
        yield record


def _show(found: Answer) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{found.definition} / {found.entity}"), show_header=False, title_justify="left")
    table.add_column(style="dim")
    table.add_column()
    table.add_column()
    for kind, values in (("prediction", found.prediction), ("feature", found.features)):
        for name, value in values.items():
            table.add_row(kind, Text(name), Text(_shown(value)))
        table.add_section()
    table.add_row("answer", "generation", Text(str(found.generation)))
    table.add_row("answer", "as of", Text(f"{found.as_of:%Y-%m-%d %H:%M:%S} UTC"))
    table.add_row("answer", "age", Text(_age(found.age_s) + (" (stale)" if found.stale else "")))
    Console().print(table)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _age(seconds: float) -> str:
    """Two units are enough for a person."""
    minutes, s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (s, "s")]
    first = next((i for i, (n, _) in enumerate(parts) if n), 3)
    return " ".join(f"{n} {unit}" for n, unit in parts[first : first + 2])
