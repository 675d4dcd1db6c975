"""What a store grants and what it refuses, decided from what it holds; the same for every store. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from headrace.errors import ChampionMoved, Fenced, LeaseHeld, StoreError
from headrace.schemas import Vector
from headrace.stores.port import Champion, Lease, LedgerEntry, Progress

MAX_READ = 100


def granted(current: Lease | None, definition: str, owner: str, now: datetime, ttl: timedelta) -> Lease:
    """The lease `owner` gets, given the one that stands (an empty owner: given back); else LeaseHeld.

    The token grows whenever the holder is another than the one before, so a writer who lost it can be told.
    """
    if not owner:
        raise StoreError("a lease needs an owner", found="an empty name")
    if current is None:
        return Lease(definition, owner, 1, now + ttl)
    if current.owner == owner:
        return replace(current, expires_at=now + ttl)
    if current.owner and current.expires_at > now:
        raise held(current)
    return Lease(definition, owner, current.token + 1, now + ttl)


def held(current: Lease) -> LeaseHeld:
    """The error that says who publishes, and until when at least."""
    return LeaseHeld(
        f"another publisher holds the lease of {current.definition!r}",
        found=f"{current.owner}, until {current.expires_at:%Y-%m-%d %H:%M:%S} UTC at least",
        do="wait for it, or stop it and rerun: a dead one is replaced when its lease expires",
    )


def check_lease(current: Lease | None, lease: Lease) -> None:
    """LeaseHeld unless `lease` is the one that stands."""
    if current is not None and (current.owner, current.token) == (lease.owner, lease.token):
        return
    if current is not None and current.owner:
        raise held(current)
    raise LeaseHeld(f"the lease of {lease.definition!r} was lost", found="it was given back", do="publish again")


def admits(entry: LedgerEntry, ledger: Mapping[int, LedgerEntry], champion: Champion) -> bool:
    """Whether `entry` is to be written as publishing; False when it is sealed here already.

    Raises StoreError for what can never be published: another manifest under its number, a closed number, a
    number the champion has passed, or a base that is not sealed here.
    """
    standing = ledger.get(entry.generation)
    if standing is not None:
        if standing.manifest_sha256 != entry.manifest_sha256:
            raise StoreError(
                f"generation {entry.generation} is in this table with another manifest",
                found=standing.manifest_sha256[:16],
                expected=entry.manifest_sha256[:16],
                do="train again: a number is never given twice",
            )
        if standing.status == "sealed":
            return False
        if standing.status == "closed":
            raise StoreError(
                f"generation {entry.generation} is closed: its versions were purged", do="train again and publish that"
            )
    if entry.generation <= champion.generation:
        raise StoreError(
            f"generation {entry.generation} is not above the champion",
            found=f"champion {champion.generation}",
            do="train again: readers would see its keys at once, before it is whole",
        )
    base = ledger.get(entry.base) if entry.base is not None else None
    if entry.base is not None and (base is None or base.status != "sealed" or entry.base >= entry.generation):
        raise StoreError(
            f"generation {entry.generation} is a difference from {entry.base}, which is not sealed in this table",
            found=base.status if base else f"ledger {sorted(ledger) or 'empty'}",
            do="publish it in full",
        )
    return True


def check_seal(entry: LedgerEntry | None, generation: int) -> None:
    """StoreError unless the generation is being published."""
    if entry is None or entry.status not in ("publishing", "sealed"):
        raise StoreError(
            f"generation {generation} cannot be sealed in this table",
            found=entry.status if entry else "no ledger entry",
            expected="publishing",
            do="publish it again",
        )


def not_in_ledger(definition: str, generation: int) -> StoreError:
    """The error for a generation this table has never heard of."""
    return StoreError(
        f"generation {generation} of {definition!r} was never published to this table",
        do=f"publish it: headrace publish {definition}",
    )


def moved(definition: str, expected: str, found: str | None = None) -> ChampionMoved:
    """The error for a champion that changed between reading and writing it."""
    return ChampionMoved(
        f"the champion of {definition!r} changed meanwhile",
        found=found,
        expected=expected,
        do="read it again and decide anew",
    )


def check_succession(expected_epoch: int, champion: Champion) -> None:
    """StoreError for a champion item that would not advance the epoch."""
    if champion.epoch <= expected_epoch:
        raise StoreError("a champion must advance the epoch", found=champion.epoch, expected=f"> {expected_epoch}")


def check_read(entities: int) -> None:
    """StoreError for more keys than one read takes."""
    if entities > MAX_READ:
        raise StoreError("too many entities in one read", found=entities, expected=f"<= {MAX_READ}")


def taken_over(
    standing: Progress | None, definition: str, generation: int, *, owner: str, start: Vector, as_of: datetime
) -> Progress:
    """The progress `owner` goes on from, one epoch above the one that stands."""
    if standing is None:
        return Progress(definition, generation, start, 1, owner, as_of)
    return replace(standing, epoch=standing.epoch + 1, owner=owner)


def check_fence(ours: Progress, standing: Progress | None) -> None:
    """Fenced unless the epoch is still ours."""
    if standing is None or standing.epoch != ours.epoch:
        raise fenced(ours, standing)


def fenced(ours: Progress, standing: Progress | None) -> Fenced:
    """The error of a driver that may no longer advance."""
    return Fenced(
        f"generation {ours.generation} of {ours.definition!r} is no longer counted here",
        found=f"epoch {standing.epoch} of {standing.owner}" if standing else "no progress item",
        expected=f"epoch {ours.epoch} of {ours.owner}",
        do="what was counted twice is in the items once; nothing is to be mended",
    )
