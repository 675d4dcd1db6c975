"""Make a published generation the champion, or take that back: one conditional write for every key at once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from headrace.errors import AnswerIsNo, ChampionMoved, GateRefused, StoreError
from headrace.evaluate.gate import Verdict
from headrace.registry.promotion import successor
from headrace.schemas import Vector
from headrace.stores.port import Champion, LedgerEntry, Progress, Store
from headrace.stores.publication import moved, not_in_ledger

log = logging.getLogger(__name__)
_ATTEMPTS = 10
_Choice = Callable[[Champion, dict[int, LedgerEntry]], int]


def promote(
    store: Store,
    definition: str,
    generation: int,
    *,
    now: datetime,
    fence: Progress | None = None,
    force: bool = False,
) -> Champion:
    """Make `generation` what readers see; the champion that stands now.

    force: although it fails the gate of its definition.
    fence: the progress of the champion before, which must stand still until readers have moved. What it had counted
    is owed: until this generation has too, answers say that they are stale.
    Raises GateRefused for a generation that fails its gate, StoreError for one that is not whole in this table,
    AnswerIsNo for one that was closed, ChampionMoved when others keep changing the champion or it is not the fenced
    one, Fenced when the fence does not stand.
    """

    return _flip(store, definition, lambda _champion, _ledger: generation, now, fence, force=force)


def rollback(store: Store, definition: str, to: int | None = None, *, now: datetime | None = None) -> Champion:
    """Make a former champion the champion again: `to`, or the newest one below the present champion.

    Raises AnswerIsNo when there is none, when `to` never was champion, or when it was closed by a purge.
    """

    def choose(champion: Champion, ledger: dict[int, LedgerEntry]) -> int:
        return former(definition, champion, ledger, to)

    return _flip(store, definition, choose, now, None, force=True)


def challenge(store: Store, definition: str, generation: int | None) -> Champion:
    """Name `generation` the challenger, None: nobody; the champion that stands now.

    Readers see nothing of it. It is kept by purges, counted from the stream beside the champion, and compared with it.
    Raises StoreError for one that is not whole in this table, AnswerIsNo for the champion, for one that was closed, and
    where there is no champion, ChampionMoved when others keep changing the champion.
    """

    def named(champion: Champion, ledger: dict[int, LedgerEntry]) -> Champion:
        if (generation or 0) == champion.challenger:
            return champion
        if generation is None:
            return replace(champion, epoch=champion.epoch + 1, challenger=0)
        check_whole(definition, generation, ledger)
        if generation == champion.generation or not champion.generation:
            raise AnswerIsNo(
                f"generation {generation} of {definition!r} has no champion to challenge",
                found="it is the champion" if champion.generation else "no champion yet",
                do=f"promote a generation first: headrace promote {definition}",
            )
        return replace(champion, epoch=champion.epoch + 1, challenger=generation)

    return _written(store, definition, named)[1]


def former(definition: str, champion: Champion, ledger: dict[int, LedgerEntry], to: int | None = None) -> int:
    """The generation a rollback goes back to. Raises as `rollback`."""
    back = [g for g in champion.previous if g < champion.generation]
    if to is None and back:
        return back[0]
    if to is not None and (to in champion.previous or to == champion.generation):
        return to
    closed = sorted(e.generation for e in ledger.values() if e.status == "closed")
    if to in closed:
        raise _closed(definition, to)
    raise AnswerIsNo(
        f"{definition!r} cannot be rolled back" + (f" to generation {to}" if to else ""),
        found=f"champion {champion.generation or 'none'}, former champions {list(champion.previous) or 'none'}",
        do=f"closed by purge: {closed}" if closed else "promote another generation instead",
    )


def check_gate(definition: str, entry: LedgerEntry) -> None:
    """GateRefused for a published generation that fails its gate."""
    verdict = verdict_of(entry)
    if verdict is not None:
        require_passed(
            definition,
            entry.generation,
            verdict,
            do="the champion stays, and this one stays published; to promote it all the same: "
            f"headrace promote {definition} -g {entry.generation} --force",
        )


def verdict_of(entry: LedgerEntry | None) -> Verdict | None:
    """What the gate found of a published generation; None where there is no gate, or no such generation."""
    sealed = entry.info.get("gate") if entry is not None else None
    return Verdict.of(sealed) if sealed is not None else None


def require_passed(definition: str, generation: int, verdict: Verdict, do: str) -> None:
    """GateRefused, advising `do`, for a verdict that fails."""
    if verdict.fails_by:
        raise GateRefused(
            f"generation {generation} of {definition!r} fails its gate by {verdict.fails_by:g}",
            found=f"{verdict.metric} {verdict.found:g} on {verdict.rows:,} held-out rows",
            expected=verdict.bound,
            do=do,
        )


def check_whole(definition: str, generation: int, ledger: dict[int, LedgerEntry]) -> LedgerEntry:
    """The ledger entry of a generation that may become champion. Raises as `promote`."""
    entry = ledger.get(generation)
    if entry is None:
        raise not_in_ledger(definition, generation)
    if entry.status == "closed":
        raise _closed(definition, generation)
    if entry.status != "sealed":
        raise StoreError(
            f"generation {generation} of {definition!r} is not whole in this table",
            found=entry.status,
            expected="sealed",
            do=f"publish it: headrace publish {definition}",
        )
    return entry


def _flip(
    store: Store, definition: str, choose: _Choice, now: datetime | None, fence: Progress | None, *, force: bool
) -> Champion:
    def flipped(champion: Champion, ledger: dict[int, LedgerEntry]) -> Champion:
        generation = choose(champion, ledger)
        if generation == champion.generation:
            return champion
        if fence is not None and champion.generation != fence.generation:
            # Others made it champion: what that one counts is not fenced, nor is it what was waited for.
            raise moved(definition, f"generation {fence.generation}", f"generation {champion.generation}")
        entry = check_whole(definition, generation, ledger)
        if not force:
            check_gate(definition, entry)
        owed = fence.vector if fence is not None else Vector()
        return replace(successor(champion, ledger.values(), generation), owed=owed)

    before, after = _written(store, definition, flipped, fence)
    if after is not before:
        log.info("champion of %s: %s -> %s, decided at %s", definition, before.generation, after.generation, now)
    return after


def _written(
    store: Store,
    definition: str,
    following: Callable[[Champion, dict[int, LedgerEntry]], Champion],
    fence: Progress | None = None,
) -> tuple[Champion, Champion]:
    """The champion before and after; read, decide, write; anew when the champion moved in between."""
    for left in reversed(range(_ATTEMPTS)):
        # The champion before the ledger: an entry opened in between moves the epoch, and the write below fails.
        champion = store.champion(definition)
        ledger = {entry.generation: entry for entry in store.ledger(definition)}
        after = following(champion, ledger)
        if after == champion:
            return champion, champion
        try:
            store.set_champion(definition, champion.epoch, after, fence)
        except ChampionMoved:
            if not left:
                raise
            continue
        return champion, after
    raise AssertionError("unreachable")


def _closed(definition: str, generation: int) -> AnswerIsNo:
    return AnswerIsNo(
        f"generation {generation} of {definition!r} is closed: a purge removed what it alone could reach",
        do="train and publish anew",
    )
