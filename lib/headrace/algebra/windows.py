"""The feature that looks at a stretch of event time before the clock: Window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.algebra import scalars
from headrace.algebra.aggregate import Clock, State, Types
from headrace.algebra.buckets import Bucketed, bounded, length_us, spark_bounded
from headrace.algebra.distinct import positive_bound
from headrace.algebra.folded import Folded, require_folded
from headrace.errors import DefinitionError

if TYPE_CHECKING:
    from pyspark.sql import Column


@dataclass(frozen=True)
class Window(Bucketed):
    """`inner` over the events of the last `length` before the clock's reference, at the resolution of `slide`.

    Event time is cut into buckets of `slide`. With `last` the bucket that holds the reference, the finished value is
    `inner` over the buckets last - length / slide, ..., last - 1. That is every bucket that has ended by the
    reference and whose end lies in (reference - length, reference]: always length / slide of them, none with an
    event after the reference, and the reference's own unfinished bucket not among them.

    `length` must be a multiple of `slide`. State: that of Bucketed, without buckets whose inner state is empty;
    nothing is evicted, so a reference may move back. More than `bound` buckets of one entity raise StateBoundError,
    in Spark by failing the job.
    """

    inner: Folded
    length: timedelta
    slide: timedelta
    bound: int = 10_000

    def __post_init__(self) -> None:
        positive_bound(self.bound, "Window")
        require_folded(self.inner, "Window")
        if self.width_us < 1 or self.length < self.slide or self.length % self.slide:
            raise DefinitionError(
                "the length of a Window is not a whole number of slides",
                found=f"length {self.length}, slide {self.slide}",
                expected="a positive slide and a multiple of it",
            )

    @property
    def columns(self) -> tuple[str, ...]:
        return self.inner.columns

    @property
    def width_us(self) -> int:
        return length_us(self.slide)

    # -- plain Python -------------------------------------------------------------------------
    def lift_inner(self, event: Mapping[str, Any], moment_us: int, types: Types) -> State | None:
        state = self.inner.lift(event, types)
        return None if state == self.inner.empty() else state

    def merge_inner(self, left: State, right: State) -> State:
        return self.inner.merge(left, right)

    def kept(self, entries: list[State]) -> State:
        empty = self.inner.empty()
        return bounded([entry for entry in entries if entry["state"] != empty], self.bound)

    # -- Spark --------------------------------------------------------------------------------
    def spark_inner(self, types: Types) -> Column:
        return self.inner.spark_aggregate(types)

    def spark_inner_merge(self, inner: Column, types: Types) -> Column:
        return self.inner.spark_merge(inner, types)

    def spark_counted(self, inner: Column) -> Column:
        return _is_not(inner, self.inner.empty())

    def spark_kept(self, entries: Column) -> Column:
        return spark_bounded(entries, self.bound)

    # -- finish -------------------------------------------------------------------------------
    def inner_type(self, types: Types) -> pa.DataType:
        return self.inner.arrow_type(types)

    def finish(self, states: pa.Array, clock: Clock, types: Types) -> pa.Array:
        last = scalars.micros(clock.reference) // self.width_us
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
            "length_us": length_us(self.length),
            "slide_us": self.width_us,
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
        return reduce(or_, (_is_not(state.getField(name), value) for name, value in empty.items()))
    return state != f.lit(empty)
