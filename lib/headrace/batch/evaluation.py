"""What a learner is fitted on, with the keys that samples are split by, and what a gate finds in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.definitions import Definition
from headrace.evaluate.gate import Verdict
from headrace.evaluate.selection import held_out
from headrace.evaluate.splits import by_hash
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
