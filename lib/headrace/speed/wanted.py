"""Which generations of a definition are to be counted from its stream."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from headrace.speed.handover import WANTED, is_frozen
from headrace.stores.port import Champion, LedgerEntry


def wanted(
    champion: Champion, ledger: list[LedgerEntry], owners: Callable[[int], str | None], *, ours: str, now: datetime
) -> list[int]:
    """The generations that are to be counted: the champion, the challenger that is named if it never was champion, the
    newest above all that were, and those a rollback asks for.

    owners: the owner of a generation's progress, None before its first driver. ours: the name of this driver, whose
    former champions go on until they are handed over. A champion that is being handed over stands still.
    """
    once = {champion.generation, *champion.previous}
    served = [champion.generation] if champion.generation else []
    named = [e.generation for e in ledger if e.status == "sealed" and e.generation in {champion.challenger} - once]
    challengers = [e.generation for e in ledger if e.status == "sealed" and e.generation > max(once)]
    back = [g for g in champion.previous if owners(g) in (WANTED, ours)]
    return sorted({*(g for g in served if not is_frozen(owners(g), now)), *named, *challengers[-1:], *back})
