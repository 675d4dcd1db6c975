"""The laws of the speed layer can fail: each rule of the protocol, taken out, is found out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import test_speed_law as laws
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from speed_world import NOW, Event, PythonInterval, World
from test_publication_race import publications

from headrace.errors import StoreError
from headrace.schemas import Vector
from headrace.speed import counting, handover, interval, learning, settling
from headrace.speed.counting import Counted, Mixed
from headrace.stores.memory import MemoryStore
from headrace.stores.port import Champion, ModelItem, Progress, SpeedItem, SpeedReport, WriteReport

Patch = pytest.MonkeyPatch
# A mutation need only be found, not made small.
FIND = (Phase.explicit, Phase.generate)


def no_guard(patch: Patch) -> None:
    def write(self: MemoryStore, definition: str, generation: int, items: dict[str, SpeedItem]) -> SpeedReport:
        self._speed[definition, generation].update(items)
        return SpeedReport({}, WriteReport(items=len(items)))

    patch.setattr(MemoryStore, "write_speed", write)


def vector_ignored(patch: Patch) -> None:
    """What an item has counted before is counted again."""

    def counted(features: Any, cut: Vector, standing: SpeedItem | None, parts: Any) -> Counted | Mixed | None:
        forgetful = replace(standing, vector=Vector()) if standing is not None else None
        return counting.counted(features, cut, forgetful, parts)

    patch.setattr(settling, "counted", counted)


def cut_ignored(patch: Patch) -> None:
    """The speed layer counts from the beginning of the log, not from the cut."""
    origin = World.drive

    def drive(self: Any, store: Any, generation: int, ends: Any, owner: str) -> Progress:
        self.plans[generation] = replace(self.plans[generation], cut=Vector())
        return origin(self, store, generation, ends, owner)

    patch.setattr(World, "drive", drive)


def part_of_an_entity_alone(patch: Patch) -> None:
    """A write carries the first log's events only, and says all are counted."""
    origin = counting.counted

    def counted(features: Any, cut: Vector, standing: SpeedItem | None, parts: Any) -> Counted | Mixed | None:
        return origin(features, cut, standing, parts[:1])

    patch.setattr(settling, "counted", counted)


def mixed_counts_all(patch: Patch) -> None:
    """An item that has counted some events of a part is given the whole part."""
    origin = counting.counted

    def counted(features: Any, cut: Vector, standing: SpeedItem | None, parts: Any) -> Counted | Mixed | None:
        found = origin(features, cut, standing, parts)
        if isinstance(found, Mixed) and standing is not None:
            return origin(features, cut, replace(standing, vector=Vector()), parts)
        return found

    patch.setattr(settling, "counted", counted)


def file_order(patch: Patch) -> None:
    """Catch-up takes the lake's files as they come, each saying that all before its end is counted: the later first."""
    origin = PythonInterval.settle

    def settle(self: PythonInterval, beyond: Any) -> settling.Settled:
        half = Vector({log: (self.start.get(log, 0) + n + 1) // 2 for log, n in self.end.items()})
        settled = origin(replace(self, start=half), beyond)
        settled.add(origin(replace(self, end=half), beyond))
        return settled

    patch.setattr(PythonInterval, "settle", settle)


def skip_ignored(patch: Patch) -> None:
    """Readers see what was published half, or taken back."""
    patch.setattr(Champion, "sees", lambda self, generation: self.floor <= generation <= self.generation)


def progress_first(patch: Patch) -> None:
    """The progress item advances before the items are written."""

    def count(one: Any, store: Any, progress: Progress, as_of: Any) -> interval.Interim:
        advanced = replace(progress, vector=progress.vector.join(one.end))
        store.advance(advanced)
        settled = one.settle(None)
        while settled.mixed:
            beyond, settled.mixed = settled.mixed, {}
            settled.add(one.settle(beyond))
        learning.learn(one, store)
        return interval.Interim(advanced, settled, 0)

    patch.setattr("speed_world.count", count)


def epoch_ignored(patch: Patch) -> None:
    """Whoever comes writes the progress item."""

    def advance(self: MemoryStore, progress: Progress) -> None:
        self._progress[progress.definition, progress.generation] = progress

    patch.setattr(MemoryStore, "advance", advance)


def no_barrier(patch: Patch) -> None:
    patch.setattr(handover, "_wait", lambda *_: None)


def no_fence(patch: Patch) -> None:
    """The old generation goes on while the candidate catches up with what it had."""

    class Unfenced(MemoryStore):
        def take_over(self, definition: str, generation: int, owner: str, start: Vector, as_of: Any) -> Progress:
            standing = self.progress(definition, generation)
            if standing is not None and owner.startswith(handover.HANDED):
                return standing
            return super().take_over(definition, generation, owner, start, as_of)

    origin = World.__init__
    patch.setattr(World, "__init__", lambda self, logs: origin(self, logs, Unfenced()))


def model_unguarded(patch: Patch) -> None:
    def write(self: MemoryStore, definition: str, generation: int, item: ModelItem) -> bool:
        self._models[definition, generation] = item
        return True

    patch.setattr(MemoryStore, "write_model", write)


def model_vector_ignored(patch: Patch) -> None:
    """Whatever the model item has counted of an interval, all of the interval is added."""
    origin = PythonInterval.sampled
    patch.setattr(PythonInterval, "sampled", lambda self, _: origin(self, self.start))


def model_after_progress(patch: Patch) -> None:
    """The progress item says that samples are counted before they are."""

    def count(one: Any, store: Any, progress: Progress, as_of: Any) -> interval.Interim:
        found = plain(one, store, progress, as_of)
        learning.learn(one, store)
        return found

    plain = interval.count
    patch.setattr(interval, "learn", lambda *_: None)
    patch.setattr("speed_world.count", count)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mutation", "law"),
    [
        (no_guard, laws.races),
        (vector_ignored, laws.races),
        (cut_ignored, laws.races),
        (part_of_an_entity_alone, laws.races),
        (mixed_counts_all, laws.races),
        (file_order, laws.races),
        (progress_first, laws.races),
        (epoch_ignored, laws.races),
        (model_unguarded, laws.races),
        (model_vector_ignored, laws.races),
        (model_after_progress, laws.races),
        (no_barrier, laws.flips),
        (no_fence, laws.flips),
        (skip_ignored, publications),
    ],
    ids=lambda value: value.__name__,
)
def test_a_broken_rule_is_found_out(
    monkeypatch: Patch, mutation: Callable[[Patch], None], law: Callable[[st.DataObject], None]
) -> None:
    mutation(monkeypatch)
    often = settings(max_examples=1500, deadline=None, derandomize=True, database=None, phases=FIND)
    with pytest.raises((AssertionError, StoreError)):
        often(given(st.data())(law))()


def test_an_interval_beyond_the_progress_is_refused() -> None:
    """P(g) is checked: an interval that begins beyond it would leave events out for good."""
    world = World({("topic", "0"): [Event("a", 1.0, None, 0), Event("a", 2.0, None, 1)]})
    world.publish(1, Vector())
    progress = world.store.take_over("plain", 1, "driver", Vector(), NOW)
    late = PythonInterval(
        world.store, world.plans[1], world.logs, Vector({("topic", "0"): 1}), Vector({("topic", "0"): 2})
    )
    with pytest.raises(StoreError, match="leaves events out"):
        interval.count(late, world.store, progress, NOW)
    assert list(world.store.scan_speed("plain", 1)) == []
