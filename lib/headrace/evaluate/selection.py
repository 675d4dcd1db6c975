"""Selection: a learner fitted with every combination of settings, each measured on samples that were held out.

Spark ML's CrossValidator tunes estimators by one metric and fits the best one anew. Here a learner is fitted as
training fits it, all its metrics come from one look at the held-out samples, and a combination that cannot be fitted
says why instead of ending the others.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, get_type_hints

from headrace.errors import DefinitionError, InputError, nearest
from headrace.evaluate.metrics import Metric, measured, metric_named
from headrace.evaluate.splits import Parts
from headrace.models.learner import Learner

Settings = Mapping[str, Any]
Grid = Mapping[str, Sequence[Any]]
_Outcome = dict[str, Any] | str  # the metrics of a turn, or why there are none


@dataclass(frozen=True)
class Trial:
    """One combination of settings: its metrics in every turn, or why it could not be fitted or measured."""

    settings: Settings
    turns: tuple[dict[str, Any], ...] = ()
    refusal: str | None = None

    def mean(self, metric: str) -> float:
        """Over the turns."""
        return statistics.fmean(turn[metric] for turn in self.turns)

    def spread(self, metric: str) -> float | None:
        """The standard deviation (over n - 1) of the turns; None of a single one."""
        return statistics.stdev(turn[metric] for turn in self.turns) if len(self.turns) > 1 else None


@dataclass(frozen=True)
class Selection:
    """All trials in the grid's order, and the metric they are compared by."""

    metric: Metric
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The trial of the best mean, the first of equal ones. Raises InputError when every one was refused."""
        measured_ones = [trial for trial in self.trials if trial.refusal is None]
        if not measured_ones:
            raise InputError("no combination of settings can be measured", found=self.trials[0].refusal)
        better = max if self.metric.greater_is_better else min
        return better(measured_ones, key=lambda trial: trial.mean(self.metric.name))


def grid_from(learner: Learner, texts: Mapping[str, Sequence[str]]) -> Grid:
    """A grid whose values are given as text. Raises DefinitionError as `combinations`, and for a value of a wrong type.

    >>> from headrace.models.kmeans import KMeans
    >>> grid_from(KMeans(3), {"k": ["2", "4"]})
    {'k': [2, 4]}
    """
    from pydantic import TypeAdapter, ValidationError

    require_settings(learner, texts)
    hints = get_type_hints(type(learner))
    grid: dict[str, list[Any]] = {}
    for name, values in texts.items():
        try:
            grid[name] = [TypeAdapter(hints[name]).validate_strings(value) for value in values]
        except ValidationError as error:
            raise DefinitionError(
                f"{name!r} of a learner of kind {learner.kind!r} has no such value",
                found=", ".join(values),
                expected=error.errors()[0]["msg"],
            ) from error
    return grid


def require_settings(learner: Learner, names: Mapping[str, Any]) -> None:
    """DefinitionError, with the nearest, for a name that is no setting of the learner, or for none at all."""
    known = [field.name for field in dataclasses.fields(learner)]  # type: ignore[arg-type]  # learners are dataclasses
    for name in names or [""]:
        if name not in known:
            raise DefinitionError(
                f"a learner of kind {learner.kind!r} has no such setting",
                found=repr(name) if name else "no setting to vary",
                expected=f"one of {', '.join(known)}",
                nearest=nearest(name, known),
            )


def combinations(learner: Learner, grid: Grid) -> list[tuple[Settings, Learner]]:
    """Every combination of the grid's values and the learner with it, the last setting varying first.

    Raises DefinitionError for a name that is no setting of the learner, no value, or a value it refuses.

    >>> from headrace.models.kmeans import KMeans
    >>> [learner.k for _, learner in combinations(KMeans(3), {"k": [2, 4]})]
    [2, 4]
    """
    require_settings(learner, grid)
    for name, values in grid.items():
        if not values:
            raise DefinitionError(f"the grid has no value of {name!r}")
    chosen = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return [(settings, dataclasses.replace(learner, **settings)) for settings in chosen]  # type: ignore[type-var]


def held_out(learner: Learner, parts: Parts, turn: int, columns: tuple[str, ...]) -> dict[str, Any]:
    """The metrics over the part held out in a turn, of the learner fitted on all others.

    columns: as `Learner.fit` takes them. Raises as that and as `measured`.
    """
    fitted = learner.fit(parts.training(turn), columns, None)
    read = columns if learner.sample == "event" else learner.inputs(columns)
    return measured(learner, fitted, parts.held_out(turn), read)


def select(
    learner: Learner,
    parts: Parts,
    columns: Sequence[str],
    grid: Grid,
    *,
    metric: str | None = None,
    parallelism: int = 2,
    done: Callable[[], object] = lambda: None,
) -> Selection:
    """Fit and measure every combination in every turn, at most `parallelism` at a time.

    columns: of entities their features, of events what the learner reads and the target after it. metric: what to
    compare by, the learner's usual one if None. done: called when a fit has been measured, once a combination and
    turn, in any thread.
    The samples are read many times: persist them. A combination whose fit or measurement is refused has a `refusal`.
    Raises DefinitionError for a grid or metric that the learner does not have.
    """
    from pyspark.util import inheritable_thread_target

    by = metric_named(learner, metric)
    tried = combinations(learner, grid)

    def outcome(one: Learner, turn: int) -> _Outcome:
        # Settings may change what an event learner reads.
        given = tuple(columns) if one.sample == "entity" else (*one.inputs(()), columns[-1])
        try:
            metric_named(one, by.name)
            return held_out(one, parts, turn, given)
        except (DefinitionError, InputError) as error:
            return str(error)
        finally:
            done()

    def submitted(one: Learner, turn: int) -> Future[_Outcome]:
        # A copy of this thread's properties for each: Spark writes into them while it works.
        inheriting = inheritable_thread_target(parts.rows.sparkSession)
        return pool.submit(inheriting(outcome), one, turn)

    pool = ThreadPoolExecutor(parallelism, thread_name_prefix="select")
    try:
        asked = [[submitted(one, turn) for turn in range(parts.turns)] for _, one in tried]
        found = [[each.result() for each in turns] for turns in asked]
    finally:
        # Of an interrupt: what has begun ends with the session, and nobody waits for it.
        pool.shutdown(wait=False, cancel_futures=True)
    trials = (_trial(settings, outcomes) for (settings, _), outcomes in zip(tried, found, strict=True))
    return Selection(by, tuple(trials))


def _trial(settings: Settings, outcomes: Sequence[_Outcome]) -> Trial:
    refusals = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if refusals:
        return Trial(settings, refusal=refusals[0])
    return Trial(settings, tuple(outcome for outcome in outcomes if not isinstance(outcome, str)))
