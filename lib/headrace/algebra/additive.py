"""Features that add up: Sum, Count and Mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.algebra.aggregate import Clock, State, Types
from headrace.algebra.bounds import in_range
from headrace.algebra.folded import Folded
from headrace.algebra.quanta import quantum, ratios, spark_steps_of, steps_of
from headrace.algebra.scalars import Kind, require

if TYPE_CHECKING:
    from pyspark.sql import Column

_NUMERIC: tuple[Kind, ...] = ("integer", "real", "decimal")


@dataclass(frozen=True)
class _Steps(Folded):
    """A numeric column whose contributions are whole numbers of `step`."""

    column: str
    step: str = "0.001"

    def __post_init__(self) -> None:
        quantum(self.step)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def _lifted(self, event: Mapping[str, Any], types: Types) -> int | None:
        spark_type = self._spark_type(types)
        return steps_of(event[self.column], spark_type, self.step, self.column)

    def spark_lift(self, types: Types) -> Column:
        return spark_steps_of(self.column, self._spark_type(types), self.step)

    def _spark_type(self, types: Types) -> str:
        return require(self.column, types, _NUMERIC, type(self).__name__)


@dataclass(frozen=True)
class Sum(_Steps):
    """The sum of a numeric column; 0.0 for no events, float64.

    Each contribution is rounded to a whole number of `step`, halves to even, so that the sum is an exact 64-bit
    integer whatever the order. State: that integer. A partial sum beyond 64 bits raises StateBoundError.

    >>> total = Sum("price", step="0.01")
    >>> total.merge(total.lift({"price": 0.1}, {"price": "double"}), total.lift({"price": 0.2}, {"price": "double"}))
    30
    """

    def empty(self) -> State:
        return 0

    def lift(self, event: Mapping[str, Any], types: Types) -> State:
        return self._lifted(event, types) or 0

    def merge(self, left: State, right: State) -> State:
        return in_range(left + right, self.column)

    def spark_fold(self, lifted: Column, types: Types) -> Column:
        return _spark_sum(lifted)

    def spark_merge(self, state: Column, types: Types) -> Column:
        return _spark_sum(state)

    def arrow_type(self, types: Types) -> pa.DataType:
        return pa.int64()

    def finish(self, states: pa.Array, clock: Clock, types: Types) -> pa.Array:
        unit = quantum(self.step)
        return ratios(states, unit.divisor, unit.multiplier)

    def describe(self) -> dict[str, Any]:
        return {"kind": "sum", "column": self.column, "step": self.step}


@dataclass(frozen=True)
class Count(Folded):
    """The number of events, int64. State: that number.

    >>> Count().merge(Count().lift({}, {}), Count().empty())
    1
    """

    @property
    def columns(self) -> tuple[str, ...]:
        return ()

    def empty(self) -> State:
        return 0

    def lift(self, event: Mapping[str, Any], types: Types) -> State:
        return 1

    def merge(self, left: State, right: State) -> State:
        return left + right

    def spark_lift(self, types: Types) -> Column:
        from pyspark.sql import functions as f

        return f.lit(1)

    def spark_fold(self, lifted: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        return f.count(lifted)

    def spark_merge(self, state: Column, types: Types) -> Column:
        return _spark_sum(state)

    def arrow_type(self, types: Types) -> pa.DataType:
        return pa.int64()

    def finish(self, states: pa.Array, clock: Clock, types: Types) -> pa.Array:
        return states.cast(pa.int64())

    def describe(self) -> dict[str, Any]:
        return {"kind": "count"}


@dataclass(frozen=True)
class Mean(_Steps):
    """The mean of a numeric column over its values that are not null or NaN; null for none, float64.

    Contributions are rounded to `step` as in Sum. State: {"count": values, "sum": steps}.

    >>> mean = Mean("price", step="0.01")
    >>> mean.lift({"price": 0.25}, {"price": "double"})
    {'count': 1, 'sum': 25}
    """

    def empty(self) -> State:
        return {"count": 0, "sum": 0}

    def lift(self, event: Mapping[str, Any], types: Types) -> State:
        steps = self._lifted(event, types)
        return self.empty() if steps is None else {"count": 1, "sum": steps}

    def merge(self, left: State, right: State) -> State:
        return {
            "count": left["count"] + right["count"],
            "sum": in_range(left["sum"] + right["sum"], self.column),
        }

    def spark_fold(self, lifted: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        return f.struct(f.count(lifted).alias("count"), _spark_sum(lifted).alias("sum"))

    def spark_merge(self, state: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        return f.struct(
            _spark_sum(state.getField("count")).alias("count"), _spark_sum(state.getField("sum")).alias("sum")
        )

    def arrow_type(self, types: Types) -> pa.DataType:
        return pa.struct([("count", pa.int64()), ("sum", pa.int64())])

    def finish(self, states: pa.Array, clock: Clock, types: Types) -> pa.Array:
        unit = quantum(self.step)
        sums, counts = pc.struct_field(states, "sum"), pc.struct_field(states, "count")
        return ratios(sums, unit.divisor, unit.multiplier, counts)

    def describe(self) -> dict[str, Any]:
        return {"kind": "mean", "column": self.column, "step": self.step}


def _spark_sum(column: Column) -> Column:
    """A bigint sum that is 0 for no rows; under ANSI an overflow fails the job."""
    from pyspark.sql import functions as f

    return f.coalesce(f.sum(column), f.lit(0).cast("bigint"))
