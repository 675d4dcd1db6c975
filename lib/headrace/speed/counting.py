"""What one interval of the log adds to one entity, and whether its item has counted it already. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from headrace.algebra import Aggregate, State, decode
from headrace.schemas import Vector
from headrace.schemas.positions import Log
from headrace.stores.port import SpeedItem

Features = Mapping[str, Aggregate]
States = Mapping[str, State]


@dataclass(frozen=True)
class Part:
    """The states of one entity's events of one log, from position `first` to `last`, both included.

    arrived_us: when the latest of them arrived, in microseconds of the epoch.
    """

    log: Log
    first: int
    last: int
    states: States
    arrived_us: int | None = None


@dataclass(frozen=True)
class Counted:
    """What an item holds once an interval is in it."""

    states: States
    vector: Vector


@dataclass(frozen=True)
class Mixed:
    """The item has counted some events of a part and not others: `vector` tells which, and the part cannot."""

    vector: Vector


def empty_states(features: Features) -> States:
    return {name: feature.empty() for name, feature in features.items()}


def merged(features: Features, left: States, right: States) -> States:
    """Both states together, feature by feature."""
    return {name: feature.merge(left[name], right[name]) for name, feature in features.items()}


def counted(
    features: Features, cut: Vector, standing: SpeedItem | None, parts: Sequence[Part]
) -> Counted | Mixed | None:
    """The item after all events of the parts that it has not counted; None where it has counted them all.

    A log that is absent in the item is counted up to the cut, and one that is absent in the cut not at all.
    """
    vector = standing.vector if standing is not None else Vector()
    reached = {part.log: max(vector.get(part.log, 0), cut.get(part.log, 0)) for part in parts}
    new = [part for part in parts if part.last >= reached[part.log]]
    if any(part.first < reached[part.log] for part in new):
        return Mixed(Vector(reached))
    if not new:
        return None
    states = decode(standing.state) if standing is not None else empty_states(features)
    return Counted(
        reduce(lambda held, part: merged(features, held, part.states), new, states),
        vector.join(Vector({part.log: part.last + 1 for part in new})),
    )
