"""Batch publications while the stream runs: no reader sees two batch runs at once, or goes back unless told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import event as noted
from hypothesis import given, settings
from hypothesis import strategies as st
from speed_world import NOW, Scheduler, Steps, World, recomputed
from test_speed_law import STEPS, cuts, driver, ends, flips, never_back, races, worlds

from headrace.algebra import encode
from headrace.errors import CannotCatchUp, Fenced
from headrace.schemas import Vector
from headrace.serving.lookup import Lookups
from headrace.speed.handover import Waiting, promote, rollback
from headrace.speed.settling import finished_outputs


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_publications_race_the_stream(data: st.DataObject) -> None:
    """Fault 7."""
    publications(data)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["races", "flips", "publications"])
def test_a_thousand_interleavings(law: str) -> None:
    held = {"races": races, "flips": flips, "publications": publications}[law]
    settings(max_examples=1_000, deadline=None)(given(st.data())(held))()


def publications(data: st.DataObject) -> None:
    draw = data.draw
    world = draw(worlds())
    first = cuts(draw, world)
    second = cuts(draw, world, first)
    third = cuts(draw, world, second)
    world.publish(1, first)
    promote(world.store, "plain", 1, now=NOW, waiting=Waiting(0))
    world.store.take_over("plain", 1, "before", first, NOW)
    dies = draw(st.booleans())
    bases = (draw(st.sampled_from([1, None])), draw(st.sampled_from([1, None] if dies else [1, 2, None])))
    days = (draw(st.integers(0, 1)), draw(st.integers(0, 1)))
    done: list[str] = []

    def publisher(turn: Callable[[], None]) -> None:
        store: Any = Steps(world.store, turn)
        waits = Waiting(20, sleep=lambda _: turn(), elapsed=iter(range(10_000)).__next__)

        def attempt(name: str, flip: Callable[[], Any]) -> None:
            done.append(f"{name} begun")
            try:
                flip()
            except (CannotCatchUp, Fenced):
                name = f"{name} refused"
            done.append(name)

        world.publish(2, second, bases[0], store=store, days=days[0], dies=dies)
        if not dies:
            attempt("second", lambda: promote(store, "plain", 2, now=NOW, waiting=waits))
        world.publish(3, third, bases[1], store=store, days=days[1])
        attempt("third", lambda: promote(store, "plain", 3, now=NOW, waiting=waits))
        if world.store.champion("plain").previous:
            attempt("rollback", lambda: rollback(store, "plain", now=NOW, waiting=waits))

    def once_published(generation: int) -> Callable[[Callable[[], None]], None]:
        counts = driver(world, generation, ends(draw, world), f"driver of {generation}")

        def run(turn: Callable[[], None]) -> None:
            while generation not in world.plans:
                turn()
            counts(turn)

        return run

    def reader(turn: Callable[[], None]) -> None:
        seen: dict[str, tuple[int, Vector]] = {}
        for _ in range(10):
            answers = world.check(Lookups(Steps(world.store, turn), 0, lambda: NOW))
            assert len({answer.generation for answer in answers}) <= 1
            for answer in answers:
                generation, vector = seen.get(answer.entity, (0, Vector()))
                found = Vector.from_json(answer.vector)
                assert answer.generation >= generation or "rollback begun" in done, "an older batch run came back"
                assert answer.generation != generation or found.covers(vector), "an event was taken back"
                seen[answer.entity] = answer.generation, found

    drivers = [driver(world, 1, ends(draw, world), "one"), once_published(2), once_published(3)]
    playing = Scheduler([*drivers, publisher, reader])
    counted = Vector()
    for number, steps in draw(st.lists(st.tuples(st.integers(0, 4), STEPS), min_size=5, max_size=40)):
        for _ in range(steps):
            playing.step(number)
            counted = never_back(world, counted)
        world.check()
    playing.finish()
    noted(", ".join(one for one in done if not one.endswith("begun")) or "no flip")
    for generation in world.plans:
        world.drive(world.store, generation, iter([world.head()]), "last")
    assert all(Vector.from_json(answer.vector) == world.head() for answer in world.check())
    arbitrated(world)


def arbitrated(world: World) -> None:
    """Of all versions that were written, readers of the champion see those of its own view: its batch run in full."""
    champion = world.store.champion("plain")
    plan = world.plans[champion.generation]
    states = recomputed(world.logs, plan.cut)
    outputs = finished_outputs(plan, states) if states else {}
    versions = world.store.read("plain", [*"abc"])
    seen = {entity: champion.choose(versions[entity]) for entity in versions}
    assert {entity: (one[1].state, one[1].outputs) for entity, one in seen.items() if one} == {
        entity: (encode(held), outputs[entity]) for entity, held in states.items()
    }
