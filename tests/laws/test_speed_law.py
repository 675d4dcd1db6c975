"""The law of the speed layer: whatever crashed, replayed, raced or came late, every answer is the recomputation from
the log at the generation and vector it carries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import event as noted
from hypothesis import given, settings
from hypothesis import strategies as st
from speed_world import NOW, Event, Scheduler, Steps, World, history

from headrace.errors import CannotCatchUp, ChampionMoved, Fenced
from headrace.schemas import Vector
from headrace.serving.lookup import Lookups
from headrace.speed.handover import Waiting, promote, rollback
from headrace.speed.wanted import wanted

EVENTS = st.builds(
    Event,
    who=st.sampled_from("abc"),
    x=st.one_of(st.none(), st.floats(-50, 50)),
    tag=st.sampled_from(["u", "v", None]),
    minutes=st.integers(-3000, 3000),
)
Draw = Any
STEPS = st.sampled_from([1, 2, 3, 5, 8, 20, 60])
# The old generation (0) goes on somewhere in the promoter's (3) work, when the candidate (1) may have caught up.
OVERTAKEN = st.tuples(st.integers(0, 40), st.integers(0, 60), st.integers(0, 40)).map(
    lambda some: [(0, some[0]), (1, some[1]), (3, some[2]), (0, 200), (3, 200)]
)


@st.composite
def worlds(draw: Draw) -> World:
    """History, then one to three partitions of a stream, with no order between positions and event times."""
    logs = history(draw(st.lists(EVENTS, max_size=4)))
    logs |= {("topic", str(p)): draw(st.lists(EVENTS, max_size=8)) for p in range(draw(st.integers(1, 3)))}
    return World(logs)


def cuts(draw: Draw, world: World, above: Vector | None = None) -> Vector:
    """A cut that covers the history, somewhere in the stream, at or above another one."""
    low = above or Vector()
    return Vector(
        {
            log: len(events) if log[0] == "" else draw(st.integers(low.get(log, 0), len(events)))
            for log, events in world.logs.items()
        }
    )


def ends(draw: Draw, world: World) -> list[Vector]:
    """Where a driver's intervals end; the last takes everything."""
    logs = [log for log in world.logs if log[0]]
    some = draw(st.lists(st.tuples(st.sampled_from(logs), st.integers(0, 8)), max_size=4))
    return [Vector({log: min(n, len(world.logs[log]))}) for log, n in some] + [world.head()]


def driver(world: World, generation: int, until: list[Vector], owner: str) -> Callable[[Callable[[], None]], None]:
    return lambda turn: world.drive(Steps(world.store, turn), generation, iter(until), owner) and None


def reader(world: World, rounds: int) -> Callable[[Callable[[], None]], None]:
    """Reads as a serving process does, its own calls in between the others'; what it got is checked as it comes."""

    def read(turn: Callable[[], None]) -> None:
        for _ in range(rounds):
            world.check(Lookups(Steps(world.store, turn), 0, lambda: NOW))

    return read


def never_back(world: World, seen: Vector) -> Vector:
    """What readers are told is counted, which is never taken back."""
    served = Lookups(world.store, 0, lambda: NOW).model("plain")
    assert served["stale"] is False
    vector = Vector.from_json(served["vector"])
    assert vector.covers(seen), "what a reader was told is counted was taken back"
    return vector


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_two_drivers_at_once_and_kills_at_any_step(data: st.DataObject) -> None:
    races(data)


def races(data: st.DataObject) -> None:
    draw = data.draw
    world = draw(worlds())
    world.publish(1, cuts(draw, world))
    promote(world.store, "plain", 1, now=NOW, waiting=Waiting(0))
    playing = Scheduler(
        [
            driver(world, 1, ends(draw, world), "one"),
            driver(world, 1, ends(draw, world), "two"),
            driver(world, 1, ends(draw, world), "three"),
            reader(world, 5),
        ]
    )
    seen = Vector()
    for number, steps, dice in draw(st.lists(st.tuples(st.integers(0, 3), STEPS, st.integers(0, 9)), max_size=40)):
        for _ in range(steps):
            playing.step(number, kill=dice == 0 and number != 3)
        world.check()
        seen = never_back(world, seen)
    playing.finish()
    last = world.drive(world.store, 1, iter([world.head()]), "last")
    answers = world.check()
    assert last.vector.covers(world.head())
    assert all(Vector.from_json(answer.vector) == world.head() for answer in answers)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_hand_over_under_load_and_back(data: st.DataObject) -> None:
    flips(data)


