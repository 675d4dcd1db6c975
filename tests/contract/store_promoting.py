"""What readers of every store see, whatever was published, promoted and rolled back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from store_cases import (
    NOW,
    ONE,
    SEGMENTS,
    THREE,
    TTL,
    TWO,
    Content,
    begin,
    changes,
    entry,
    go,
    publish,
    served,
    together,
    version,
)

from headrace.batch.promote import challenge, promote, rollback
from headrace.batch.purge import purge
from headrace.errors import AnswerIsNo, ChampionMoved, GateRefused, StoreError
from headrace.evaluate.gate import Gate
from headrace.registry.promotion import successor
from headrace.stores.port import TOMBSTONE, Champion, Store


class Promotions:
    """Which versions readers see, whatever happened before."""

    def test_a_challenger_is_named_beside_the_champion_and_seen_by_nobody(self, store: Store) -> None:
        publish(store, 1, ONE)
        with pytest.raises(AnswerIsNo, match="no champion to challenge; found no champion yet"):
            challenge(store, SEGMENTS, 1)
        go(store, 1)
        publish(store, 2, TWO, (1, ONE))
        named = challenge(store, SEGMENTS, 2)
        assert store.champion(SEGMENTS) == named
        assert (named.generation, named.challenger) == (1, 2)
        assert served(store) == ONE
        assert challenge(store, SEGMENTS, 2) == named, "named already"
        with pytest.raises(AnswerIsNo, match="it is the champion"):
            challenge(store, SEGMENTS, 1)
        with pytest.raises(StoreError, match="never published"):
            challenge(store, SEGMENTS, 3)
        assert (challenge(store, SEGMENTS, None).challenger, served(store)) == (0, ONE)

    def test_a_challenger_stays_named_until_it_is_champion(self, store: Store) -> None:
        publish(store, 1, ONE)
        go(store, 1)
        publish(store, 2, TWO, (1, ONE))
        challenge(store, SEGMENTS, 2)
        publish(store, 3, THREE, (1, ONE))
        assert go(store, 3).challenger == 2, "below the champion now, and skipped by it"
        assert served(store) == THREE
        assert purge(store, SEGMENTS, window=0, now=NOW).kept == (2, 3)
        flipped = go(store, 2)
        assert (flipped.generation, flipped.challenger, served(store)) == (2, 0, TWO)
        assert rollback(store, SEGMENTS, 3).challenger == 0

    def test_a_difference_is_served_whole(self, store: Store) -> None:
        publish(store, 1, ONE)
        go(store, 1)
        publish(store, 2, TWO, (1, ONE))
        assert served(store) == ONE
        assert go(store, 2).previous == (1,)
        assert served(store) == TWO

    def test_an_item_that_is_gone_returns(self, store: Store) -> None:
        for generation, content, base in ((1, ONE, None), (2, TWO, (1, ONE)), (3, THREE, (2, TWO))):
            publish(store, generation, content, base)
            go(store, generation)
            assert served(store) == content
        assert store.champion(SEGMENTS).choose(store.read(SEGMENTS, ["d"])["d"]) == (3, TOMBSTONE)

    def test_a_rollback_and_then_a_newer_publication(self, store: Store) -> None:
        publish(store, 1, ONE)
        go(store, 1)
        publish(store, 2, {"a": "bad", "x": "bad"}, (1, ONE))
        go(store, 2)
        assert rollback(store, SEGMENTS).generation == 1
        assert served(store) == ONE
        publish(store, 3, THREE, (1, ONE))
        go(store, 3)
        assert served(store) == THREE
        assert rollback(store, SEGMENTS).generation == 1
        assert served(store) == ONE

    @pytest.mark.parametrize("mark", [True, False])
    def test_an_abandoned_and_a_half_published_generation_are_not_seen(self, store: Store, mark: bool) -> None:
        publish(store, 1, ONE)
        go(store, 1)
        lease = begin(store, 2, 1)
        store.write_versions(SEGMENTS, 2, changes({"a": "half", "h": "half"}, ONE))
        store.release_lease(lease)
        if mark:
            store.mark(SEGMENTS, 2, "abandoned")
        with pytest.raises(StoreError, match=r"is not whole.*expected sealed"):
            go(store, 2)
        publish(store, 3, THREE, (1, ONE))
        champion = go(store, 3)
        assert champion.skip == {2}
        assert served(store) == THREE

    def test_rival_challengers_do_not_mix(self, store: Store) -> None:
        publish(store, 1, ONE)
        go(store, 1)
        publish(store, 2, TWO, (1, ONE))
        publish(store, 3, {"a": "rival", "r": "rival"}, (1, ONE))
        go(store, 3)
        assert served(store) == {"a": "rival", "r": "rival"}
        go(store, 2)
        assert served(store) == TWO
        assert rollback(store, SEGMENTS).generation == 1

    def test_a_generation_that_fails_its_gate_is_promoted_by_force_alone(self, store: Store) -> None:
        gate = Gate("rmse", at_most=2.0)
        kept, missed = (gate.verdict({"rmse": found, "rows": 80}).to_json() for found in (2.0, 2.5))
        publish(store, 1, ONE, gate=kept)
        go(store, 1)
        publish(store, 2, TWO, (1, ONE), gate=missed)
        with pytest.raises(GateRefused, match=r"gate by 0\.5; found rmse 2\.5 on 80.*at most 2;.* -g 2 --force") as no:
            go(store, 2)
        assert no.value.exit_code == 1
        assert served(store) == ONE
        assert promote(store, SEGMENTS, 2, now=NOW, force=True).previous == (1,)
        assert go(store, 2).generation == 2, "it is the champion already"
        publish(store, 3, THREE, (2, TWO), gate=kept)
        go(store, 3)
        assert rollback(store, SEGMENTS).generation == 2, "a rollback goes back to what was served"
        assert served(store) == TWO
        store.release_lease(begin(store, 4, gate=missed))
        with pytest.raises(StoreError, match="is not whole"):
            go(store, 4)

    def test_a_full_publication_hides_all_that_was_before(self, store: Store) -> None:
        publish(store, 1, ONE)
        go(store, 1)
        publish(store, 2, {"z": "z2"})
        go(store, 2)
        assert served(store) == {"z": "z2"}
        rollback(store, SEGMENTS)
        assert served(store) == ONE

    def test_numbers_past_nine_and_ninety_nine(self, store: Store) -> None:
        before: tuple[int, Content] | None = None
        for number in (9, 10, 11, 99, 100, 101, 1000):
            content = {"always": "same", "changing": f"{number}", f"only-{number}": "here"}
            publish(store, number, content, before)
            go(store, number)
            assert served(store) == content
            before = (number, content)
        assert [e.generation for e in store.ledger(SEGMENTS)] == [9, 10, 11, 99, 100, 101, 1000]
        assert rollback(store, SEGMENTS, 99).generation == 99
        assert served(store) == {"always": "same", "changing": "99", "only-99": "here"}

    def test_promoting_the_champion_again_writes_nothing(self, store: Store) -> None:
        publish(store, 1, ONE)
        assert go(store, 1) == go(store, 1) == store.champion(SEGMENTS)

    def test_what_cannot_be_promoted_or_rolled_back_says_why(self, store: Store) -> None:
        with pytest.raises(StoreError, match="generation 3 of 'segments' was never published"):
            go(store, 3)
        with pytest.raises(AnswerIsNo, match="cannot be rolled back; found champion none"):
            rollback(store, SEGMENTS)
        publish(store, 1, ONE)
        publish(store, 2, TWO, (1, ONE))
        go(store, 2)
        with pytest.raises(AnswerIsNo, match="cannot be rolled back to generation 1"):
            rollback(store, SEGMENTS, 1)

    def test_the_champion_is_replaced_only_by_one_who_saw_it(self, store: Store) -> None:
        publish(store, 1, ONE)
        champion = successor(store.champion(SEGMENTS), store.ledger(SEGMENTS), 1)
        got = together(*(lambda: store.set_champion(SEGMENTS, 1, champion) for _ in range(4)))
        assert sum(one is None for one in got) == 1
        assert sum(isinstance(one, ChampionMoved) for one in got) == 3
        with pytest.raises(StoreError, match="advance the epoch"):
            store.set_champion(SEGMENTS, champion.epoch, champion)

    def test_a_promote_that_did_not_see_a_publication_open_fails(self, store: Store) -> None:
        publish(store, 7, ONE)
        champion, ledger = store.champion(SEGMENTS), store.ledger(SEGMENTS)
        begin(store, 6)
        with pytest.raises(ChampionMoved):
            store.set_champion(SEGMENTS, champion.epoch, successor(champion, ledger, 7))
        assert go(store, 7).generation == 7

    def test_a_publication_that_did_not_see_a_promote_is_refused(self, store: Store) -> None:
        publish(store, 7, ONE)
        lease = store.acquire_lease(SEGMENTS, "late", NOW, TTL)
        go(store, 7)
        with pytest.raises(StoreError, match="not above the champion"):
            store.open_publication(lease, entry(6))
        assert [e.generation for e in store.ledger(SEGMENTS)] == [7]

    def test_a_promote_racing_an_open_publication_skips_it_or_stops_it(self, store: Store) -> None:
        publish(store, 1, ONE)
        go(store, 1)
        before: tuple[int, Content] = (1, ONE)
        for turn in range(1, 11):
            low, high = 10 * turn, 10 * turn + 1
            content = {**ONE, "turn": f"{turn}"}
            publish(store, high, content, before)
            lease = store.acquire_lease(SEGMENTS, "late", NOW, TTL)
            flip, opened = together(
                lambda high=high: go(store, high),
                lambda low=low, lease=lease, base=before[0]: store.open_publication(lease, entry(low, base)),
            )
            assert isinstance(flip, Champion)
            assert opened is None or isinstance(opened, StoreError)
            if opened is None:
                store.write_versions(SEGMENTS, low, changes({"a": "late", "l": "late"}, None))
            store.release_lease(lease)
            assert (low in {e.generation for e in store.ledger(SEGMENTS)}) == (opened is None)
            assert (low in store.champion(SEGMENTS).skip) == (opened is None)
            assert served(store) == content
            before = (high, content)

    def test_readers_see_only_whole_generations_while_it_flips(self, store: Store) -> None:
        publish(store, 1, ONE)
        go(store, 1)
        publish(store, 2, TWO, (1, ONE))
        over = threading.Event()

        def read() -> set[str]:
            seen = set()
            while not over.is_set():
                champion = store.champion(SEGMENTS)
                held = store.read(SEGMENTS, ["a", "b", "c", "d"])
                got = {k: c[1].state for k, v in held.items() if (c := champion.choose(v)) and not c[1].is_tombstone}
                whole = {tuple(sorted((k, version(t).state) for k, t in content.items())): n for n, content in wholes}
                seen.add(whole.get(tuple(sorted(got.items())), "a mix"))
            return seen

        wholes = [("one", ONE), ("two", TWO)]
        with ThreadPoolExecutor(3) as pool:
            readers = [pool.submit(read) for _ in range(3)]
            for _ in range(20):
                go(store, 2)
                rollback(store, SEGMENTS)
            over.set()
            seen = set().union(*(reader.result() for reader in readers))
        assert "a mix" not in seen
        assert seen
