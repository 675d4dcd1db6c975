"""What a purge of every store may remove, and what is closed then."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from store_cases import (
    NOW,
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
)

from headrace.batch.promote import rollback
from headrace.batch.purge import purge
from headrace.errors import AnswerIsNo, ChampionMoved, LeaseHeld
from headrace.registry.promotion import successor
from headrace.schemas import Vector
from headrace.stores.port import ModelItem, SpeedItem, Store

SPEED = SpeedItem(b"{}", "{}", Vector({("topic", "0"): 3}))


class Purges:
    """What may be removed, and what is closed then."""

    def history(self, store: Store, last: int = 5) -> dict[int, Content]:
        """Generations 1 to `last`, each promoted, each the difference from the one before."""
        contents: dict[int, Content] = {}
        for g in range(1, last + 1):
            contents[g] = {"same": "1", "often": f"{g}", f"only-{g}": "x", **({"back": "y"} if g % 2 else {})}
            publish(store, g, contents[g], (g - 1, contents[g - 1]) if g > 1 else None)
            go(store, g)
        return contents

    def test_readers_of_retained_generations_see_the_same(self, store: Store) -> None:
        contents = self.history(store)
        report = purge(store, SEGMENTS, window=2, now=NOW)
        assert (report.kept, report.closed) == ((3, 4, 5), (1, 2))
        assert report.removed > 0
        for generation in (5, 4, 3):
            if generation < 5:
                assert rollback(store, SEGMENTS).generation == generation
            assert served(store) == contents[generation]
        with pytest.raises(AnswerIsNo, match=r"closed by purge: \[1, 2\]"):
            rollback(store, SEGMENTS)

    def test_model_items_go_with_their_generations(self, store: Store) -> None:
        self.history(store)
        for generation in range(1, 6):
            store.write_model(SEGMENTS, generation, ModelItem("{}", Vector()))
        purge(store, SEGMENTS, window=2, now=NOW)
        assert [g for g in range(1, 6) if store.read_model(SEGMENTS, g) is not None] == [3, 4, 5]

    def test_what_is_closed_is_refused_by_name(self, store: Store) -> None:
        self.history(store)
        purge(store, SEGMENTS, window=0, now=NOW)
        assert [e.status for e in store.ledger(SEGMENTS)] == ["closed"] * 4 + ["sealed"]
        with pytest.raises(AnswerIsNo, match="generation 3 of 'segments' is closed"):
            rollback(store, SEGMENTS, 3)
        with pytest.raises(AnswerIsNo, match="generation 3 of 'segments' is closed"):
            go(store, 3)

    def test_nothing_superfluous_is_left_and_a_second_purge_removes_nothing(self, store: Store) -> None:
        contents = self.history(store)
        purge(store, SEGMENTS, window=0, now=NOW)
        assert {key: set(held) for key, held in store.scan(SEGMENTS)} == {
            "same": {1},
            "often": {5},
            "only-5": {5},
            "back": {5},
        }
        assert served(store) == contents[5]
        again = purge(store, SEGMENTS, window=0, now=NOW)
        assert (again.removed, again.closed, again.report.items) == (0, (), 0)

    def test_a_tombstone_stays_while_it_hides_something(self, store: Store) -> None:
        contents = self.history(store, 4)
        purge(store, SEGMENTS, window=1, now=NOW)
        held = store.read(SEGMENTS, ["back", "only-1", "only-3"])
        assert {key: set(versions) for key, versions in held.items()} == {"back": {3, 4}, "only-3": {3, 4}}
        assert served(store) == contents[4]
        assert rollback(store, SEGMENTS).generation == 3
        assert served(store) == contents[3]

    def test_publishing_goes_on_after_a_purge(self, store: Store) -> None:
        contents = self.history(store)
        purge(store, SEGMENTS, window=0, now=NOW)
        publish(store, 6, THREE, (5, contents[5]))
        go(store, 6)
        assert served(store) == THREE
        rollback(store, SEGMENTS)
        assert served(store) == contents[5]

    def test_challengers_above_the_champion_are_kept_and_the_abandoned_is_not(self, store: Store) -> None:
        contents = self.history(store, 3)
        publish(store, 4, TWO, (3, contents[3]))
        lease = begin(store, 5, 3)
        store.write_versions(SEGMENTS, 5, changes({"half": "h"}, contents[3]))
        store.open_publication(lease, entry(6, 3))
        store.write_versions(SEGMENTS, 6, changes({"given": "up"}, contents[3]))
        store.mark(SEGMENTS, 6, "abandoned")
        store.release_lease(lease)
        report = purge(store, SEGMENTS, window=0, now=NOW)
        assert (report.kept, report.closed) == ((3, 4, 5), (1, 2, 6))
        assert served(store) == contents[3]
        assert "given" not in dict(store.scan(SEGMENTS))
        assert "half" in dict(store.scan(SEGMENTS))
        go(store, 4)
        assert served(store) == TWO

    def test_a_purge_waits_for_no_publisher_that_works(self, store: Store) -> None:
        store.acquire_lease(SEGMENTS, "elsewhere", datetime.now(UTC) + timedelta(days=1), TTL)
        with pytest.raises(LeaseHeld, match="found elsewhere"):
            purge(store, SEGMENTS, window=0, now=datetime.now(UTC), lease_s=0.1)

    def test_a_rollback_that_did_not_see_the_purge_fails(self, store: Store) -> None:
        self.history(store)
        champion, ledger = store.champion(SEGMENTS), store.ledger(SEGMENTS)
        purge(store, SEGMENTS, window=0, now=NOW)
        with pytest.raises(ChampionMoved):
            store.set_champion(SEGMENTS, champion.epoch, successor(champion, ledger, 2))

    def test_readers_see_the_same_while_it_is_purged(self, store: Store) -> None:
        contents = self.history(store, 8)
        over = threading.Event()

        def read() -> bool:
            same = True
            while not over.is_set() and same:
                same = served(store) == contents[8]
            return same

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            purge(store, SEGMENTS, window=0, now=NOW)
            over.set()
            assert all(reader.result() for reader in readers)

    def test_speed_items_go_with_the_generations_that_are_closed(self, store: Store) -> None:
        self.history(store)
        for generation in range(1, 7):
            store.write_speed(SEGMENTS, generation, {"same": SPEED, f"only-{generation}": SPEED})
        begin(store, 6, 5)  # a challenger that is being published
        store.write_speed("other", 1, {"same": SPEED})
        store.release_lease(store.lease(SEGMENTS))  # type: ignore[arg-type]
        report = purge(store, SEGMENTS, window=1, now=NOW)
        assert (report.kept, report.removed_speed) == ((4, 5, 6), 6)
        left = {g: [entity for entity, _ in store.scan_speed(SEGMENTS, g)] for g in range(1, 7)}
        assert {g: len(entities) for g, entities in left.items()} == {1: 0, 2: 0, 3: 0, 4: 2, 5: 2, 6: 2}
        assert list(store.scan_speed("other", 1)) == [("same", SPEED)]
