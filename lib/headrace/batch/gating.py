"""What a learner is fitted on, with the keys that samples are split by, and what a gate finds in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.definitions import Definition
from headrace.definitions.definition import DROP_REASON
from headrace.definitions.events import marked, prepared
from headrace.evaluate.gate import Verdict
from headrace.evaluate.metrics import measured
from headrace.evaluate.selection import held_out
from headrace.evaluate.splits import by_hash
from headrace.models.learner import Fitted
from headrace.schemas.positions import PLACE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def sample_keys(definition: Definition) -> tuple[str, ...]:
    """The columns that tell samples apart: an event's position, or the entity."""
    return PLACE if definition.event_learner is not None else ("entity",)


def fit_columns(definition: Definition) -> tuple[str, ...]:
    """The columns of samples that `Learner.fit` is given."""
    return definition.sample_columns or tuple(definition.features)


def samples_of(definition: Definition, rows: DataFrame) -> DataFrame:
    """The samples of the definition's learner.

    In: entity and one finished column a feature, or the prepared events, whichever they are.
    Out: `sample_keys`, `fit_columns`.
    """
    return rows.select(*sample_keys(definition), *fit_columns(definition))


@dataclass(frozen=True)
class Sides:
    """Prepared events to fit on, and those held out by the definition's `training`, None without one."""

    training: DataFrame
    held_out: DataFrame | None


def sides(definition: Definition, events: DataFrame) -> Sides:
    """The events of a snapshot on their sides. Percentages count events that `prepare` drops, too."""
    if definition.training is None:
        return Sides(prepared(definition, events), None)
    from pyspark.sql import functions as F

    parts = definition.training.parts(marked(definition, events))
    training, held_out = (
        side.where(F.col(DROP_REASON).isNull()).drop(DROP_REASON) for side in (parts.training(0), parts.held_out(0))
    )
    return Sides(training, held_out)


def judged(
    definition: Definition, learned: Fitted | None, features: DataFrame, events: Sides
) -> tuple[dict[str, Any], Verdict | None]:
    """`held_out`, the metrics over the samples that were held out, and the gate's verdict on them.

    Held out are the events beyond the definition's `training`, measured by what was fitted on those; without one, the
    samples that the gate draws, measured by a fit on the others. Neither without both.
    """
    if events.held_out is None or learned is None or definition.learner is None:
        return gated(definition, features, events.training)
    columns = fit_columns(definition)
    samples = events.held_out.select(*columns).persist()
    try:
        metrics = measured(definition.learner, learned, samples, columns)
    finally:
        samples.unpersist(blocking=True)
    return {"held_out": metrics}, definition.gate.verdict(metrics) if definition.gate else None


def gated(definition: Definition, features: DataFrame, events: DataFrame) -> tuple[dict[str, Any], Verdict | None]:
    """`held_out`, the metrics over the samples that the gate holds out, and its verdict; neither without a gate.

    features, events: as `samples_of` takes either. Raises InputError when the other samples cannot be fitted, or these
    not be measured.
    """
    if definition.gate is None or definition.learner is None:
        return {}, None
    gate = definition.gate
    samples = samples_of(definition, events if definition.event_learner is not None else features)
    parts = by_hash(samples, sample_keys(definition), gate.share, gate.seed)
    parts.rows.persist()
    try:
        metrics = held_out(definition.learner, parts, 0, fit_columns(definition))
    finally:
        parts.rows.unpersist(blocking=True)
    return {"held_out": metrics}, gate.verdict(metrics)
