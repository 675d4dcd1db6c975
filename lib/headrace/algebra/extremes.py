"""Features that keep one extreme value: Min and Max."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.algebra import scalars
from headrace.algebra.aggregate import Clock, State, Types
from headrace.algebra.folded import Folded

if TYPE_CHECKING:
    from pyspark.sql import Column


@dataclass(frozen=True)
class _Extreme(Folded):
    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @abstractmethod
    def _chosen(self, left: State, right: State) -> State:
        """The one of two values that stays."""

    def empty(self) -> State:
        return None

    def lift(self, event: Mapping[str, Any], types: Types) -> State:
        return scalars.state_of(event[self.column], scalars.column_type(self.column, types))

    def merge(self, left: State, right: State) -> State:
        if left is None or right is None:
            return right if left is None else left
        return self._chosen(left, right)

    def spark_lift(self, types: Types) -> Column:
        return scalars.spark_state_of(self.column, scalars.column_type(self.column, types))

    def spark_fold(self, lifted: Column, types: Types) -> Column:
        return self.spark_merge(lifted, types)

    def arrow_type(self, types: Types) -> pa.DataType:
        return scalars.arrow_type_of(scalars.column_type(self.column, types))

    def finish(self, states: pa.Array, clock: Clock, types: Types) -> pa.Array:
        return scalars.finished(states, scalars.column_type(self.column, types))


@dataclass(frozen=True)
class Min(_Extreme):
    """The least value of a column, null for none; nulls and NaN are not counted, -0.0 counts as 0.0.

    State: the value as `scalars.state_of` writes it, or null. Text is ordered by code point. Finished: int64,
    float64 (decimals too), string (a date as ISO 8601 text) or timestamp.

    >>> Min("price").merge(None, 2.5)
    2.5
    """

    def _chosen(self, left: State, right: State) -> State:
        return min(left, right)

    def spark_merge(self, state: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        return f.min(state)

    def describe(self) -> dict[str, Any]:
        return {"kind": "min", "column": self.column}


@dataclass(frozen=True)
class Max(_Extreme):
    """The greatest value of a column; otherwise as Min.

    >>> Max("price").merge(1.0, 2.5)
    2.5
    """

    def _chosen(self, left: State, right: State) -> State:
        return max(left, right)

    def spark_merge(self, state: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        return f.max(state)

    def describe(self) -> dict[str, Any]:
        return {"kind": "max", "column": self.column}
