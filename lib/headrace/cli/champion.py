"""Commands that move, compare or tidy what is served: promote, rollback, compare, purge, generations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.keeping import keep
from headrace.cli.opening import name_of, note_flip, now, opened_store, promoting
from headrace.cli.options import definition_argument, force_option, generation_option, json_option, with_settings
from headrace.cli.output import fields, say_steps, show, table
from headrace.config import Settings

if TYPE_CHECKING:
    from headrace.stores.port import Champion


_alias = click.option(
    "--as", "alias", type=click.Choice(["champion", "challenger"]), default="champion", help="Which alias [champion]."
)


@click.command()
@definition_argument
@generation_option
@_alias
@force_option
@json_option
@with_settings
def promote(
    settings: Settings, definition: str, generation: int | None, alias: str, force: bool, as_json: bool
) -> None:
    """Make a published generation of DEFINITION the champion, in one conditional write; exit 1 if it fails its gate.

    Where a stream keeps the champion current, it waits until the generation has counted all that the champion has.
    With --as challenger readers see nothing of it: purges keep it, the stream counts it, `headrace compare` tells how
    far it is from the champion, and no gate is asked.
    """
    from headrace.batch.promote import challenge, verdict_of

    name = name_of(definition)
    with opened_store(settings) as store:
        ledger = {entry.generation: entry for entry in store.ledger(name)}
        chosen = generation or max((g for g, entry in ledger.items() if entry.status == "sealed"), default=0)
        verdict = verdict_of(ledger.get(chosen))
        if alias == "challenger":
            champion = challenge(store, name, chosen)
        else:
            champion = promoting(settings, name, force=force)(store, chosen)
    if alias == "challenger":
        text = f"generation {chosen} challenges champion {champion.generation} of {name}"
        show(as_json, _told(champion), lambda: f"{text}; compare them with: headrace compare {name}")
        return
    text = f"generation {champion.generation} is the champion of {name}"
    gate = {}
    if verdict is not None:
        gate = {"gate": verdict.to_json()}
        text += f"\ngate: {verdict.text}" + ("; promoted all the same" if verdict.fails_by else "")
    _say_champion(as_json, champion, text, gate)


@click.command()
@definition_argument
@click.option(
    "--to", "generation", type=click.IntRange(1), metavar="N", help="Which former champion [default: the last one]."
)
@_alias
@click.option("--now", "at_once", is_flag=True, help="Do not wait for its stream; answers say stale until it is there.")
@json_option
@with_settings
def rollback(
    settings: Settings, definition: str, generation: int | None, alias: str, at_once: bool, as_json: bool
) -> None:
    """Go back to a former champion of DEFINITION, in one conditional write; --as challenger: name no challenger."""
    from headrace.batch.promote import challenge
    from headrace.speed.handover import Waiting
    from headrace.speed.handover import rollback as go_back

    name = name_of(definition)
    if alias == "challenger":
        with opened_store(settings) as store:
            champion = challenge(store, name, generation)
        shown = f"generation {generation} challenges" if generation else "nobody challenges"
        show(as_json, _told(champion), lambda: f"{shown} champion {champion.generation} of {name}")
        return
    waiting = None if at_once else Waiting(settings.stream.handover_s)
    with opened_store(settings) as store:
        champion = go_back(store, name, generation, now=now(), waiting=waiting)
        note_flip(settings, store, name, champion)
    _say_champion(as_json, champion, f"back to generation {champion.generation} of {name}")


def _told(champion: Champion) -> dict[str, Any]:
    return {
        "generation": champion.generation,
        "challenger": champion.challenger or None,
        "epoch": champion.epoch,
    }


def _say_champion(as_json: bool, champion: Champion, text: str, gate: Mapping[str, Any] | None = None) -> None:
    show(as_json, {**_told(champion), **(gate or {})}, lambda: text)


@click.command()
@definition_argument
@click.option(
    "--generation", "-g", type=click.IntRange(1), metavar="N", help="Which one to compare [default: the challenger]."
)
@click.option(
    "--sample", type=click.IntRange(1), default=10_000, show_default=True, metavar="N", help="At most so many entities."
)
@click.option("--all", "whole", is_flag=True, help="Every stored entity.")
@json_option
@with_settings
def compare(
    settings: Settings, definition: str, generation: int | None, sample: int, whole: bool, as_json: bool
) -> None:
    """Answer stored entities of DEFINITION by the challenger too, and tell how far it is from the champion; no Spark.

    Each side is asked at all that it has counted; how many positions they are apart is told. It changes nothing, and
    no difference is an error.
    """
    from headrace.report import write_comparison
    from headrace.serving.shadow import shadow
    from headrace.sources.progress import shown

    name = name_of(definition)
    with opened_store(settings) as store, shown("comparing", None if whole else sample, "entities") as advance:
        found = shadow(store, name, now=now(), generation=generation, sample=None if whole else sample, advance=advance)
    facts = found.to_json()
    path = settings.reports / f"{name}-{found.challenger:08d}-against-{found.champion:08d}.html"
    write_comparison(path, found.text, facts)
    keep(settings, name, found.to_report(now()))
    show(as_json, {**facts, "report": str(path)}, lambda: "\n".join([found.text, *_by_output(facts), f"report {path}"]))


def _by_output(facts: Mapping[str, Any]) -> list[str]:
    return [
        f"  {name}: {one['differing']:,} differ"
        + (f", by {one['gap']['p50']:g} at the median and {one['gap']['max']:g} at most" if "gap" in one else "")
        for name, one in facts["outputs"].items()
    ]


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
