"""Contributions of an interval to the store: read, count what is new, finish, write guarded, redo what lost a race.

Runs on executors. Whatever crashed, replayed or raced, an item tells by itself which events are in it.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa

from headrace.algebra import decode, encode
from headrace.definitions import Definition
from headrace.definitions.finish import ENTITY, finish, stored_outputs
from headrace.errors import StoreUnavailable
from headrace.schemas import Vector
from headrace.speed.counting import Counted, Mixed, Part, States, counted, empty_states, merged
from headrace.stores.port import Champion, Held, SpeedItem, Store, Version

# Upper ends, in seconds, of the classes that freshness is counted in; beyond the last is the last class.
FRESHNESS_S = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)
_CHUNK = 100  # what one read takes
ROUNDS = 50  # lost races on one item before the store is given up


@dataclass(frozen=True)
class Plan:
    """What a generation's speed layer needs of it: everything but the log and the store.

    view: what readers of this generation see in a batch item.
    """

    definition: Definition
    generation: int
    view: Champion
    cut: Vector
    theta: Mapping[str, Any]


@dataclass
class Settled:
    """What became of the contributions: counts of entities, and those whose parts must be cut anew.

    written: items written. replayed: entities of whose parts nothing was new. refused: writes that lost a race.
    mixed: entity -> the vector beyond which its events are to be counted. freshness: items by the time from the
    arrival of their latest event to the answer to their write, in the classes of FRESHNESS_S; freshness_s: its sum.
    """

    written: int = 0
    replayed: int = 0
    refused: int = 0
    calls: int = 0
    throttled: int = 0
    mixed: dict[str, Vector] = field(default_factory=dict)
    freshness: list[int] = field(default_factory=lambda: [0] * (len(FRESHNESS_S) + 1))
    freshness_s: float = 0.0

    def add(self, other: Settled) -> None:
        """Count another call's outcome in."""
        for name in ("written", "replayed", "refused", "calls", "throttled", "freshness_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.mixed |= other.mixed
        self.freshness = [a + b for a, b in zip(self.freshness, other.freshness, strict=True)]

    def to_json(self) -> str:
        held = {**vars(self), "mixed": {entity: vector.to_json() for entity, vector in self.mixed.items()}}
        return json.dumps(held)

    @classmethod
    def from_json(cls, text: str) -> Settled:
        held = json.loads(text)
        held["mixed"] = {entity: Vector.from_json(rows) for entity, rows in held["mixed"].items()}
        return cls(**held)

    def count_age(self, age_s: float) -> None:
        """Count one item's freshness."""
        self.freshness[bisect_left(FRESHNESS_S, age_s)] += 1
        self.freshness_s += age_s


def settle(
    store: Store, plan: Plan, contributions: Mapping[str, Sequence[Part]], clock: Callable[[], float]
) -> Settled:
    """Count every entity's parts in its item, all parts of an entity in one write or none.

    clock: the time in seconds of the epoch, by which freshness is told.
    """
    settled = Settled()
    left = iter(contributions.items())
    while chunk := dict(islice(left, _CHUNK)):
        _settle(store, plan, chunk, settled, clock)
    return settled


def _settle(
    store: Store,
    plan: Plan,
    chunk: Mapping[str, Sequence[Part]],
    settled: Settled,
    clock: Callable[[], float],
) -> None:
    name, generation, features = plan.definition.name, plan.generation, plan.definition.features
    held = store.read_speed(name, generation, list(chunk), patient=True)
    standing = {entity: held.get(entity, Held()).speed for entity in chunk}
    pending = dict(chunk)
    for _ in range(ROUNDS):
        after: dict[str, Counted] = {}
        for entity, parts in pending.items():
            outcome = counted(features, plan.cut, standing[entity], parts)
            if isinstance(outcome, Mixed):
                settled.mixed[entity] = outcome.vector
            elif outcome is None:
                settled.replayed += 1
            else:
                after[entity] = outcome
        if not after:
            return
        report = store.write_speed(name, generation, dict(_items(plan, held, standing, after)))
        settled.written += report.written.items
        settled.calls += report.written.calls
        settled.throttled += report.written.throttled
        settled.refused += len(report.refused)
        now = clock()
        for entity in after.keys() - report.refused.keys():
            arrived = [part.arrived_us for part in chunk[entity] if part.arrived_us is not None]
            if arrived:
                settled.count_age(max(0.0, now - max(arrived) / 1e6))
        standing |= report.refused
        pending = {entity: pending[entity] for entity in report.refused}
    raise StoreUnavailable(
        f"items of {name!r} were written by others {ROUNDS} times in a row", found=sorted(pending)[:3], do="rerun"
    )


def _items(
    plan: Plan, held: Mapping[str, Held], standing: Mapping[str, SpeedItem | None], after: Mapping[str, Counted]
) -> Iterator[tuple[str, SpeedItem]]:
    """The items to write, their outputs finished from batch and speed state together."""
    features = plan.definition.features
    whole = {
        entity: merged(features, batch_states(plan, held.get(entity, Held()).versions), one.states)
        for entity, one in after.items()
    }
    outputs = finished_outputs(plan, whole)
    for entity, one in after.items():
        before = standing[entity]
        writes = before.writes + 1 if before is not None else 1
        yield entity, SpeedItem(encode(one.states), outputs[entity], one.vector, writes)


def batch_states(plan: Plan, versions: Mapping[int, Version]) -> States:
    """The states of an entity's events before the cut, as the generation's readers see them."""
    chosen = plan.view.choose(versions)
    if chosen is None or chosen[1].state is None:
        return empty_states(plan.definition.features)
    return decode(chosen[1].state)


def finished_outputs(plan: Plan, states: Mapping[str, States]) -> dict[str, str]:
    """entity -> outputs as stored, finished under the generation's theta."""
    definition, types = plan.definition, plan.theta["types"]
    columns = {
        name: pa.array([one[name] for one in states.values()], type=feature.arrow_type(types))
        for name, feature in definition.features.items()
    }
    table = pa.table({ENTITY: pa.array(list(states), pa.string()), **columns})
    return dict(zip(states, stored_outputs(definition, finish(definition, plan.theta, table)), strict=True))
