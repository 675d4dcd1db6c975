"""Answers as of a past instant: what would have been answered then, recomputed from the lake without Spark."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from headrace.algebra import Aggregate, State
from headrace.algebra.aggregate import Types
from headrace.definitions import Definition
from headrace.definitions.archive import definition_sha256
from headrace.definitions.finish import ENTITY, finish, outputs_json
from headrace.definitions.load import BUILT_IN, load_definition
from headrace.registry import Registry
from headrace.registry.manifest import require_same
from headrace.registry.timeline import Timeline
from headrace.schemas import Vector
from headrace.schemas.lake import by_entity_path
from headrace.serving.lookup import UnknownKey
from headrace.serving.merge import Answer
from headrace.sources.by_entity import EventsByEntity

Event = Mapping[str, Any]


class Past:
    """The past of one definition; safe to use from many threads."""

    def __init__(self, lake: Path, registry: Registry, definition: Definition) -> None:
        self._definition = definition
        self._registry = registry
        self._timeline = Timeline(lake, definition.name)
        self._events = EventsByEntity(by_entity_path(lake, definition.name, definition_sha256(definition)))
        self._parameters: dict[int, tuple[Vector, Mapping[str, Any]]] = {}

    def one(self, entity: str, at: datetime) -> Answer:
        """What would have been answered for one entity at an instant.

        Raises UnknownKey, InputError for an instant without a time zone, AnswerIsNo where nothing was served then or
        its events are not found by entity yet, RegistryError where the generation's files are gone, DefinitionError
        where it was of another version of the definition.
        """
        moment = self._timeline.at(at)
        found = self.served(entity, moment.generation, moment.vector, at)
        if found is None:
            raise UnknownKey(
                f"{self._definition.name!r} had no prediction for entity {entity!r} at {at.isoformat()}",
                do="keys are exact text; it may have had no events that count",
            )
        features, prediction, layer = found
        age_s = max(0.0, round((at - moment.as_of).total_seconds(), 3))
        max_age = self._definition.max_age
        return Answer(
            definition=self._definition.name,
            entity=entity,
            prediction=prediction,
            features=features,
            generation=moment.generation,
            vector=moment.vector.to_json(),
            as_of=moment.as_of,
            age_s=age_s,
            stale=max_age is not None and age_s > max_age.total_seconds(),
            layer=layer,
        )

    def many(self, entities: Sequence[str], at: datetime) -> tuple[list[Answer], list[str]]:
        """`one` for each of the entities, and those that had no answer; in the order asked."""
        answers, missing = [], []
        for entity in entities:
            try:
                answers.append(self.one(entity, at))
            except UnknownKey:
                missing.append(entity)
        return answers, missing

    def served(
        self, entity: str, generation: int, vector: Vector, at: datetime
    ) -> tuple[Mapping[str, Any], Mapping[str, Any], str] | None:
        """Features, prediction and layer of one entity at a generation and vector; None without events below it."""
        cut, theta = self._of(generation)
        events = self._events.events(entity, vector)
        if not events:
            return None
        table = _states(self._definition.features, entity, events, theta["types"])
        row = finish(self._definition, theta, table, now=at.astimezone(UTC)).to_pylist()[0]
        features = {name: row[name] for name in self._definition.features}
        prediction = {name: value for name, value in row.items() if name != ENTITY and name not in features}
        # Spelled as it is stored for readers.
        said = json.loads(outputs_json(features, prediction))
        layer = "speed" if any(_since(event, cut) for event in events) else "batch"
        return said["features"], said["prediction"], layer

    def _of(self, generation: int) -> tuple[Vector, Mapping[str, Any]]:
        """The cut of a generation and its theta."""
        if generation not in self._parameters:
            manifest, theta = self._registry.parameters(self._definition.name, generation)
            require_same(self._definition, manifest, "look up with the definition as it was then")
            self._parameters[generation] = (Vector.from_json(manifest.cut), theta)
        return self._parameters[generation]


def _states(features: Mapping[str, Aggregate], entity: str, events: Iterable[Event], types: Types) -> pa.Table:
    """One row: the entity, and the state of its events for each feature."""
    held: dict[str, State] = {name: feature.empty() for name, feature in features.items()}
    for event in events:
        held = {name: feature.merge(held[name], feature.lift(event, types)) for name, feature in features.items()}
    columns = {name: pa.array([held[name]], feature.arrow_type(types)) for name, feature in features.items()}
    return pa.table({ENTITY: pa.array([entity], pa.string()), **columns})


def _since(event: Event, cut: Vector) -> bool:
    return bool(event["_position"] >= cut.get((event["_incarnation"], event["_partition"]), 0))


class Pasts:
    """The pasts of definitions whose code is here, by their names.

    named: as `load_definition` takes them, beside those that are built in. Raises DefinitionError for one that is not
    to be had.
    """

    def __init__(self, lake: Path, registry: Registry, named: Iterable[str]) -> None:
        loaded = [load_definition(name) for name in (*BUILT_IN, *named)]
        self._held = {definition.name: Past(lake, registry, definition) for definition in loaded}

    def of(self, definition: str) -> Past | None:
        """The past of a definition; None where its code is not here."""
        return self._held.get(definition)
