"""`headrace replay`: a file as a live stream."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.ending import ending
from headrace.cli.opening import load
from headrace.cli.options import json_option, with_settings
from headrace.cli.output import fields, say_steps, show
from headrace.config import Settings

if TYPE_CHECKING:
    from headrace.definitions import Definition
    from headrace.speed.replay import Replayed


def instant(text: str) -> datetime:
    """A time on the command line, in UTC unless it says otherwise."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no time; expected one such as 2011-11-01 or 2011-11-01T08:00") from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--to", "stream", required=True, metavar="STREAM", help="The stream, such as purchases.")
@click.option("--definition", metavar="DEFINITION", help="Whose stream it is [default: a built-in definition's].")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Rows a second [default: as fast as it goes]."
)
@click.option("--since", type=instant, metavar="TIME", help="Only events from this time on.")
@click.option("--until", type=instant, metavar="TIME", help="Only events before this time.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many of these rows.")
@click.option(
    "--partitions", type=click.IntRange(min=1), default=4, show_default=True, help="Of a topic that has to be created."
)
@json_option
@with_settings
def replay(
    settings: Settings,
    path: Path,
    stream: str,
    definition: str | None,
    rate: float | None,
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
    partitions: int,
    as_json: bool,
) -> None:
    """Send the rows of FILE (.csv or .json lines, also .gz) to a stream, as if they happened now.

    Every row is one JSON record with the entity as its key; its event time is kept. Run it again after Ctrl-C or a
    crash: no row is sent twice and none is lost, and a replay that is finished sends nothing.
    """
    from headrace.local.endpoints import kafka_bootstrap
    from headrace.sources.feeds import refuse_counted
    from headrace.sources.files import fingerprint
    from headrace.sources.kafka import Broker
    from headrace.speed.replay import Selection
    from headrace.speed.replay import replay as send

    found = definition_of(stream, definition)
    refuse_counted(settings, stream)
    file = fingerprint(path)
    ends = ending(say_steps(as_json), "waiting for the rows that are on their way", breaks_off=True)
    with Broker(settings.kafka, kafka_bootstrap(settings)) as broker, ends as stop:
        replayed = send(
            broker,
            found,
            file,
            settings.home / "replay",
            selection=Selection(since, until, limit),
            rate=rate,
            partitions=partitions,
            multiline=settings.ingest.multiline,
            stop=stop,
            progress=not as_json,
        )
    show(as_json, asdict(replayed), lambda: _text(replayed))
    if not replayed.is_complete:
        raise KeyboardInterrupt


def definition_of(stream: str, name: str | None) -> Definition:
    """The definition of that name, or the built-in one that reads the stream.

    Raises InputError when it reads another stream, or no built-in one reads this.
    """
    from headrace.definitions.load import BUILT_IN
    from headrace.errors import InputError, nearest

    known = [load(each) for each in ([name] if name else BUILT_IN)]
    found = next((each for each in known if each.source.name == stream), None)
    if found is None:
        streams = sorted({each.source.name for each in known})
        raise InputError(
            f"definition {name!r} does not read stream {stream!r}" if name else f"no built-in stream is {stream!r}",
            found=", ".join(streams),
            nearest=nearest(stream, streams),
            do=None if name else "name the definition that reads it with --definition file.py:name",
        )
    return found


def _text(replayed: Replayed) -> str:
    return fields(
        {
            "stream": f"{replayed.stream} ({replayed.partitions} partitions)",
            "topic id": replayed.incarnation,
            "file": f"{replayed.file}, SHA-256 {replayed.sha256[:12]}",
            "sent": f"{replayed.sent:,} rows in {replayed.seconds:,.1f} s",
            "sent before": f"{replayed.before:,} rows" if replayed.before else None,
            "unread": f"{replayed.unread:,} rows, for quarantine" if replayed.unread else None,
        }
    )
