"""`headrace doctor | up | down | status`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from headrace.cli.options import with_settings
from headrace.cli.standing import show_streams
from headrace.config import Settings
from headrace.errors import AnswerIsNo

if TYPE_CHECKING:
    from headrace.local.engines import EngineStatus


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of the findings.")
@with_settings
def doctor(settings: Settings, as_json: bool) -> None:
    """Check Python, Java, jars, engines, ports, memory, disk and credentials, and say how to mend each.

    Exits 1 when a check fails; warnings do not count.
    """
    from headrace.local.doctor import FAIL, OK, examine

    findings = examine(settings)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.check) for finding in findings)
        colours = {OK: "green", FAIL: "red"}
        for finding in findings:
            result = click.style(f"{finding.result:4}", fg=colours.get(finding.result, "yellow"))
            click.echo(f"{result}  {finding.check:{width}}  {finding.found}")
            if finding.mend and finding.result != OK:
                click.echo(f"{'':6}{'':{width}}  -> {finding.mend}")
    failed = [finding.check for finding in findings if finding.result == FAIL]
    if failed:
        raise AnswerIsNo(f"{len(failed)} of {len(findings)} checks fail", found=", ".join(failed))


@click.command()
@click.argument("engines", nargs=-1, metavar="[ENGINE ...]")
@with_settings
def up(settings: Settings, engines: tuple[str, ...]) -> None:
    """Start local engines (default: dynamodb and kafka; there are cassandra, s3, kinesis and postgres, too).

    It waits until they answer; what answers already is left alone. Their data survives `headrace down`, but for the
    streams of kinesis.
    """
    from headrace.local import engines as local

    names = [engine.name for engine in local.named(engines or local.DEFAULT)]
    click.echo(f"starting {', '.join(names)}", err=True)
    _show(local.up(names, settings))


@click.command()
@click.argument("engines", nargs=-1, metavar="[ENGINE ...]")
@with_settings
def down(settings: Settings, engines: tuple[str, ...]) -> None:
    """Stop the local engines this folder started (default: all of them); their data stays."""
    from headrace.local import engines as local

    _show(local.down(engines, settings))


@click.command()
@click.argument("engines", nargs=-1, metavar="[ENGINE ...]")
@click.option("--streams", is_flag=True, help="Show instead how streams and their drivers stand.")
@click.option("--watch", metavar="S", type=click.FloatRange(min=0.2), help="With --streams: again every S seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@with_settings
def status(settings: Settings, engines: tuple[str, ...], streams: bool, watch: float | None, as_json: bool) -> None:
    """Show the local engines: running, silent (does not answer), dead (gone without `down`) or stopped.

    With --streams, how far the stream of each generation is that one ever kept current, and what its drivers on this
    machine say: rows, quarantine, lag per partition, freshness, duration of batches, replays, hand-overs.
    """
    from headrace.local import engines as local

    if streams:
        show_streams(settings, watch, as_json=as_json)
        return
    found = local.status(settings, engines)
    if as_json:
        click.echo(json.dumps([asdict(engine) for engine in found], indent=2, default=str))
    else:
        _show(found)


def _show(engines: Sequence[EngineStatus]) -> None:
    for engine in engines:
        where = f"{engine.endpoint}  pid {engine.pid}  log {engine.log}" if engine.endpoint else str(engine.folder)
        click.echo(f"{engine.name:10} {engine.state:8} {where}")
