"""How long a hand-over took, as a driver sees it that looks at the store now and then."""

from __future__ import annotations

from datetime import timedelta

import pytest
from speed_world import NOW, Event, World, history, moved

from headrace.errors import CannotCatchUp, GateRefused
from headrace.evaluate.gate import Gate
from headrace.speed.handover import Champions, Waiting, promote, rollback

LATER = NOW + timedelta(seconds=3)
AT_ONCE = Waiting(0, sleep=lambda _: None)


@pytest.fixture
def world() -> World:
    """Generation 1 is served and kept current by a stream; 2 has counted as much."""
    stream = ("t", "0")
    made = World({**history([Event("a", 1.0, "x", 0)]), stream: [Event("a", 2.0, "y", n) for n in range(4)]})
    cut = moved(made.head(), stream, 0)
    made.publish(1, cut)
    promote(made.store, "plain", 1, now=NOW, waiting=AT_ONCE)
    made.drive(made.store, 1, iter([made.head()]), "first")
    made.publish(2, cut, base=1)
    made.drive(made.store, 2, iter([made.head()]), "second")
    return made


def test_it_is_timed_from_asking_until_it_is_seen_and_once(world: World) -> None:
    champions = Champions("plain")
    assert champions.seen(world.store, 1, NOW) is None
    promote(world.store, "plain", 2, now=NOW, waiting=AT_ONCE)
    assert champions.seen(world.store, 2, LATER) == 3.0
    assert champions.seen(world.store, 2, LATER) is None
    assert Champions("plain").seen(world.store, 2, LATER) is None, "a driver that was not there saw none"


def test_a_rollback_that_was_refused_is_no_hand_over(world: World) -> None:
    champions = Champions("plain")
    promote(world.store, "plain", 2, now=NOW, waiting=AT_ONCE)
    champions.seen(world.store, 2, NOW)
    stream = ("t", "0")
    world.logs[stream].append(Event("a", 3.0, "z", 9))  # type: ignore[index, attr-defined]
    world.drive(world.store, 2, iter([world.head()]), "second")
    with pytest.raises(CannotCatchUp):
        rollback(world.store, "plain", now=NOW, waiting=AT_ONCE)
    assert champions.seen(world.store, world.store.champion("plain").generation, LATER) is None
    world.drive(world.store, 1, iter([world.head()]), "first")
    rollback(world.store, "plain", now=NOW, waiting=AT_ONCE)
    assert champions.seen(world.store, 1, LATER) == 3.0


def test_a_gate_refuses_before_anything_stands_still_and_no_rollback(world: World) -> None:
    missed = Gate("rmse", at_most=2.0).verdict({"rmse": 2.5, "rows": 80}).to_json()
    world.publish(3, world.head(), base=1, gate=missed)
    world.drive(world.store, 3, iter([world.head()]), "third")
    counting = world.store.progress("plain", 1)
    with pytest.raises(GateRefused):
        promote(world.store, "plain", 3, now=NOW, waiting=AT_ONCE)
    assert world.store.progress("plain", 1) == counting
    assert promote(world.store, "plain", 3, now=NOW, waiting=AT_ONCE, force=True).generation == 3
    world.drive(world.store, 2, iter([world.head()]), "second")
    promote(world.store, "plain", 2, now=NOW, waiting=AT_ONCE)
    world.drive(world.store, 3, iter([world.head()]), "third")
    assert rollback(world.store, "plain", 3, now=NOW, waiting=AT_ONCE).generation == 3


def test_without_a_stream_nothing_is_handed_over() -> None:
    world = World(history([Event("a", 1.0, "x", 0)]))
    champions = Champions("plain")
    for generation in (1, 2):
        world.publish(generation, world.head(), base=generation - 1 or None)
        promote(world.store, "plain", generation, now=NOW, waiting=AT_ONCE)
        assert champions.seen(world.store, generation, LATER) is None