def flips(data: st.DataObject) -> None:
    draw = data.draw
    world = draw(worlds())
    first = cuts(draw, world)
    second = cuts(draw, world, first)
    world.publish(1, first)
    promote(world.store, "plain", 1, now=NOW, waiting=Waiting(0))
    world.publish(2, second, base=1 if draw(st.booleans()) else None)
    world.publish(3, cuts(draw, world, second), base=1 if draw(st.booleans()) else None)
    world.store.mark("plain", 3, "abandoned")
    # A stream is there; without any, a rollback goes back to older data at once, as it should.
    world.store.take_over("plain", 1, "before", first, NOW)
    flips: list[str] = []

    def promoter(turn: Callable[[], None]) -> None:
        store: Any = Steps(world.store, turn)
        waits = Waiting(6, sleep=lambda _: turn(), elapsed=iter(range(10_000)).__next__)
        for name, flip in (
            ("promote", lambda: promote(store, "plain", 2, now=NOW, waiting=waits)),
            ("rollback", lambda: rollback(store, "plain", now=NOW, waiting=waits)),
        ):
            try:
                flip()
                flips.append(name)
            except (CannotCatchUp, Fenced):
                flips.append(f"{name} refused")
                return

    playing = Scheduler(
        [
            driver(world, 1, ends(draw, world), "one"),
            driver(world, 2, ends(draw, world), "two"),
            driver(world, 1, ends(draw, world), "again"),
            promoter,
            reader(world, 5),
        ]
    )
    seen = Vector()
    for number, steps in draw(st.one_of(st.lists(st.tuples(st.integers(0, 4), STEPS), max_size=40), OVERTAKEN)):
        for _ in range(steps):
            playing.step(number)
            seen = never_back(world, seen)
        world.check()
    playing.finish()
    noted(", ".join(flips) or "no flip")
    for generation in (1, 2):
        world.drive(world.store, generation, iter([world.head()]), "last")
    assert all(Vector.from_json(answer.vector) == world.head() for answer in world.check())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_flip_at_once_says_stale_until_the_former_champion_has_caught_up(data: st.DataObject) -> None:
    world = data.draw(worlds())
    first = cuts(data.draw, world)
    world.publish(1, first)
    world.publish(2, cuts(data.draw, world, first))
    promote(world.store, "plain", 1, now=NOW, waiting=Waiting(0))
    promote(world.store, "plain", 2, now=NOW, waiting=Waiting(0))
    world.drive(world.store, 2, iter([world.head()]), "two")
    rollback(world.store, "plain", now=NOW, waiting=None)
    answers = world.check()
    assert all(answer.stale == (first != world.head()) for answer in answers)
    world.drive(world.store, 1, iter([world.head()]), "one")
    assert not any(answer.stale for answer in world.check())


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_split_gives_the_same_items(data: st.DataObject) -> None:
    """The same log in other intervals: the same states, vectors' counts and predictions, byte for byte."""
    draw = data.draw
    world = draw(worlds())
    cut = cuts(draw, world)
    items = []
    for _ in range(2):
        one = World(world.logs)
        one.publish(1, cut)
        one.drive(one.store, 1, iter(ends(draw, one)), "driver")
        items.append(
            {entity: (item.state, item.outputs, item.vector) for entity, item in one.store.scan_speed("plain", 1)}
        )
    assert items[0] == items[1]


def test_of_two_hand_overs_at_once_the_later_is_refused_and_what_it_fenced_is_not_counted_on() -> None:
    """Readers went on to what only the other's generation has counted."""
    log = ("topic", "0")
    world = World({log: [Event("a", float(n), None, n) for n in range(4)]})
    for generation in (1, 2, 3):
        world.publish(generation, Vector({log: 0}))
    promote(world.store, "plain", 1, now=NOW, waiting=Waiting(0))
    for generation, position in ((1, 1), (2, 1), (3, 4)):
        world.drive(world.store, generation, iter([Vector({log: position})]), f"driver {generation}")
    others = iter([lambda: promote(world.store, "plain", 3, now=NOW, waiting=Waiting(0))])

    def elapsed() -> float:
        """Asked as the first wait begins: the champion is read, nothing is fenced yet."""
        next(others, lambda: None)()
        return 0.0

    waits = Waiting(6, elapsed=elapsed)
    with pytest.raises(ChampionMoved, match=r"found generation 3.*expected generation 1"):
        promote(world.store, "plain", 2, now=NOW, waiting=waits)
    assert world.store.champion("plain").generation == 3
    assert never_back(world, world.head()) == world.head()
    owners = lambda g: p.owner if (p := world.store.progress("plain", g)) else None  # noqa: E731
    assert wanted(world.store.champion("plain"), world.store.ledger("plain"), owners, ours="other", now=NOW) == [3]


def test_no_way_back_at_once_to_a_champion_that_no_driver_took_up_while_the_stream_runs() -> None:
    """It knows less than the batch run that followed it, though neither has progress of its own."""
    log = ("topic", "0")
    world = World({log: [Event("a", 1.0, None, 0)]})
    world.publish(1, Vector({log: 0}))
    promote(world.store, "plain", 1, now=NOW, waiting=Waiting(0))
    world.drive(world.store, 1, iter([]), "one")
    for generation, cut in ((2, 0), (3, 1)):
        world.publish(generation, Vector({log: cut}))
        promote(world.store, "plain", generation, now=NOW, waiting=Waiting(0))
    seen = never_back(world, world.head())
    with pytest.raises(CannotCatchUp):
        rollback(world.store, "plain", now=NOW, waiting=Waiting(0))
    never_back(world, seen)
    # It is asked for while the rollback waits, and counted from its cut by whoever hears of it.
    drives = iter([lambda: world.drive(world.store, 2, iter([world.head()]), "two")])
    waits = Waiting(6, sleep=lambda _: next(drives, lambda: None)() and None, elapsed=iter(range(100)).__next__)
    assert rollback(world.store, "plain", now=NOW, waiting=waits).generation == 2
    assert never_back(world, seen) == world.head()


def test_the_law_itself_can_fail() -> None:
    """A store that lies about one item is found out."""
    world = World(history([Event("a", 1.0, None, 0)]) | {("topic", "0"): [Event("a", 2.0, None, 1)]})
    world.publish(1, Vector({("", "file"): 1}))
    promote(world.store, "plain", 1, now=NOW, waiting=Waiting(0))
    world.drive(world.store, 1, iter([world.head()]), "driver")
    world.check()
    from dataclasses import replace

    ((entity, item),) = world.store.scan_speed("plain", 1)
    world.store.write_speed(
        "plain", 1, {entity: replace(item, writes=item.writes + 1, vector=Vector({("topic", "0"): 9}))}
    )
    world.store.write_speed(
        "plain", 1, {entity: replace(item, writes=item.writes + 2, outputs='{"features":{},"prediction":{}}')}
    )
    try:
        world.check()
    except AssertionError:
        return
    raise AssertionError("a wrong answer passed")
