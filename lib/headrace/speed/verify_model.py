"""The proof of live parameters: the model item equals a recomputation from the lake, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace.algebra import encode
from headrace.config import Settings
from headrace.definitions import Definition, prepared
from headrace.models.contribution import contributed
from headrace.models.learner import Contribution, Learner
from headrace.registry import Generation
from headrace.schemas import HISTORY, META_COLUMNS, Vector
from headrace.sources.lake import Snapshot, snapshot
from headrace.speed.lake_wait import await_lake
from headrace.speed.learning import contribution_of, of_entities
from headrace.speed.ranges import between
from headrace.stores.port import ModelItem

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_KEY = "(parameters)"


def model_finding(
    spark: SparkSession,
    settings: Settings,
    definition: Definition,
    generation: Generation,
    *,
    counted: Vector,
    item: ModelItem | None,
    wait_s: float,
) -> dict[str, Any] | None:
    """The finding when a generation's model item is not what its samples add up to; None where it is.

    counted: the progress of the generation, read before the item.
    Raises TransientError when the lake does not hold the samples yet.
    """
    learner = definition.learner
    if learner is None or (item is None and learner.sample == "entity"):
        return None
    cut = Vector.from_json(generation.manifest.cut)
    reached = item.vector if item is not None else cut
    if learner.sample == "event":
        reached = reached.join(counted)
    live = Vector({log: n for log, n in reached.items() if log[0] != HISTORY and n > cut.get(log, 0)})
    if live:
        await_lake(spark, settings, definition.source.name, live, wait_s)
    seen = snapshot(spark, settings.lake, definition.source.name)
    if learner.sample == "event":
        recomputed = _of_events(definition, learner, generation, seen, cut=cut, live=live)
    else:
        columns = [*definition.source.schema.names, *META_COLUMNS]
        until = replace(seen, events=between(seen.events.select(*columns), Vector(), reached))
        recomputed, _ = of_entities(definition, learner, generation, until)
    held = contribution_of(item) if item is not None else learner.empty(generation.theta()["learner"])
    served, again = (encode(contribution).decode() for contribution in (held, recomputed))
    return None if again == served else {"entity": _KEY, "finding": "mismatched", "served": served, "recomputed": again}


def _of_events(
    definition: Definition, learner: Learner, generation: Generation, seen: Snapshot, *, cut: Vector, live: Vector
) -> Contribution:
    theta = generation.theta()["learner"]
    if not live:
        return learner.empty(theta)
    samples = prepared(definition, between(seen.events, cut, live))
    return contributed(learner, theta, samples, definition.sample_columns)
