"""The feature that looks at a stretch of event time before the clock: Window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.algebra import scalars
from headrace.algebra.aggregate import Aggregate, Clock, State, Types
from headrace.algebra.bounds import spark_refusal, too_many
from headrace.algebra.distinct import CountDistinct, positive_bound
from headrace.algebra.keyed import Keyed
from headrace.errors import DefinitionError, StateBoundError

if TYPE_CHECKING:
    from pyspark.sql import Column

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Window(Keyed):
    """`inner` over the events of the last `length` before the clock's reference, at the resolution of `slide`.

    Event time `_event_ts` is cut into buckets of `slide`, counted from 1970-01-01T00:00Z: bucket b holds
    b * slide <= t < (b + 1) * slide. With `last` the bucket that holds the reference, the finished value is
    `inner` over the buckets last - length / slide, ..., last - 1. That is every bucket that has ended by the
    reference and whose end lies in (reference - length, reference]: always length / slide of them, none with an
    event after the reference, and the reference's own unfinished bucket not among them.

    `length` must be a multiple of `slide`. State: a list of {"bucket", "state"} sorted by bucket, without buckets
    whose inner state is empty; nothing is evicted, so a reference may move back. More than `bound` buckets of one
    entity raise StateBoundError, in Spark by failing the job. An event without event time is not counted.
    """

    inner: Aggregate
    length: timedelta
    slide: timedelta
    bound: int = 10_000

    def __post_init__(self) -> None:
        positive_bound(self.bound, "Window")
        if not isinstance(self.inner, Aggregate) or isinstance(self.inner, Window):
            raise DefinitionError("Window cannot hold this feature", found=self.inner, expected="any but a Window")
        if self.slide < _MICROSECOND or self.length < self.slide or self.length % self.slide:
            raise DefinitionError(
                "the length of a Window is not a whole number of slides",
                found=f"length {self.length}, slide {self.slide}",
                expected="a positive slide and a multiple of it",
            )

    @property
    def columns(self) -> tuple[str, ...]:
        return self.inner.columns

    @property
    def _slide_us(self) -> int:
        return self.slide // _MICROSECOND

    def empty(self) -> State:
        return []

    def lift(self, event: Mapping[str, Any], types: Types) -> State:
        state = self.inner.lift(event, types)
        if event["_event_ts"] is None or state == self.inner.empty():
            return []
        return [{"bucket": scalars.micros(event["_event_ts"]) // self._slide_us, "state": state}]

    def merge(self, left: State, right: State) -> State:
        if not left or not right:
            return left or right
        merged = {entry["bucket"]: entry["state"] for entry in left}
        for entry in right:
            bucket, state = entry["bucket"], entry["state"]
            merged[bucket] = self.inner.merge(merged[bucket], state) if bucket in merged else state
        empty = self.inner.empty()
        kept = [{"bucket": bucket, "state": state} for bucket, state in sorted(merged.items()) if state != empty]
        if len(kept) > self.bound:
            raise self._refusal()
        return kept

    def _refusal(self) -> StateBoundError:
        return too_many("event-time buckets", "_event_ts", self.bound)

    # -- Spark --------------------------------------------------------------------------------
    def spark_key(self, types: Types) -> Column:
        from pyspark.sql import functions as f

        event_us, slide_us = f.unix_micros(f.col("_event_ts")), f.lit(self._slide_us).cast("bigint")
        return f.call_function("div", event_us - f.pmod(event_us, slide_us), slide_us)

    def spark_aggregate(self, types: Types) -> Column:
        if isinstance(self.inner, CountDistinct):
            return self.inner.spark_whole(types)
        return self.inner.spark_aggregate(types)

    def spark_merge(self, state: Column, types: Types) -> Column:
        if isinstance(self.inner, CountDistinct):
            return self.inner.spark_whole_merge(state)
        return self.inner.spark_merge(state, types)

    def spark_collect(self, key: Column, inner: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        counted = key.isNotNull() & _is_not(inner, self.inner.empty())
        buckets = f.collect_list(f.when(counted, f.struct(key.alias("bucket"), inner.alias("state"))))
        return f.when(f.size(buckets) <= self.bound, f.sort_array(buckets)).otherwise(spark_refusal(self._refusal()))

    def spark_entries(self, state: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        return f.transform(
            state, lambda entry: f.struct(entry.getField("bucket").alias("key"), entry.getField("state").alias("inner"))
        )

    # -- finish -------------------------------------------------------------------------------
    def arrow_type(self, types: Types) -> pa.DataType:
        return pa.list_(pa.struct([("bucket", pa.int64()), ("state", self.inner.arrow_type(types))]))

    def finish(self, states: pa.Array, clock: Clock, types: Types) -> pa.Array:
        last = scalars.micros(clock.reference) // self._slide_us
        first = last - self.length // self.slide
        entries = pc.list_flatten(states)
        rows = pc.list_parent_indices(states).to_numpy()
        buckets = pc.struct_field(entries, "bucket").to_numpy(zero_copy_only=False)
        inside = (buckets >= first) & (buckets < last)
        inner_states = pc.struct_field(entries, "state").filter(pa.array(inside)).to_pylist()
        merged: dict[int, State] = {}
        for row, state in zip(rows[inside].tolist(), inner_states, strict=True):
            merged[row] = self.inner.merge(merged[row], state) if row in merged else state
        empty = self.inner.empty()
        whole = [merged.get(row, empty) for row in range(len(states))]
        return self.inner.finish(pa.array(whole, self.inner.arrow_type(types)), clock, types)

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "window",
            "inner": self.inner.describe(),
            "length_us": self.length // _MICROSECOND,
            "slide_us": self._slide_us,
            "bound": self.bound,
        }


def _is_not(state: Column, empty: State) -> Column:
    """Whether a state column differs from an empty state."""
    from pyspark.sql import functions as f

    if empty is None:
        return state.isNotNull()
    if isinstance(empty, list):
        return f.size(state) > 0
    if isinstance(empty, dict):
        return state != f.struct(*(f.lit(value).cast("bigint").alias(name) for name, value in empty.items()))
    return state != f.lit(empty)
