"""Select a learner's settings on one snapshot of the lake; nothing is sealed and nothing is served by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.batch.finished import features_of
from headrace.batch.gating import fit_columns, sample_keys, samples_of
from headrace.batch.tasks import counting
from headrace.batch.theta import unfitted
from headrace.batch.train import countable_states, named_bounds
from headrace.config import Settings
from headrace.definitions import Definition
from headrace.definitions.events import prepared
from headrace.errors import DefinitionError
from headrace.evaluate.metrics import metric_named
from headrace.evaluate.selection import Grid, Selection, combinations, grid_from, select
from headrace.evaluate.splits import Parts
from headrace.models.learner import Learner
from headrace.sources.lake import Snapshot, snapshot

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Split = Callable[["DataFrame", Sequence[str]], Parts]


@dataclass(frozen=True)
class Selected:
    """A selection, and the samples of which lake version it was made on."""

    selection: Selection
    samples: int
    delta_version: int


def require_grid(
    definition: Definition, texts: Mapping[str, Sequence[str]], metric: str | None
) -> tuple[Learner, Grid]:
    """The learner whose settings are to be selected, and the grid that `texts` spell.

    Raises DefinitionError for a grid or metric it does not have.
    """
    learner = definition.learner
    if learner is None:
        raise DefinitionError(f"definition {definition.name!r} has no learner whose settings could be selected")
    grid = grid_from(learner, texts)
    combinations(learner, grid)
    metric_named(learner, metric)
    return learner, grid


def select_settings(
    spark: SparkSession,
    settings: Settings,
    definition: Definition,
    texts: Mapping[str, Sequence[str]],
    split: Split,
    *,
    metric: str | None = None,
    parallelism: int = 2,
    progress: bool = False,
) -> Selected:
    """Fit and measure every combination of the grid on the samples of the newest snapshot.

    texts: values by setting, as text. split: of the samples by their keys. Raises as `require_grid`, and InputError
    when no combination can be measured.
    """
    learner, grid = require_grid(definition, texts, metric)
    seen = snapshot(spark, settings.lake, definition.source.name)
    parts = split(_samples(definition, seen), sample_keys(definition))
    parts.rows.persist()
    try:
        with named_bounds():
            rows = parts.rows.count()
        fits = parts.turns * len(combinations(learner, grid))
        with counting(f"select {definition.name}", fits, shown=progress) as done:
            columns = fit_columns(definition)
            found = select(learner, parts, columns, grid, metric=metric, parallelism=parallelism, done=done)
    finally:
        parts.rows.unpersist(blocking=True)
    return Selected(found, rows, seen.version)


def _samples(definition: Definition, seen: Snapshot) -> DataFrame:
    if definition.event_learner is not None:
        return samples_of(definition, prepared(definition, seen.events))
    states, types = countable_states(definition, seen.events)
    return samples_of(definition, features_of(states, definition, unfitted(definition, types, seen.latest_event)))
