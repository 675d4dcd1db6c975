"""What every store must do with items, versions and tombstones."""

from __future__ import annotations

from itertools import chain

import pytest
from store_cases import (
    ONE,
    SEGMENTS,
    go,
    publish,
    seen_by,
    served,
    together,
    version,
)

from headrace.errors import StoreError
from headrace.stores.port import TOMBSTONE, Champion, Store, Version, Write


class ReadsAndWrites:
    """Items, versions, tombstones."""

    def test_an_empty_table_knows_nothing(self, store: Store) -> None:
        assert store.champion(SEGMENTS) == Champion()
        assert store.ledger(SEGMENTS) == []
        assert store.read(SEGMENTS, ["a"]) == {}
        assert list(store.scan(SEGMENTS)) == []
        assert store.lease(SEGMENTS) is None

    def test_versions_are_read_as_written_and_stand_side_by_side(self, store: Store) -> None:
        odd = Version(bytes(range(256)), '{"name":"Zoë \\u0000 \\"\'"}')
        store.write_versions(SEGMENTS, 7, [Write("a", odd, False)])
        store.write_versions(SEGMENTS, 8, [Write("a", version("x"), True)])
        assert store.read(SEGMENTS, ["a", "nobody", "a"]) == {"a": {7: odd, 8: version("x")}}

    @pytest.mark.parametrize("hint", [True, False])
    def test_a_wrong_hint_costs_a_call_only(self, store: Store, hint: bool) -> None:
        store.write_versions(SEGMENTS, 1, [Write(f"{n}", version("old"), False) for n in range(0, 60, 2)])
        report = store.write_versions(SEGMENTS, 2, [Write(f"{n}", version("new"), hint) for n in range(60)])
        assert report.items == 60
        found = dict(store.scan(SEGMENTS))
        assert len(found) == 60
        assert all(held[2] == version("new") for held in found.values())
        assert all((1 in found[f"{n}"]) == (n % 2 == 0) for n in range(60))

    def test_writing_again_changes_nothing(self, store: Store) -> None:
        for _ in range(2):
            store.write_versions(SEGMENTS, 1, [Write("a", version("x"), False), Write("b", TOMBSTONE, False)])
        assert dict(store.scan(SEGMENTS)) == {"a": {1: version("x")}, "b": {1: TOMBSTONE}}

    def test_a_key_that_stands_twice_in_a_row_is_not_refused(self, store: Store) -> None:
        same = Write("a", version("x"), False)
        assert store.write_versions(SEGMENTS, 1, [same, same]).items == 2
        assert store.read(SEGMENTS, ["a"]) == {"a": {1: version("x")}}

    def test_definitions_share_a_table_and_see_their_own(self, store: Store) -> None:
        publish(store, 1, ONE)
        publish(store, 1, {"a": "other"}, name="segments2")
        go(store, 1)
        assert store.champion("segments2") == Champion(epoch=1)
        assert served(store) == ONE
        assert seen_by(Champion(generation=1), store, "segments2") == {"a": "other"}

    def test_odd_entities_are_keys(self, store: Store) -> None:
        odd = ["", " ", "#", "a#batch", "17850.0", "名", "'; DROP", "x" * 1000]
        store.write_versions(SEGMENTS, 1, [Write(key, version(f"{n}"), False) for n, key in enumerate(odd)])
        assert store.read(SEGMENTS, odd) == {key: {1: version(f"{n}")} for n, key in enumerate(odd)}
        assert {key for key, _ in store.scan(SEGMENTS)} == set(odd)

    def test_one_read_takes_a_hundred_keys(self, store: Store) -> None:
        keys = [f"{n}" for n in range(101)]
        store.write_versions(SEGMENTS, 1, [Write(key, version(key), False) for key in keys])
        assert len(store.read(SEGMENTS, keys[:100])) == 100
        with pytest.raises(StoreError, match=r"too many entities.*found 101"):
            store.read(SEGMENTS, keys)

    def test_segments_of_a_scan_are_a_partition(self, store: Store) -> None:
        store.write_versions(SEGMENTS, 1, [Write(f"{n}", version("x"), False) for n in range(100)])
        parts = [[key for key, _ in store.scan(SEGMENTS, segment, 3)] for segment in range(3)]
        assert sorted(chain.from_iterable(parts)) == sorted(f"{n}" for n in range(100))

    def test_removing_versions_leaves_the_others_and_deletes_empty_items(self, store: Store) -> None:
        for generation in (1, 2, 3):
            store.write_versions(SEGMENTS, generation, [Write("a", version(f"{generation}"), generation > 1)])
        store.write_versions(SEGMENTS, 1, [Write("b", version("1"), False)])
        store.remove_versions(SEGMENTS, {"a": [1, 3, 9], "b": [1], "nobody": [1]})
        assert dict(store.scan(SEGMENTS)) == {"a": {2: version("2")}}

    def test_an_item_emptied_while_a_version_arrives_keeps_it(self, store: Store) -> None:
        for turn in range(1, 16):
            store.write_versions(SEGMENTS, turn, [Write("a", version("old"), True)])
            together(
                lambda turn=turn: store.remove_versions(SEGMENTS, {"a": range(1, turn + 1)}),
                lambda turn=turn: store.write_versions(SEGMENTS, turn + 1, [Write("a", version("new"), True)]),
            )
            assert store.read(SEGMENTS, ["a"])["a"][turn + 1] == version("new")
