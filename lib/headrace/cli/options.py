"""Options that every command shares."""

from __future__ import annotations

import errno
import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from headrace.cli.output import log_lines

log = logging.getLogger(__name__)
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
        with named_paths():
            return command(*args, settings=settings, **kwargs)

    return wrapped  # type: ignore[return-value]


@contextmanager
def named_paths() -> Iterator[None]:
    """Name the file or folder that cannot be read or written: StartAgain for a full disk, else InputError.

    Where nobody nearer to it does. What is said of no path passes.
    """
    from headrace.errors import InputError, StartAgain

    try:
        yield
    except OSError as error:
        if not isinstance(error.filename, str | Path):
            raise
        log.info("what cannot be used was asked for here", exc_info=True)
        what = f"{error.filename} cannot be used"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StartAgain(what, found=error.strerror, do="free some space, then run again") from error
        raise InputError(what, found=error.strerror, do="name another place, or mend who may use it") from error


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
