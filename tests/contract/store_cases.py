"""Small publications and readers that the contract of stores is told in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace.batch.promote import promote
from headrace.stores.port import TOMBSTONE, Champion, Lease, LedgerEntry, Store, Version, Write

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TTL = timedelta(seconds=30)
SEGMENTS = "segments"
Content = Mapping[str, str]


def version(text: str) -> Version:
    """A version whose state and outputs both tell `text`."""
    return Version(f'{{"n":"{text}"}}'.encode(), f'{{"prediction":"{text}"}}')


def entry(generation: int, base: int | None = None, sha: str | None = None, **info: Any) -> LedgerEntry:
    return LedgerEntry(
        generation, "publishing", base, sha or f"sha-{generation}", info={"cut": [["", "f", generation]], **info}
    )


def changes(content: Content, before: Content | None) -> list[Write]:
    """What a publication of `content` sends: all of it, or what differs from `before`."""
    known = before or {}
    changed = [Write(key, version(text), key in known) for key, text in content.items() if known.get(key) != text]
    return changed + [Write(key, TOMBSTONE, True) for key in known if key not in content]


def begin(
    store: Store, generation: int, base: int | None = None, owner: str = "publisher", name: str = SEGMENTS, **info: Any
) -> Lease:
    lease = store.acquire_lease(name, owner, NOW, TTL)
    store.open_publication(lease, entry(generation, base, **info))
    return lease


def publish(
    store: Store,
    generation: int,
    content: Content,
    base: tuple[int, Content] | None = None,
    name: str = SEGMENTS,
    **info: Any,
) -> None:
    """A whole publication: in full, or as the difference from `base`; `info` goes to the ledger."""
    lease = begin(store, generation, base[0] if base else None, name=name, **info)
    report = store.write_versions(name, generation, changes(content, base[1] if base else None))
    store.seal_publication(lease, generation, report.items)
    store.release_lease(lease)


def seen_by(champion: Champion, store: Store, name: str = SEGMENTS) -> dict[str, str]:
    """Everything a reader with this champion gets."""
    found = {}
    for key, versions in store.scan(name):
        chosen = champion.choose(versions)
        if chosen is not None and not chosen[1].is_tombstone:
            assert chosen[1].state is not None
            found[key] = chosen[1].state.decode().split('"')[3]
    return found


def served(store: Store, name: str = SEGMENTS) -> dict[str, str]:
    return seen_by(store.champion(name), store, name)


def go(store: Store, generation: int) -> Champion:
    return promote(store, SEGMENTS, generation, now=NOW)


def together(*calls: Callable[[], object]) -> list[object]:
    """Run all calls at once; their results, or the errors they ended with."""
    barrier = threading.Barrier(len(calls))

    def one(call: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return call()
        except Exception as error:  # noqa: BLE001 -- the outcome under test
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


ONE = {"a": "a1", "b": "b1", "c": "c1"}
TWO = {"a": "a2", "b": "b1", "d": "d2"}  # a changed, c gone, d new
THREE = {"a": "a2", "b": "b3", "c": "c3"}  # b changed, c back, d gone
