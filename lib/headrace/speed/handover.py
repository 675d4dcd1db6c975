"""The barrier between generations: readers move to a generation only when it has counted what they saw before."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from headrace.batch import promote as champion_of
from headrace.errors import CannotCatchUp
from headrace.schemas import Vector
from headrace.speed import journal
from headrace.stores.port import Champion, LedgerEntry, Store

_POLL_S = 0.1
_FLIP_S = 30.0
HANDED = "handed over to generation"  # the owner of a progress item whose generation is not to be counted, and until
_SINCE = " since "  # when that was asked for
_UNTIL = " until "  # when that is to hold if no one else becomes champion, since whoever handed over may have died
WANTED = ""  # the owner of a progress item that any driver may take over


@dataclass(frozen=True)
class Waiting:
    """How long a hand-over waits, and how it tells the time."""

    seconds: float
    sleep: Callable[[float], None] = time.sleep
    elapsed: Callable[[], float] = time.monotonic


def promote(
    store: Store, definition: str, generation: int, *, now: datetime, waiting: Waiting, force: bool = False
) -> Champion:
    """Make `generation` the champion once it has counted all that the champion has.

    Where no stream of it or of any champion ever ran there is nothing to wait for. Raises CannotCatchUp when the
    generation is not there in time; the champion stays, and its stream goes on. Else raises as
    `batch.promote.promote`.
    """
    return _asked_for(store, definition, generation, now, waiting, force=force)


def rollback(
    store: Store, definition: str, to: int | None = None, *, now: datetime, waiting: Waiting | None
) -> Champion:
    """Go back to a former champion once its stream has caught up; without `waiting`, at once.

    A flip at once leaves answers stale until the former champion's stream has counted what was served before.
    Raises as `promote` and as `batch.promote.rollback`.
    """
    ledger = {entry.generation: entry for entry in store.ledger(definition)}
    generation = champion_of.former(definition, store.champion(definition), ledger, to)
    return _asked_for(store, definition, generation, now, waiting, force=True)


def _asked_for(
    store: Store, definition: str, generation: int, now: datetime, waiting: Waiting | None, *, force: bool
) -> Champion:
    """Hand over; a former champion, which nobody counts any more, is asked for first."""
    with journal.refusals(definition, generation):
        # The champion before the ledger, which therefore holds it.
        champion = store.champion(definition)
        ledger = {entry.generation: entry for entry in store.ledger(definition)}
        entry = champion_of.check_whole(definition, generation, ledger)
        if not force and generation != champion.generation:
            champion_of.check_gate(definition, entry)
        # A champion may have come and gone before a driver took it up, while others of its stream did count.
        ever = (generation, champion.generation, *champion.previous)
        if champion.generation in (0, generation) or all(store.progress(definition, g) is None for g in ever):
            return champion_of.promote(store, definition, generation, now=now, force=True)
        former = ledger[champion.generation]
        if generation not in champion.previous:
            return _hand_over(store, definition, former=former, entry=entry, now=now, waiting=waiting)
        cut, as_of = Vector.from_json(entry.info["cut"]), datetime.fromisoformat(entry.info["as_of"])
        store.take_over(definition, generation, WANTED, cut, as_of)
        try:
            return _hand_over(store, definition, former=former, entry=entry, now=now, waiting=waiting)
        except BaseException:
            back_to = _handed(store.champion(definition).generation, now, now)
            store.take_over(definition, generation, back_to, Vector(), now)
            raise


def is_frozen(owner: str | None, now: datetime) -> bool:
    """Whether a champion with that owner of its progress stands still for a hand-over that is going on."""
    if owner is None or not owner.startswith(HANDED):
        return False
    return now < datetime.fromisoformat(owner.partition(_UNTIL)[2])


def _handed(generation: int, since: datetime, until: datetime) -> str:
    return f"{HANDED} {generation}{_SINCE}{since.isoformat()}{_UNTIL}{until.isoformat()}"


class Champions:
    """The champions of a definition, one after the other, as who looks at the store now and then sees them."""

    def __init__(self, definition: str) -> None:
        self._definition = definition
        self._last = 0

    def seen(self, store: Store, champion: int, now: datetime) -> float | None:
        """Seconds from asking for the hand-over to `now`, when `champion` is seen to have been handed over to.

        None for the champion seen before, and for one that nothing was handed over to, as no stream ran.
        """
        former, self._last = self._last, champion
        if former in (0, champion):
            return None
        standing = store.progress(self._definition, former)
        to, _, times = standing.owner.partition(_SINCE) if standing is not None else ("", "", "")
        if to != f"{HANDED} {champion}":
            return None
        return max(0.0, (now - datetime.fromisoformat(times.partition(_UNTIL)[0])).total_seconds())


def reached(store: Store, definition: str, entry: LedgerEntry) -> Vector:
    """What a generation has counted: its stream's progress, or its cut before the first driver."""
    progress = store.progress(definition, entry.generation)
    return progress.vector if progress is not None else Vector.from_json(entry.info["cut"])


def _hand_over(
    store: Store, definition: str, *, former: LedgerEntry, entry: LedgerEntry, now: datetime, waiting: Waiting | None
) -> Champion:
    generation, old = entry.generation, former.generation
    before, as_of = reached(store, definition, former), datetime.fromisoformat(former.info["as_of"])
    began, patience = time.monotonic(), waiting.seconds if waiting is not None else 0.0
    if waiting is not None:
        # Nearly there first: from the fence on the old generation stands still.
        _wait(store, definition, entry, before, waiting)
    # Both waits and the writes between them.
    until = now + timedelta(seconds=2 * patience + _FLIP_S)
    final = store.take_over(definition, old, _handed(generation, now, until), before, as_of)
    fenced = time.monotonic()
    try:
        if waiting is not None:
            _wait(store, definition, entry, final.vector, waiting)
        # The gate was asked before, of a promotion; a rollback goes back to what was champion.
        champion = champion_of.promote(store, definition, generation, now=now, fence=final, force=True)
    except BaseException:
        standing = store.progress(definition, old)
        if standing is not None and standing.epoch == final.epoch:
            # Others may have handed over meanwhile, or this hand-over did and the answer was lost.
            champion = store.champion(definition)
            owner = WANTED if champion.generation == old else _handed(champion.generation, now, now)
            store.take_over(definition, old, owner, before, as_of)
        raise
    ended = time.monotonic()
    journal.handed_over(definition, old, generation, seconds=ended - began, still_s=ended - fenced, at=final.vector)
    return champion


def _wait(store: Store, definition: str, entry: LedgerEntry, target: Vector, waiting: Waiting) -> None:
    """Until the generation has counted everything below `target`. Raises CannotCatchUp."""
    give_up = waiting.elapsed() + waiting.seconds
    while not (counted := reached(store, definition, entry)).covers(target):
        if waiting.elapsed() >= give_up:
            raise CannotCatchUp(
                f"generation {entry.generation} of {definition!r} has not counted what the champion has",
                found=f"{counted.lacks(target):,} positions behind after {waiting.seconds:g} s",
                do=f"the champion stays; run `headrace stream {definition}`, or wait longer (stream.handover_s)",
            )
        waiting.sleep(_POLL_S)
