"""The feature that keeps the latest values: LastN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.algebra.aggregate import Clock, State, Types
from headrace.algebra.distinct import positive_bound
from headrace.algebra.keyed import Keyed
from headrace.algebra.latest import Last, place

if TYPE_CHECKING:
    from pyspark.sql import Column

# Into how many heaps Spark first sorts an entity's events, so that no task holds all of a busy entity's.
_HEAPS = 64


@dataclass(frozen=True)
class LastN(Keyed):
    """The values of the `n` latest events whose value is not null or NaN, latest first; a list, empty for none.

    Events are ordered as by Last: by event time, then by position; one without an event time is not counted, and
    equal values of different events are all kept. State: a list of at most n states of Last, latest first.

    >>> LastN("label", n=2).columns
    ('label',)
    """

    column: str
    n: int

    def __post_init__(self) -> None:
        positive_bound(self.n, "LastN")

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def _last(self) -> Last:
        return Last(self.column)

    def empty(self) -> State:
        return []

    def lift(self, event: Mapping[str, Any], types: Types) -> State:
        state = self._last.lift(event, types)
        return [] if state is None else [state]

    def merge(self, left: State, right: State) -> State:
        return list(islice(merge(left, right, key=place, reverse=True), self.n))

    # -- Spark --------------------------------------------------------------------------------
    def spark_key(self, types: Types) -> Column:
        from pyspark.sql import functions as f

        return _heap(f.col("_position"))

    def spark_inner(self, types: Types) -> Column:
        from pyspark.sql import functions as f

        return self._latest(f.collect_list(self._last.spark_lift(types)))

    def spark_inner_merge(self, inner: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        return self._latest(f.flatten(f.collect_list(inner)))

    def spark_collect(self, key: Column, inner: Column, types: Types) -> Column:
        return self.spark_inner_merge(inner, types)

    def spark_entries(self, state: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        return f.transform(
            state, lambda one: f.struct(_heap(one.getField("position")).alias("key"), f.array(one).alias("inner"))
        )

    def _latest(self, states: Column) -> Column:
        from pyspark.sql import functions as f

        return f.slice(f.sort_array(states, asc=False), 1, self.n)

    # -- finish -------------------------------------------------------------------------------
    def arrow_type(self, types: Types) -> pa.DataType:
        return pa.list_(self._last.arrow_type(types))

    def finish(self, states: pa.Array, clock: Clock, types: Types) -> pa.Array:
        values = self._last.finish(pc.list_flatten(states), clock, types)
        lengths = pc.list_value_length(states).to_numpy(zero_copy_only=False)
        return pa.ListArray.from_arrays(pa.array(np.append(0, np.cumsum(lengths)), pa.int32()), values)

    def describe(self) -> dict[str, Any]:
        return {"kind": "last_n", "column": self.column, "n": self.n}


def _heap(position: Column) -> Column:
    from pyspark.sql import functions as f

    return f.pmod(position, f.lit(_HEAPS).cast("bigint"))
