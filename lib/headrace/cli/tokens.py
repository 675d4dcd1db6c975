"""`headrace token`."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import click

from headrace.cli.opening import now
from headrace.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@click.group()
def token() -> None:
    """Make tokens for `headrace serve`."""


@token.command()
@click.option("--name", required=True, help="Who will use it; the access log and refusals name it.")
@click.option(
    "--scope", "scopes", multiple=True, metavar="SCOPE", help="read (the default), predict, console or metrics."
)
@click.option("--days", type=click.IntRange(1), metavar="N", help="For how many days it is valid [default: for ever].")
@click.option("--json", "as_json", is_flag=True, help="Print token and entry as one JSON object.")
def new(name: str, scopes: tuple[str, ...], days: int | None, as_json: bool) -> None:
    """Make a token: it goes to standard error, once; its entry for the file serve.token_file to standard output.

    So `headrace token new --name ci --scope read >> tokens.toml` adds it; a running server follows within a second.
    """
    from headrace.errors import nearest
    from headrace.serving.tokens import SCOPES, Grant, entry_text, new_token

    for scope in scopes:
        if scope not in SCOPES:
            raise InputError(
                "there is no such scope",
                found=repr(scope),
                expected=f"one of {list(SCOPES)}",
                nearest=nearest(scope, SCOPES),
            )
    if not _NAME.fullmatch(name):
        raise InputError("a token's name is not usable", found=repr(name), expected="1 to 64 letters, digits or . _ -")
    made, sha256 = new_token()
    ends = now() + timedelta(days=days) if days is not None else None
    entry = entry_text(Grant(name, frozenset(scopes or ("read",)), ends), sha256)
    if as_json:
        click.echo(json.dumps({"token": made, "sha256": sha256, "entry": entry}))
        return
    click.echo(entry + "\n")
    click.echo(f"token {made}", err=True)
    click.echo("It is kept nowhere: hand it over now. The entry belongs into the file serve.token_file.", err=True)
