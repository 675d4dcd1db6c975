"""An interval whose events Spark's executors aggregate and count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.batch.train import named_bounds
from headrace.definitions import prepared
from headrace.errors import HeadraceError, StoreUnavailable, TerminalError, TransientError
from headrace.models.contribution import contributed
from headrace.models.learner import Contribution
from headrace.schemas import Vector
from headrace.speed.contributions import contributions, parts_of
from headrace.speed.ranges import between
from headrace.speed.settling import Plan, Settled, settle
from headrace.stores import Opening, kept_open

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_ROW = "settled string, error string, transient boolean"


@dataclass(frozen=True)
class SparkInterval:
    """Decoded events of an interval, counted by Spark's executors."""

    plan: Plan
    opening: Opening
    events: DataFrame
    start: Vector
    end: Vector

    def settle(self, beyond: Mapping[str, Vector] | None) -> Settled:
        """One job: aggregate, and settle each partition's entities. Raises what the store refused."""
        plan, opening = self.plan, self.opening

        def settled(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            yield _settled(plan, opening, batches)

        with named_bounds():
            rows = contributions(plan.definition, self.events, beyond).mapInArrow(settled, _ROW).collect()
        whole = Settled()
        for row in rows:
            if row.error is not None:
                raise StoreUnavailable(row.error) if row.transient else TerminalError(row.error)
            whole.add(Settled.from_json(row.settled))
        return whole

    def sampled(self, beyond: Vector) -> Contribution:
        """One job: what the events of each log from its position in `beyond` on add up to."""
        definition, learner = self.plan.definition, self.plan.definition.event_learner
        assert learner is not None  # noqa: S101 - asked for samples of events
        samples = prepared(definition, between(self.events, self.start.join(beyond), self.end))
        return contributed(learner, self.plan.theta["learner"], samples, definition.sample_columns)


def _settled(plan: Plan, opening: Opening, batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """One task's outcome; a refusal is data, so that Spark does not repeat what the store already repeated."""
    done, error, transient = Settled(), None, False
    try:
        parts = parts_of(plan.definition, batches)
        if parts:
            done = settle(kept_open(opening), plan, parts, time)
    except HeadraceError as refusal:
        error, transient = str(refusal), isinstance(refusal, TransientError)
    return pa.RecordBatch.from_pydict({"settled": [done.to_json()], "error": [error], "transient": [transient]})
