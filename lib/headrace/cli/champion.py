"""Commands that move or tidy what is served: promote, rollback, purge, generations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.opening import name_of, note_flip, now, opened_store, promoting
from headrace.cli.options import definition_argument, force_option, generation_option, json_option, with_settings
from headrace.cli.output import fields, say_steps, show, table
from headrace.config import Settings

if TYPE_CHECKING:
    from headrace.stores.port import Champion


@click.command()
@definition_argument
@generation_option
@force_option
@json_option
@with_settings
def promote(settings: Settings, definition: str, generation: int | None, force: bool, as_json: bool) -> None:
    """Make a published generation of DEFINITION the champion, in one conditional write; exit 1 if it fails its gate.

    Where a stream keeps the champion current, it waits until the generation has counted all that the champion has.
    """
    from headrace.batch.promote import verdict_of

    name = name_of(definition)
    with opened_store(settings) as store:
        ledger = {entry.generation: entry for entry in store.ledger(name)}
        chosen = generation or max((g for g, entry in ledger.items() if entry.status == "sealed"), default=0)
        verdict = verdict_of(ledger.get(chosen))
        champion = promoting(settings, name, force=force)(store, chosen)
    text = f"generation {champion.generation} is the champion of {name}"
    gate = {}
    if verdict is not None:
        gate = {"gate": verdict.to_json()}
        text += f"\ngate: {verdict.text}" + ("; promoted all the same" if verdict.fails_by else "")
    _say_champion(as_json, champion, text, gate)


@click.command()
@definition_argument
@click.option("--to", "generation", type=int, metavar="N", help="Which former champion [default: the last one].")
@click.option("--now", "at_once", is_flag=True, help="Do not wait for its stream; answers say stale until it is there.")
@json_option
@with_settings
def rollback(settings: Settings, definition: str, generation: int | None, at_once: bool, as_json: bool) -> None:
    """Go back to a former champion of DEFINITION, in one conditional write."""
    from headrace.speed.handover import Waiting
    from headrace.speed.handover import rollback as go_back

    name = name_of(definition)
    waiting = None if at_once else Waiting(settings.stream.handover_s)
    with opened_store(settings) as store:
        champion = go_back(store, name, generation, now=now(), waiting=waiting)
        note_flip(settings, store, name, champion)
    _say_champion(as_json, champion, f"back to generation {champion.generation} of {name}")


def _say_champion(as_json: bool, champion: Champion, text: str, gate: Mapping[str, Any] | None = None) -> None:
    show(as_json, {"generation": champion.generation, "epoch": champion.epoch, **(gate or {})}, lambda: text)


@click.command()
@definition_argument
@json_option
@with_settings
def purge(settings: Settings, definition: str, as_json: bool) -> None:
    """Remove versions of DEFINITION that no champion, challenger or rollback can reach."""
    from headrace.batch.purge import purge as remove

    name = name_of(definition)
    with opened_store(settings) as store:
        purged = remove(
            store,
            name,
            window=settings.publish.rollback_window,
            now=now(),
            lease_s=settings.publish.lease_s,
            pointer_age_s=settings.serve.champion_cache_s,
            say=say_steps(as_json),
        )
    counts = dataclasses.asdict(purged)
    show(
        as_json,
        counts,
        lambda: fields({key: counts[key] for key in ("scanned", "removed", "removed_speed", "kept", "closed")}),
    )


@click.command()
@definition_argument
@json_option
@with_settings
def generations(settings: Settings, definition: str, as_json: bool) -> None:
    """List the generations of DEFINITION: sealed in the registry, and where each stands in the store."""
    from headrace.batch.run import standing

    name = name_of(definition)
    with opened_store(settings) as store:
        rows = standing(settings, name, store)
    show(as_json, {"definition": name, "generations": rows}, lambda: table(rows, f"{name} has no generation yet"))
