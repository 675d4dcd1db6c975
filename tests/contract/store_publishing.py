"""What every store must do with leases and its ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from store_cases import (
    NOW,
    ONE,
    SEGMENTS,
    TTL,
    TWO,
    begin,
    changes,
    entry,
    go,
    publish,
    served,
    together,
)

from headrace.errors import LeaseHeld, StoreError
from headrace.stores.port import Champion, Lease, Store


class Leases:
    """One publisher at a time, and how a late one is told."""

    def test_a_lease_is_one_owners_until_it_expires(self, store: Store) -> None:
        first = store.acquire_lease(SEGMENTS, "a", NOW, TTL)
        assert (first.owner, first.expires_at) == ("a", NOW + TTL)
        with pytest.raises(LeaseHeld, match="found a, until 2026-01-02 03:04:35"):
            store.acquire_lease(SEGMENTS, "b", NOW + TTL - timedelta(seconds=1), TTL)
        second = store.acquire_lease(SEGMENTS, "b", NOW + TTL, TTL)
        assert second.token > first.token
        assert store.lease(SEGMENTS) == second

    def test_the_owner_gets_its_own_lease_again(self, store: Store) -> None:
        first = store.acquire_lease(SEGMENTS, "a", NOW, TTL)
        again = store.acquire_lease(SEGMENTS, "a", NOW + timedelta(seconds=10), TTL)
        assert (again.token, again.expires_at) == (first.token, NOW + timedelta(seconds=40))

    def test_renewing_extends_and_giving_back_frees(self, store: Store) -> None:
        lease = store.renew_lease(store.acquire_lease(SEGMENTS, "a", NOW, TTL), NOW + TTL, TTL)
        with pytest.raises(LeaseHeld):
            store.acquire_lease(SEGMENTS, "b", NOW + TTL, TTL)
        store.release_lease(lease)
        assert store.acquire_lease(SEGMENTS, "b", NOW, TTL).token > lease.token

    def test_a_lease_given_back_cannot_be_renewed_or_used(self, store: Store) -> None:
        lease = store.acquire_lease(SEGMENTS, "a", NOW, TTL)
        store.release_lease(lease)
        with pytest.raises(LeaseHeld, match="was lost"):
            store.renew_lease(lease, NOW, TTL)
        with pytest.raises(LeaseHeld, match="was lost"):
            store.open_publication(lease, entry(1))

    def test_a_zombie_is_fenced_everywhere_and_harms_nobody(self, store: Store) -> None:
        zombie = begin(store, 1, owner="zombie")
        heir = store.acquire_lease(SEGMENTS, "heir", NOW + TTL, TTL)
        for call in (
            lambda: store.renew_lease(zombie, NOW + TTL, TTL),
            lambda: store.open_publication(zombie, entry(2)),
            lambda: store.seal_publication(zombie, 1, 3),
        ):
            with pytest.raises(LeaseHeld, match=r"another publisher.*found heir"):
                call()
        store.release_lease(zombie)
        assert store.lease(SEGMENTS) == heir
        assert [(e.generation, e.status) for e in store.ledger(SEGMENTS)] == [(1, "publishing")]
        store.open_publication(heir, entry(2))
        store.write_versions(SEGMENTS, 2, changes(ONE, None))
        store.write_versions(SEGMENTS, 1, changes({"a": "zombie", "z": "zombie"}, None))
        store.seal_publication(heir, 2, 3)
        go(store, 2)
        assert served(store) == ONE

    def test_of_two_publishers_at_once_one_gets_the_lease(self, store: Store) -> None:
        for turn in range(5):
            now = NOW + turn * TTL
            owners = [f"{turn}-{n}" for n in range(4)]
            got = together(*(lambda o=owner, now=now: store.acquire_lease(SEGMENTS, o, now, TTL) for owner in owners))
            winners = [lease for lease in got if isinstance(lease, Lease)]
            assert len(winners) == 1
            assert all(isinstance(other, LeaseHeld) for other in got if other not in winners)
            assert store.lease(SEGMENTS) == winners[0]


class Publications:
    """The ledger: what may be opened and sealed."""

    def test_the_ledger_tells_what_was_published(self, store: Store) -> None:
        publish(store, 1, ONE)
        publish(store, 2, TWO, (1, ONE))
        whole = replace(entry(1), status="sealed", items=3)
        assert store.ledger(SEGMENTS) == [whole, replace(entry(2, 1), status="sealed", items=3)]

    def test_nothing_is_served_before_it_is_promoted(self, store: Store) -> None:
        publish(store, 1, ONE)
        assert store.champion(SEGMENTS) == Champion(epoch=1)
        assert served(store) == {}

    def test_only_a_newer_number_is_opened(self, store: Store) -> None:
        publish(store, 5, ONE)
        go(store, 5)
        lease = store.acquire_lease(SEGMENTS, "a", NOW, TTL)
        with pytest.raises(StoreError, match="generation 4 is not above the champion; found champion 5"):
            store.open_publication(lease, entry(4))
        before = store.champion(SEGMENTS)
        store.open_publication(lease, entry(5))
        assert store.champion(SEGMENTS) == before
        assert [e.status for e in store.ledger(SEGMENTS)] == ["sealed"]

    def test_a_number_has_one_manifest(self, store: Store) -> None:
        lease = begin(store, 1)
        with pytest.raises(StoreError, match="another manifest"):
            store.open_publication(lease, entry(1, sha="other"))
        store.mark(SEGMENTS, 1, "closed")
        with pytest.raises(StoreError, match="closed"):
            store.open_publication(lease, entry(1))

    def test_an_empty_table_takes_no_difference_whatever_another_ledger_says(self, store: Store) -> None:
        lease = store.acquire_lease(SEGMENTS, "a", NOW, TTL)
        with pytest.raises(StoreError, match=r"difference from 1, which is not sealed.*publish it in full"):
            store.open_publication(lease, entry(2, base=1))
        store.open_publication(lease, entry(1))
        with pytest.raises(StoreError, match="found publishing"):
            store.open_publication(lease, entry(2, base=1))

    def test_only_what_was_opened_is_sealed_or_marked(self, store: Store) -> None:
        lease = begin(store, 1)
        with pytest.raises(StoreError, match=r"generation 2 cannot be sealed.*no ledger entry"):
            store.seal_publication(lease, 2, 0)
        store.mark(SEGMENTS, 1, "abandoned")
        with pytest.raises(StoreError, match="found abandoned"):
            store.seal_publication(lease, 1, 0)
        with pytest.raises(StoreError, match="never published"):
            store.mark(SEGMENTS, 2, "closed")

    def test_an_interrupted_publication_is_taken_up(self, store: Store) -> None:
        publish(store, 1, ONE)
        go(store, 1)
        begin(store, 2, 1, owner="killed")
        store.write_versions(SEGMENTS, 2, changes(TWO, ONE)[:1])
        assert served(store) == ONE
        lease = store.acquire_lease(SEGMENTS, "heir", NOW + TTL, TTL)
        store.open_publication(lease, entry(2, 1))
        store.write_versions(SEGMENTS, 2, changes(TWO, ONE))
        store.seal_publication(lease, 2, 3)
        go(store, 2)
        assert served(store) == TWO
