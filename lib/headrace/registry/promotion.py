"""Which versions a champion sees, worked out from the table's ledger; the law of promotion and rollback. Pure.

A generation is published as the difference from its base, or in full. The chain of a generation is it, its base
in the table, that one's base, and so on down to a full publication: exactly the versions that tell its content.
Its champion item therefore reads nothing below the end of the chain (`floor`), and skips what stands in between
and is not of the chain: what was rolled back, abandoned, half published or a rival. Nothing of that is touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from headrace.errors import StoreError
from headrace.stores.port import Champion, LedgerEntry, Version


def chain(ledger: Iterable[LedgerEntry], generation: int) -> tuple[int, ...]:
    """The generations whose versions tell `generation`'s content, newest first, down to a full publication.

    Raises StoreError when the ledger lacks one of them.

    >>> full, given_up = LedgerEntry(1, "closed", None, "a"), LedgerEntry(2, "abandoned", 1, "b")
    >>> chain([full, given_up, LedgerEntry(3, "sealed", 1, "c")], 3)
    (3, 1)
    """
    bases = {entry.generation: entry.base for entry in ledger}
    found: list[int] = []
    next_one: int | None = generation
    while next_one is not None:
        if next_one not in bases or (found and next_one >= found[-1]):
            raise StoreError(
                f"the table's ledger does not tell what generation {generation} is made of",
                found=f"{next_one} as the base of {found[-1]}" if found else f"no entry for {generation}",
                do="publish a generation in full",
            )
        found.append(next_one)
        next_one = bases[next_one]
    return tuple(found)


def view(ledger: Iterable[LedgerEntry], generation: int) -> Champion:
    """What a reader of `generation` sees: a champion item without history."""
    entries = list(ledger)
    links = chain(entries, generation)
    between = {entry.generation for entry in entries if links[-1] < entry.generation < generation}
    return Champion(generation=generation, skip=frozenset(between.difference(links)), floor=links[-1])


def successor(champion: Champion, ledger: Iterable[LedgerEntry], generation: int) -> Champion:
    """The champion item that makes readers see exactly `generation`, whether newer or older than the champion.

    `ledger` must have been read after `champion`: an entry opened in between has moved the epoch, so that the
    conditional write of the result fails. The former champion leads `previous`; the new one leaves it, and is no
    challenger any more.

    >>> entries = [LedgerEntry(1, "sealed", None, "a"), *(LedgerEntry(g, "sealed", 1, "b") for g in (2, 3))]
    >>> first = successor(Champion(), entries, 1)
    >>> successor(first, entries, 3)
    Champion(generation=3, skip=frozenset({2}), floor=1, epoch=2, previous=(1,), owed=Vector({}), challenger=0)
    """
    seen = view(ledger, generation)
    former = (champion.generation, *champion.previous) if champion.generation else ()
    return Champion(
        generation=generation,
        skip=seen.skip,
        floor=seen.floor,
        epoch=champion.epoch + 1,
        previous=tuple(dict.fromkeys(g for g in former if g != generation)),
        challenger=champion.challenger if champion.challenger != generation else 0,
    )


def retained(champion: Champion, ledger: Iterable[LedgerEntry], window: int) -> frozenset[int]:
    """Generations that must stay readable: the champion, the named challenger, all above the champion, and the last
    `window` before it."""
    challengers = {
        entry.generation
        for entry in ledger
        if entry.generation > champion.generation and entry.status in ("sealed", "publishing")
    }
    back = [g for g in champion.previous if g < champion.generation][:window]
    served = {champion.generation, champion.challenger} - {0}
    return frozenset(served | challengers | set(back))


def superfluous(versions: Mapping[int, Version], views: Iterable[Champion]) -> list[int]:
    """The versions of one entity that no view chooses, tombstones last.

    A tombstone that a view chooses goes too once nothing it hides is kept: without it that view sees no version,
    which means the same.

    >>> one, gone = Version(b"1", "{}"), Version(None, None)
    >>> superfluous({1: one, 2: one, 4: gone}, [Champion(generation=2), Champion(generation=4)])
    [1]
    >>> superfluous({1: one, 4: gone}, [Champion(generation=4)])
    [1, 4]
    """
    choices = [(seen, found[0]) for seen in views if (found := seen.choose(versions)) is not None]
    told = {g for _, g in choices if not versions[g].is_tombstone}
    hiding = {
        g for seen, g in choices if versions[g].is_tombstone and any(older < g and seen.sees(older) for older in told)
    }
    return sorted(set(versions) - told - hiding, key=lambda g: (versions[g].is_tombstone, g))
