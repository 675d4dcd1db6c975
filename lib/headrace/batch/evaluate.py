"""Evaluate a sealed generation on events that it was not fitted on, alone or beside another generation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.batch.scored import REASON, named_refusals, part_of, required_learner, scored
from headrace.config import Settings
from headrace.definitions import Definition
from headrace.errors import InputError
from headrace.evaluate.assessment import against, assessed
from headrace.evaluate.metrics import classes_of
from headrace.evaluate.splitting import Splitting
from headrace.registry import Manifest, Registry
from headrace.registry.manifest import require_same
from headrace.schemas.lake import FOUND
from headrace.sources.lake import events_at

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class Evaluation:
    """What was found of a generation, and of another one on the same events.

    skipped: events that are not scored or have no label, by reason.
    """

    definition: str
    generation: int
    target: str
    delta_version: int
    part: Splitting | None
    found: Mapping[str, Any]
    skipped: Mapping[str, int]
    other: int | None = None
    against: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "definition": self.definition,
            "generation": self.generation,
            "target": self.target,
            "delta_version": self.delta_version,
            **(self.part.to_json() if self.part else {"splitting": None}),
            **self.found,
            "skipped": dict(self.skipped),
            **({"other": self.other, "against": list(self.against)} if self.other is not None else {}),
        }


def held_out_part(definition: Definition, named: Splitting | None) -> Splitting:
    """The part to evaluate on: what is named, else what the definition does not train on.

    Raises InputError where neither says which.
    """
    if named is not None:
        return named
    if definition.training is None:
        raise InputError(
            f"definition {definition.name!r} holds nothing out",
            do='declare `training`, or name a part: --part \'{"splitting": {"percentBegin": 70, "percentEnd": 100}}\'',
        )
    return definition.training.complemented()


def evaluate(
    spark: SparkSession,
    settings: Settings,
    definition: Definition,
    generation: int,
    *,
    part: Splitting | None = None,
    other: int | None = None,
) -> Evaluation:
    """Score the part of the generation's own snapshot (None: what the definition holds out) and measure it.

    other: a generation to be measured on the same events.
    Raises DefinitionError for a definition that neither generation was trained with, InputError when no event is left.
    """
    learner, registry = required_learner(definition), Registry(settings.registry)
    chosen = held_out_part(definition, part)
    manifest, theta = _required(registry, definition, generation)
    events = events_at(spark, settings.lake, manifest.stream, manifest.delta_version)
    rows = part_of(definition, events, chosen).persist()
    try:
        found, skipped = _measured(definition, theta, rows)
        compared: tuple[Mapping[str, Any], ...] = ()
        if other is not None:
            beside, _ = _measured(definition, _required(registry, definition, other)[1], rows)
            compared = tuple(one.to_json() for one in against(learner, found, beside))
    finally:
        rows.unpersist(blocking=True)
    return Evaluation(
        definition=definition.name,
        generation=generation,
        target=str(definition.target),
        delta_version=manifest.delta_version,
        part=chosen,
        found=found,
        skipped=skipped,
        other=other,
        against=compared,
    )


def _required(registry: Registry, definition: Definition, generation: int) -> tuple[Manifest, dict[str, Any]]:
    manifest, theta = registry.parameters(definition.name, generation)
    require_same(definition, manifest, do="evaluate with the definition it was trained with, or train again")
    return manifest, theta


def _measured(
    definition: Definition, theta: Mapping[str, Any], rows: DataFrame
) -> tuple[dict[str, Any], dict[str, int]]:
    from pyspark.sql import functions as F

    learner = required_learner(definition)
    made = scored(definition, theta["learner"], rows).persist()
    try:
        finite = F.coalesce(F.abs("actual") < float("inf"), F.lit(0) > 0)  # in Spark, NaN is greater than infinity
        classes = classes_of(learner)
        if classes:
            finite &= F.col("actual").isin([float(each) for each in range(classes)])
        why = F.coalesce(F.substring_index(REASON, FOUND, 1), F.when(~finite, F.lit(f"no {definition.target}")))
        with named_refusals():
            counts = made.groupBy(why.alias("why")).count().collect()
        skipped = Counter({row["why"]: row["count"] for row in counts if row["why"] is not None})
        return assessed(learner, made.where(why.isNull())), dict(skipped.most_common())
    finally:
        made.unpersist(blocking=True)
