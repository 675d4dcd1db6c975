"""Theta: everything of a generation that is computed from more than one entity, fitted once and then frozen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.definitions import Definition
from headrace.models.learner import Fitted
from headrace.models.samples import ranges
from headrace.models.texts import known_texts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def unfitted(definition: Definition, types: Mapping[str, str], latest_event: datetime) -> dict[str, Any]:
    """What is known before anything is fitted: the reference instant, the zone, the types that features read."""
    return {
        "reference": definition.clock.reference(latest_event).isoformat(),
        "zone": definition.zone,
        "types": dict(types),
        "learner": None,
        "derive": None,
    }


def fitted(
    definition: Definition,
    theta: Mapping[str, Any],
    features: DataFrame,
    events: DataFrame,
    base: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], Fitted | None]:
    """Theta with the learner's and the derivation's parameters, the ranges of its numbers, and the fitted learner.

    features: entity and one finished column a feature, read more than once. events: the prepared events, read for
    a learner whose samples they are. base: the champion's theta, whose labels a learner keeps.
    """
    made: dict[str, Any] = dict(theta)
    learned = None
    if definition.learner is not None:
        kept = base["learner"] if base else None
        if definition.event_learner is not None:
            samples = events.select(*definition.sample_columns).persist()
            try:
                learned = definition.learner.fit(samples, definition.sample_columns, kept)
                inputs, texts = definition.learner.inputs(()), known_texts(learned.parameters)
                made["ranges"] = ranges(samples, [name for name in inputs if name not in texts])
            finally:
                samples.unpersist(blocking=True)
        else:
            names = tuple(definition.features)
            learned = definition.learner.fit(features, names, kept)
            made["ranges"] = ranges(features, definition.learner.inputs(names))
        made["learner"] = learned.parameters
    if definition.derive is not None:
        made["derive"] = definition.derive.fit(features)
    return made, learned
