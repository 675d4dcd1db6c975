"""Remove what no retained generation can reach, a job of its own, and close the numbers that cannot come back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from time import monotonic, sleep

from headrace.batch.lease import Clock, Heartbeat, Say, holding, owner_name
from headrace.errors import ChampionMoved
from headrace.registry.promotion import retained, superfluous, view
from headrace.stores.port import Champion, Store, WriteReport

log = logging.getLogger(__name__)
SEGMENTS = 4
_ATTEMPTS = 10
_ENTITIES = 500  # removed between two looks at the lease


@dataclass(frozen=True)
class PurgeReport:
    """What one purge did.

    scanned: entities seen. removed: versions removed. removed_speed: speed items removed. kept: generations that stay
    readable. closed: generations that can no longer become champion, as of this purge.
    """

    scanned: int
    removed: int
    removed_speed: int
    kept: tuple[int, ...]
    closed: tuple[int, ...]
    report: WriteReport
    seconds: float


def purge(
    store: Store,
    definition: str,
    *,
    window: int,
    now: datetime,
    owner: str | None = None,
    lease_s: float = 30.0,
    pointer_age_s: float = 0.0,
    say: Say = log.info,
) -> PurgeReport:
    """Keep what the champion, the challengers above it and the last `window` champions before it read; remove the rest.

    Holds the publisher's lease, so that no publication builds on a generation while it is closed. Readers see the
    same before, during and after: of one entity, a version that hides others goes with or after them.
    pointer_age_s: how old a reader's champion pointer may be; nothing is removed that one so old reads.
    Raises LeaseHeld while a publisher works.
    """
    started = monotonic()
    with holding(
        store, definition, owner or owner_name(), clock=Clock(now), ttl=timedelta(seconds=lease_s), say=say
    ) as heartbeat:
        kept, closed, views = _close(store, definition, window)
        say(f"purge of {definition}: keeping generations {list(kept)}, closing {list(closed)}")
        if closed:
            sleep(pointer_age_s)
        with ThreadPoolExecutor(SEGMENTS, thread_name_prefix="purge") as pool:
            slices = [pool.submit(_remove, store, definition, views, n, heartbeat) for n in range(SEGMENTS)]
            speed = [pool.submit(_remove_speed, store, definition, kept, n, heartbeat) for n in range(SEGMENTS)]
            for entry in store.ledger(definition):
                if entry.generation not in kept:
                    heartbeat.check()
                    store.remove_model(definition, entry.generation)
            done = [one.result() for one in slices]
            done_speed = [one.result() for one in speed]
    return PurgeReport(
        scanned=sum(scanned for scanned, _, _ in done),
        removed=sum(removed for _, removed, _ in done),
        removed_speed=sum(report.items for report in done_speed),
        kept=kept,
        closed=closed,
        report=sum((*(report for _, _, report in done), *done_speed), WriteReport()),
        seconds=round(monotonic() - started, 3),
    )


def _close(store: Store, definition: str, window: int) -> tuple[tuple[int, ...], tuple[int, ...], list[Champion]]:
    """Generations kept, generations closed now, and what readers of the kept ones see.

    Marks come first, then the champion's epoch, then (by the caller) removals: a promote or rollback that read
    the ledger before the marks fails on the epoch, and one that came before the epoch is seen here and kept.
    """
    for left in reversed(range(_ATTEMPTS)):
        champion = store.champion(definition)
        ledger = store.ledger(definition)
        kept = retained(champion, ledger, window)
        closing = [e.generation for e in ledger if e.generation not in kept and e.status != "closed"]
        for entry in ledger:
            if entry.generation in kept and entry.status == "closed":
                # Marked by an attempt that a promote overtook; nothing of it was removed.
                store.mark(definition, entry.generation, "sealed")
        for generation in closing:
            store.mark(definition, generation, "closed")
        within = tuple(g for g in champion.previous if g in kept)
        if closing or within != champion.previous:
            try:
                store.set_champion(
                    definition, champion.epoch, replace(champion, epoch=champion.epoch + 1, previous=within)
                )
            except ChampionMoved:
                if not left:
                    raise
                continue
        return tuple(sorted(kept)), tuple(closing), [view(ledger, g) for g in sorted(kept)]
    raise AssertionError("unreachable")


def _remove(
    store: Store, definition: str, views: list[Champion], segment: int, heartbeat: Heartbeat
) -> tuple[int, int, WriteReport]:
    """(entities scanned, versions removed, calls) of one slice of the keys."""
    scanned = removed = 0
    report = WriteReport()

    def found() -> Iterator[tuple[str, list[int]]]:
        nonlocal scanned, removed
        for entity, versions in store.scan(definition, segment, SEGMENTS):
            scanned += 1
            gone = superfluous(versions, views)
            removed += len(gone)
            if gone:
                yield entity, gone

    removals = found()
    while some := dict(islice(removals, _ENTITIES)):
        heartbeat.check()
        report += store.remove_versions(definition, some)
    return scanned, removed, report


def _remove_speed(
    store: Store, definition: str, kept: tuple[int, ...], segment: int, heartbeat: Heartbeat
) -> WriteReport:
    """Remove the speed items of generations that are not kept; those are closed, so nobody goes back to them."""
    report = WriteReport()
    gone = (key for key in store.speed_keys(definition, segment, SEGMENTS) if key[1] not in kept)
    while some := list(islice(gone, _ENTITIES)):
        heartbeat.check()
        report += store.remove_speed(definition, some)
    return report
