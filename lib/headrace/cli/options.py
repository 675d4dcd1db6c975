"""Options that every command shares."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import click

from headrace.cli.output import log_lines

F = TypeVar("F", bound=Callable[..., Any])

definition_argument = click.argument("definition", metavar="DEFINITION")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
generation_option = click.option(
    "--generation", "-g", type=click.IntRange(1), metavar="N", help="Which generation [default: the newest sealed]."
)
force_option = click.option(
    "--force", is_flag=True, help="Promote although the generation fails its gate; says by how much."
)


def with_settings(command: F) -> F:
    """Add --env, --set and -v to a command and pass it `settings`."""

    @click.option("--env", metavar="NAME", help="Environment whose settings apply [default: $HEADRACE_ENV or local].")
    @click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Override one setting; repeatable.")
    @click.option("-v", "--verbose", is_flag=True, help="Log what is done, in detail.")
    @functools.wraps(command)
    def wrapped(*args: Any, env: str | None, assignments: tuple[str, ...], verbose: bool, **kwargs: Any) -> Any:
        from headrace import config
        from headrace.speed import journal

        logging.basicConfig(
            level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        logging.getLogger("py4j").setLevel(logging.WARNING)
        # These clients tell every attempt to reach who is gone; what comes of it is told by our own error.
        for client in ("kafka", "cassandra"):
            logging.getLogger(client).setLevel(logging.WARNING if verbose else logging.CRITICAL)
        settings = config.load(assignments, env)
        log_lines(journal.NAME, logging.INFO if verbose else settings.stream.log_level.upper())
        return command(*args, settings=settings, **kwargs)

    return wrapped  # type: ignore[return-value]


class Instant(click.ParamType["datetime"]):
    """An instant in ISO 8601; one without a time zone is refused, since it could be anybody's."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no instant; expected ISO 8601, such as 2026-01-31T09:30:00Z", param, ctx)
        if instant.tzinfo is None:
            self.fail(f"{value!r} has no time zone; did you mean {instant.isoformat() + 'Z'!r}?", param, ctx)
        return instant


INSTANT = Instant()
