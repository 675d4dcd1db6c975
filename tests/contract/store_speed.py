"""What every store must do for the speed layer: guarded items, and progress under an epoch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_cases import NOW, ONE, SEGMENTS, go, publish, together, version

from headrace.errors import ChampionMoved, Fenced, StoreError
from headrace.schemas import Vector
from headrace.stores.port import Held, ModelItem, SpeedItem, Store

CUT = Vector({("", "file"): 10})
FAR = Vector({("", "file"): 10, ("topic", "0"): 7})


def speed(text: str, writes: int = 1) -> SpeedItem:
    return SpeedItem(f'{{"n":"{text}"}}'.encode(), f'{{"prediction":"{text}"}}', FAR, writes)


class SpeedItems:
    """Items are written over exactly the one that was read."""

    def test_first_writes_create_items_beside_the_batch_versions(self, store: Store) -> None:
        publish(store, 1, ONE)
        report = store.write_speed(SEGMENTS, 1, {"a": speed("x"), "new": speed("y")})
        assert (report.refused, report.written.items) == ({}, 2)
        assert store.read_speed(SEGMENTS, 1, ["a", "b", "new", "none"]) == {
            "a": Held({1: version("a1")}, speed("x")),
            "b": Held({1: version("b1")}),
            "new": Held({}, speed("y")),
        }
        assert set(store.read(SEGMENTS, ["a", "new"])) == {"a"}
        assert {entity for entity, _ in store.scan(SEGMENTS)} == {"a", "b", "c"}

    def test_a_write_over_another_item_than_was_read_is_refused_with_the_item_that_stands(self, store: Store) -> None:
        store.write_speed(SEGMENTS, 1, {"a": speed("x")})
        store.write_speed(SEGMENTS, 1, {"a": speed("z", 2), "b": speed("b")})
        report = store.write_speed(
            SEGMENTS, 1, {"a": speed("late", 2), "b": speed("again"), "c": speed("c", 5), "d": speed("d")}
        )
        assert report.refused == {"a": speed("z", 2), "b": speed("b"), "c": None}
        assert report.written.items == 1
        held = store.read_speed(SEGMENTS, 1, ["a", "b", "c", "d"])
        assert {entity: one.speed for entity, one in held.items()} == {
            "a": speed("z", 2),
            "b": speed("b"),
            "d": speed("d"),
        }

    def test_generations_do_not_see_each_others_items(self, store: Store) -> None:
        store.write_speed(SEGMENTS, 9, {"a": speed("nine")})
        store.write_speed(SEGMENTS, 10, {"a": speed("ten")})
        store.write_speed(SEGMENTS, 100, {"a": speed("hundred")})
        store.write_speed("other", 10, {"a": speed("other")})
        assert store.read_speed(SEGMENTS, 10, ["a"])["a"].speed == speed("ten")
        assert store.read_speed(SEGMENTS, 8, ["a"]) == {}
        found = [list(store.scan_speed(SEGMENTS, 10, segment, 3)) for segment in range(3)]
        assert [one for part in found for one in part] == [("a", speed("ten"))]

    def test_one_of_many_writers_at_once_wins_each_time(self, store: Store) -> None:
        for writes in range(1, 4):
            reports = together(
                *(lambda n=n, w=writes: store.write_speed(SEGMENTS, 1, {"hot": speed(f"w{n}", w)}) for n in range(6))
            )
            assert sum("hot" not in report.refused for report in reports) == 1  # type: ignore[attr-defined]
        standing = store.read_speed(SEGMENTS, 1, ["hot"])["hot"].speed
        assert standing is not None
        assert standing.writes == 3

    def test_many_items_of_odd_names(self, store: Store) -> None:
        names = ["", "a#b", "ü", "speed#00000001", *(f"n{i}" for i in range(97))]
        items = {name: speed(f"s{i}") for i, name in enumerate(names)}
        assert store.write_speed(SEGMENTS, 1, items).written.items == len(names)
        held = store.read_speed(SEGMENTS, 1, names[:100]) | store.read_speed(SEGMENTS, 1, names[100:])
        assert {entity: one.speed for entity, one in held.items()} == items
        with pytest.raises(StoreError, match="too many"):
            store.read_speed(SEGMENTS, 1, names)

    def test_removal(self, store: Store) -> None:
        store.write_speed(SEGMENTS, 1, {"a": speed("a"), "b": speed("b")})
        store.write_speed(SEGMENTS, 2, {"a": speed("a")})
        assert sorted(key for n in range(2) for key in store.speed_keys(SEGMENTS, n, 2)) == [
            ("a", 1),
            ("a", 2),
            ("b", 1),
        ]
        store.remove_speed(SEGMENTS, [("a", 1), ("b", 1), ("c", 1)])
        assert list(store.scan_speed(SEGMENTS, 1)) == []
        assert list(store.scan_speed(SEGMENTS, 2)) == [("a", speed("a"))]


class ModelItems:
    """One item a generation, written over exactly the one that was read."""

    def test_it_is_written_over_the_one_that_was_read_and_no_other(self, store: Store) -> None:
        first, second = ModelItem('{"n":1}', CUT), ModelItem('{"n":"ü"}', FAR, 2)
        assert store.read_model(SEGMENTS, 1) is None
        assert not store.write_model(SEGMENTS, 1, second)
        assert store.read_model(SEGMENTS, 1) is None
        assert store.write_model(SEGMENTS, 1, first)
        assert not store.write_model(SEGMENTS, 1, ModelItem('{"n":7}', FAR))
        assert store.read_model(SEGMENTS, 1) == first
        assert store.write_model(SEGMENTS, 1, second)
        assert not store.write_model(SEGMENTS, 1, second), "a write whose answer was lost is refused by itself"
        assert not store.write_model(SEGMENTS, 1, ModelItem('{"n":7}', FAR, 4))
        assert store.read_model(SEGMENTS, 1) == second

    def test_generations_and_definitions_have_their_own(self, store: Store) -> None:
        store.write_model(SEGMENTS, 9, ModelItem("9", CUT))
        store.write_model(SEGMENTS, 10, ModelItem("10", CUT))
        store.write_model("other", 10, ModelItem("other", CUT))
        assert store.read_model(SEGMENTS, 1) is None
        store.remove_model(SEGMENTS, 9)
        store.remove_model(SEGMENTS, 8)
        assert store.read_model(SEGMENTS, 9) is None
        assert store.read_model(SEGMENTS, 10) == ModelItem("10", CUT)
        assert store.read_model("other", 10) == ModelItem("other", CUT)

    def test_one_of_many_writers_at_once_is_first(self, store: Store) -> None:
        done = together(*(lambda n=n: store.write_model(SEGMENTS, 1, ModelItem(str(n), CUT)) for n in range(6)))
        assert sorted(done) == [False] * 5 + [True]
        assert store.read_model(SEGMENTS, 1) == ModelItem(str(done.index(True)), CUT)


class Progresses:
    """The newest driver alone says how far a generation is."""

    def test_before_the_first_driver(self, store: Store) -> None:
        assert store.progress(SEGMENTS, 1) is None

    def test_a_driver_takes_over_where_the_one_before_stood(self, store: Store) -> None:
        first = store.take_over(SEGMENTS, 1, "one", CUT, NOW)
        assert (first.epoch, first.vector, first.owner) == (1, CUT, "one")
        store.advance(replace(first, vector=FAR))
        second = store.take_over(SEGMENTS, 1, "two", CUT, NOW)
        assert (second.epoch, second.vector, second.owner, second.as_of) == (2, FAR, "two", NOW)
        assert store.progress(SEGMENTS, 1) == second

    def test_a_driver_that_was_taken_over_can_no_longer_advance(self, store: Store) -> None:
        first = store.take_over(SEGMENTS, 1, "one", CUT, NOW)
        second = store.take_over(SEGMENTS, 1, "two", CUT, NOW)
        with pytest.raises(Fenced, match=r"epoch 2 of two.*epoch 1 of one"):
            store.advance(replace(first, vector=FAR))
        assert store.progress(SEGMENTS, 1) == second
        store.advance(replace(second, vector=FAR))
        assert store.progress(SEGMENTS, 1) == replace(second, vector=FAR)

    def test_generations_and_definitions_are_apart(self, store: Store) -> None:
        store.take_over(SEGMENTS, 1, "one", CUT, NOW)
        store.take_over(SEGMENTS, 1, "one", CUT, NOW)
        assert store.take_over(SEGMENTS, 2, "one", CUT, NOW).epoch == 1
        assert store.take_over("other", 1, "one", CUT, NOW).epoch == 1

    def test_many_at_once_get_epochs_of_their_own(self, store: Store) -> None:
        taken = together(*(lambda n=n: store.take_over(SEGMENTS, 1, f"d{n}", CUT, NOW) for n in range(6)))
        assert sorted(one.epoch for one in taken) == [1, 2, 3, 4, 5, 6]  # type: ignore[attr-defined]

    def test_a_champion_behind_a_fence_is_set_only_while_the_fence_stands(self, store: Store) -> None:
        publish(store, 1, ONE)
        publish(store, 2, ONE)
        go(store, 1)
        fence = store.take_over(SEGMENTS, 1, "hand-over", CUT, NOW)
        champion = store.champion(SEGMENTS)
        following = replace(champion, generation=2, epoch=champion.epoch + 1, owed=FAR)
        other = store.take_over(SEGMENTS, 1, "driver", CUT, NOW)
        with pytest.raises(Fenced, match=r"epoch 2 of driver"):
            store.set_champion(SEGMENTS, champion.epoch, following, fence)
        assert store.champion(SEGMENTS) == champion
        with pytest.raises(ChampionMoved):
            store.set_champion(SEGMENTS, champion.epoch - 1, following, other)
        store.set_champion(SEGMENTS, champion.epoch, following, other)
        assert store.champion(SEGMENTS) == following
