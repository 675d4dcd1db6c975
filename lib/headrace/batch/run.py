"""The main job: ingest, train, publish, promote, report; every step resumes where an earlier run stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from headrace.batch.ingest import IngestReport, ingest
from headrace.batch.promote import require_passed
from headrace.batch.publish import PublishReport, publish
from headrace.batch.train import Trained, train
from headrace.config import Settings
from headrace.definitions import Definition
from headrace.errors import InputError, RegistryError
from headrace.evaluate.gate import Verdict
from headrace.local.endpoints import store_endpoint
from headrace.registry import Generation, Manifest, Registry
from headrace.stores import open_store
from headrace.stores.port import Champion, Store

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Ran:
    """What one run did."""

    ingested: IngestReport | None
    trained: Trained
    published: PublishReport
    before: Champion
    after: Champion
    seconds: dict[str, float]


def run(
    spark: SparkSession,
    settings: Settings,
    definition: Definition,
    source: Path | None,
    *,
    owner: str,
    say: Say,
    promote: Callable[[Store, int], Champion],
    replace: bool = False,
    disjoint: bool = False,
    retrain: bool = False,
    force: bool = False,
) -> Ran:
    """Land `source` (None: what is in the lake already), train, publish and promote.

    The serving store must answer before any work begins. promote: makes a published generation the champion.
    retrain: make a new generation although one with the fingerprint of this run is there. force: publish and promote
    one that fails its gate. Raises GateRefused otherwise; nothing of it is published then.
    """
    seconds: dict[str, float] = {}
    endpoint = store_endpoint(settings)
    store = open_store(settings.store, endpoint)
    try:
        if settings.store.create_table:
            store.prepare()
        before = store.champion(definition.name)
        ingested = None
        if source is not None:
            with _timed(seconds, "ingest", say):
                ingested = ingest(
                    spark, settings, definition, source, now=datetime.now(UTC), replace=replace, disjoint=disjoint
                )
        with _timed(seconds, "train", say):
            base = usable(settings, definition.name, before.generation)
            trained = train_next(spark, settings, definition, store, now=datetime.now(UTC), base=base, retrain=retrain)
        generation = trained.generation.manifest.generation
        if generation != before.generation:
            _through_gate(trained.generation.manifest, say, force=force)
        with _timed(seconds, "publish", say):
            published = publish_on_base(
                spark, settings, trained.generation, owner=owner, endpoint=endpoint, say=say, base=base
            )
        with _timed(seconds, "promote", say):
            after = promote(store, generation)
    finally:
        store.close()
    return Ran(ingested, trained, published, before, after, seconds)


def _through_gate(manifest: Manifest, say: Say, *, force: bool) -> None:
    if manifest.gate is None:
        return
    verdict = Verdict.of(manifest.gate)
    if not force:
        require_passed(
            manifest.definition,
            manifest.generation,
            verdict,
            do="it is sealed, not published, and the champion stays; to serve it all the same, run again with --force",
        )
    say(f"gate: {verdict.text}" + ("; served all the same" if verdict.fails_by else ""))


def train_next(
    spark: SparkSession,
    settings: Settings,
    definition: Definition,
    store: Store,
    *,
    now: datetime,
    base: Generation | None,
    retrain: bool = True,
) -> Trained:
    """Train on top of the champion's files, with a number above every one the registry and the table have seen."""
    champion = store.champion(definition.name)
    return train(
        spark,
        settings,
        definition,
        now=now,
        base=base,
        above=max((entry.generation for entry in store.ledger(definition.name)), default=0),
        reusable=frozenset() if retrain else reusable_generations(settings, definition.name, store, champion),
    )


def usable(settings: Settings, name: str, generation: int | None) -> Generation | None:
    """A generation's sealed files as a base, or None where this registry does not have them whole."""
    if not generation:
        return None
    try:
        return Registry(settings.registry).load(name, generation)
    except RegistryError as error:
        log.warning("generation %d is not usable as a base, so the publication is in full: %s", generation, error)
        return None


def reusable_generations(settings: Settings, name: str, store: Store, champion: Champion) -> frozenset[int]:
    """Sealed generations an interrupted run may take up: the champion, and newer ones never promoted."""
    once_promoted = {g for g in champion.previous if g > champion.generation}
    marked = {e.generation for e in store.ledger(name) if e.status in ("abandoned", "closed")}
    sealed = Registry(settings.registry).sealed(name)
    return frozenset(g for g in sealed if g >= champion.generation and g not in once_promoted | marked)


def publish_on_base(
    spark: SparkSession,
    settings: Settings,
    generation: Generation,
    *,
    owner: str,
    endpoint: str | None,
    say: Say,
    base: Generation | None = None,
) -> PublishReport:
    """Publish a generation against the base its manifest names: `base` if it is that, else from this registry."""
    manifest = generation.manifest
    if manifest.base is None or base is None or base.manifest.generation != manifest.base:
        base = usable(settings, manifest.definition, manifest.base)
    return publish(
        spark,
        settings.store,
        endpoint,
        generation,
        base,
        owner=owner,
        now=datetime.now(UTC),
        settings=settings.publish,
        say=say,
    )


def named_input(definition: Definition, found: Path | None) -> Path:
    """The input to land, or InputError saying how to name one."""
    if found is None:
        raise InputError(
            f"definition {definition.name!r} has no input of its own",
            do=f"name one: headrace ingest {definition.name} --input FILE",
        )
    return found


def standing(settings: Settings, name: str, store: Store) -> list[dict[str, Any]]:
    """One row a generation, oldest first: what the registry and the table's ledger say of it."""
    registry = Registry(settings.registry)
    champion = store.champion(name)
    ledger = {entry.generation: entry for entry in store.ledger(name)}
    sealed = {g: registry.peek(name, g) for g in registry.sealed(name)}
    return [
        {
            "generation": g,
            "registry": "sealed" if g in sealed else None,
            "store": ledger[g].status if g in ledger else None,
            "champion": _alias(champion, g),
            "entities": sealed[g].entities if g in sealed else None,
            "created_at": sealed[g].created_at.isoformat(timespec="seconds") if g in sealed else None,
        }
        for g in sorted({*sealed, *ledger})
    ]


def _alias(champion: Champion, generation: int) -> str | None:
    if generation == champion.generation:
        return "champion"
    if generation == champion.challenger:
        return "challenger"
    return "former" if generation in champion.previous else None


@contextmanager
def _timed(seconds: dict[str, float], step: str, say: Say) -> Iterator[None]:
    say(step)
    start = perf_counter()
    yield
    seconds[step] = round(perf_counter() - start, 3)
