"""The model item: what samples have added to a generation's fitted parameters, each sample once.

Samples that are events are added by every interval, beyond the item's own vector, as an entity's events are. Samples
that are entities change with every event, so they are taken anew from a snapshot of the lake.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from headrace.algebra import encode
from headrace.batch.finished import features_of
from headrace.batch.train import countable_states, named_bounds
from headrace.config import Settings
from headrace.definitions import Definition
from headrace.errors import DefinitionError, StoreError, StoreUnavailable
from headrace.models.contribution import contributed
from headrace.models.learner import Contribution, Learner
from headrace.registry import Generation
from headrace.schemas import Vector
from headrace.sources.lake import Snapshot, snapshot
from headrace.speed.served import generation_served
from headrace.speed.settling import ROUNDS, Plan
from headrace.stores.port import ModelItem, Store

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Sampled(Protocol):
    """An interval of the log whose events are samples."""

    @property
    def plan(self) -> Plan: ...

    @property
    def start(self) -> Vector: ...

    @property
    def end(self) -> Vector: ...

    def sampled(self, beyond: Vector) -> Contribution:
        """What the events from `beyond` on contribute to the event learner."""


def learn(interval: Sampled, store: Store) -> None:
    """Add the interval's samples to the model item of its generation, those it holds already left out.

    Raises StoreError when the interval begins beyond what the item holds.
    """
    plan = interval.plan
    learner = plan.definition.event_learner
    assert learner is not None  # noqa: S101 - the caller asks for it

    def after(standing: ModelItem | None) -> ModelItem | None:
        reached = standing.vector if standing is not None else plan.cut
        if reached.covers(interval.end):
            return None
        if not reached.covers(interval.start):
            raise StoreError(
                f"the parameters of generation {plan.generation} of {plan.definition.name!r} would leave samples out",
                found=f"an interval from {interval.start.to_json()}",
                expected=f"at or below {reached.to_json()}",
                do="train and promote a new generation",
            )
        added = interval.sampled(reached)
        held = contribution_of(standing) if standing is not None else learner.empty(plan.theta["learner"])
        return _item(standing, learner.merge(held, added), reached.join(interval.end))

    _guarded(store, plan.definition.name, plan.generation, after)


@dataclass(frozen=True)
class Refreshed:
    """What taking all entities anew did: whether the item was written, the entities in it, and its vector."""

    generation: int
    written: bool
    entities: int
    vector: Vector


def refresh(spark: SparkSession, settings: Settings, definition: Definition, store: Store) -> Refreshed:
    """Take the contribution of every entity anew from the lake's latest snapshot, under the champion's theta.

    Raises AnswerIsNo where nothing is served yet, DefinitionError for a definition without a learner of entities or
    one that is not the champion's.
    """
    learner = definition.entity_learner
    if learner is None:
        raise DefinitionError(
            f"definition {definition.name!r} has no parameters to refresh",
            found="no learner"
            if definition.learner is None
            else f"{definition.learner.kind}, whose samples are events",
            expected="a learner of entities, such as KMeans",
            do="events keep a learner of events live by themselves: headrace stream",
        )
    champion = store.champion(definition.name)
    generation = generation_served(settings, definition, champion)
    seen = snapshot(spark, settings.lake, definition.source.name)

    def holds_all(standing: ModelItem | None) -> bool:
        return standing is not None and standing.vector.covers(seen.cut)

    if holds_all(store.read_model(definition.name, champion.generation)):
        return Refreshed(champion.generation, written=False, entities=0, vector=seen.cut)
    contribution, entities = of_entities(definition, learner, generation, seen)
    written = _guarded(
        store,
        definition.name,
        champion.generation,
        lambda standing: None if holds_all(standing) else _item(standing, contribution, seen.cut),
    )
    return Refreshed(champion.generation, written, entities, seen.cut)


def of_entities(
    definition: Definition, learner: Learner, generation: Generation, seen: Snapshot
) -> tuple[Contribution, int]:
    """What all entities of a snapshot contribute, finished at the generation's reference, and how many they are."""
    theta = generation.theta()
    states, _ = countable_states(definition, seen.events)
    features = features_of(states, definition, theta).persist()
    try:
        with named_bounds():
            entities = features.count()
        inputs = learner.inputs(tuple(definition.features))
        return contributed(learner, theta["learner"], features, inputs), entities
    finally:
        features.unpersist(blocking=True)


def contribution_of(item: ModelItem) -> Contribution:
    """The contribution an item holds."""
    return json.loads(item.contribution)


def _item(standing: ModelItem | None, contribution: Contribution, vector: Vector) -> ModelItem:
    return ModelItem(encode(contribution).decode(), vector, standing.writes + 1 if standing is not None else 1)


def _guarded(store: Store, name: str, generation: int, after: Callable[[ModelItem | None], ModelItem | None]) -> bool:
    """Write what follows from the item that stands, until no other writer was first; whether there was anything to."""
    for _ in range(ROUNDS):
        following = after(store.read_model(name, generation))
        if following is None:
            return False
        if store.write_model(name, generation, following):
            return True
    raise StoreUnavailable(
        f"the model item of {name!r} was written by others {ROUNDS} times in a row", found=generation, do="rerun"
    )
