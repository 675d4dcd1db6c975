"""`headrace quarantine`: bad records, and their way back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.opening import load, now, opened_spark
from headrace.cli.options import definition_argument, json_option, with_settings
from headrace.cli.output import say_steps, show
from headrace.config import Settings

if TYPE_CHECKING:
    from rich.table import Table

_reason = click.option("--reason", metavar="KIND", help="Only records of this kind of fault, as `list` names it.")
_WIDTH = 60


@click.group()
def quarantine() -> None:
    """List quarantined records, or send them again."""


@quarantine.command("list")
@definition_argument
@_reason
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, metavar="N", help="Show N records.")
@json_option
@with_settings
def list_(settings: Settings, definition: str, reason: str | None, limit: int, as_json: bool) -> None:
    """Count the quarantined records of DEFINITION's stream by reason, and show the newest."""
    from headrace.sources.lake import quarantine_counts
    from headrace.speed.quarantine import records

    stream = load(definition).source.name
    with opened_spark(settings, f"quarantine {stream}", say_steps(as_json)) as spark:
        chosen = records(spark, settings.lake, stream, reason)
        newest = chosen.orderBy("seen_ts", "_partition", "_position", ascending=[False, True, True]).limit(limit)
        rows = [row.asDict() for row in newest.collect()]
        counts = {row["reason"]: row["rows"] for row in quarantine_counts(spark, settings.lake, stream).collect()}
    found = {
        "stream": stream,
        "rows": counts.get(reason, 0) if reason else sum(counts.values()),
        "by_reason": {kind: n for kind, n in counts.items() if reason in (None, kind)},
        "records": [_record(row) for row in rows],
    }
    show(as_json, found, lambda: _table(found))


@quarantine.command()
@definition_argument
@_reason
@click.option(
    "--repair",
    "file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help='JSON lines {"incarnation", "partition", "position", "value"}: send these values in place of the bad ones.',
)
@json_option
@with_settings
def replay(settings: Settings, definition: str, reason: str | None, file: Path | None, as_json: bool) -> None:
    """Send quarantined records of DEFINITION's stream to its topic again, as new records; each at most once.

    Without --repair they are sent as they are, which helps after the schema was mended. Records of files do not
    re-enter: mend the file and ingest it again.
    """
    from headrace.local.endpoints import kafka_bootstrap
    from headrace.sources.feeds import refuse_counted
    from headrace.speed.quarantine import repairs_of
    from headrace.speed.quarantine import replay as send_again

    stream = load(definition).source.name
    refuse_counted(settings, stream)
    repairs = repairs_of(file) if file is not None else None
    bootstrap = kafka_bootstrap(settings)
    with opened_spark(settings, f"quarantine {stream}", say_steps(as_json)) as spark:
        done = send_again(spark, settings, stream, bootstrap, clock=now, reason=reason, repairs=repairs)
    more = f", {done.before:,} had been sent before" if done.before else ""
    files = f"; {done.from_files:,} came from files: mend and ingest these again" if done.from_files else ""
    show(as_json, asdict(done), lambda: f"sent {done.sent:,} records to topic {stream}{more}{files}")


def _record(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "incarnation": row["_incarnation"],
        "partition": row["_partition"],
        "position": row["_position"],
        "reason": row["reason"],
        "source": row["source"],
        "raw": row["raw"],
        "seen_ts": row["seen_ts"].isoformat(),
        "sent_ts": row["sent_ts"].isoformat() if row["sent_ts"] else None,
    }


def _table(found: dict[str, Any]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    counts = ", ".join(f"{n:,} x {kind}" for kind, n in found["by_reason"].items()) or "nothing in quarantine"
    shown = Table("source", "partition", "position", "reason", "record", "sent again", title=escape(counts))
    for record in found["records"]:
        raw = record["raw"] or ""
        short = raw if len(raw) <= _WIDTH else raw[:_WIDTH] + "..."
        partition = record["partition"][:12]  # of a file, its SHA-256
        texts = (record["source"], partition, str(record["position"]), record["reason"], short, record["sent_ts"] or "")
        shown.add_row(*map(escape, texts))
    return shown
