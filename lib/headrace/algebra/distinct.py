"""The feature that counts distinct values exactly: CountDistinct."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.algebra import scalars
from headrace.algebra.aggregate import Clock, State, Types
from headrace.algebra.bounds import spark_refusal, too_many
from headrace.algebra.folded import Folded
from headrace.algebra.keyed import Keyed
from headrace.errors import DefinitionError

if TYPE_CHECKING:
    from pyspark.sql import Column

_WHAT = "distinct values"


@dataclass(frozen=True)
class CountDistinct(Folded, Keyed):
    """The number of distinct values of a column that are not null, int64; 0 for none.

    For text, integers, booleans, dates and timestamps; doubles and decimals have no one canonical text and are
    refused (DefinitionError). State: the sorted list of the values as text (`scalars.state_of` in decimal digits).
    More than `bound` values of one entity raise StateBoundError, in Spark by failing the job.

    >>> invoices = CountDistinct("invoice")
    >>> invoices.merge(["536365", "C536379"], ["536365"])
    ['536365', 'C536379']
    """

    column: str
    bound: int = 10_000

    def __post_init__(self) -> None:
        positive_bound(self.bound, "CountDistinct")

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def _type(self, types: Types) -> str:
        kinds: tuple[scalars.Kind, ...] = ("text", "integer", "boolean", "date", "timestamp")
        return scalars.require(self.column, types, kinds, "CountDistinct")

    def empty(self) -> State:
        return []

    def lift(self, event: Mapping[str, Any], types: Types) -> State:
        value = scalars.state_of(event[self.column], self._type(types))
        return [] if value is None else [str(value)]

    def merge(self, left: State, right: State) -> State:
        if not left or not right:
            return left or right
        known = frozenset(left)
        # Two sorted runs, which Python's sort merges in linear time.
        merged = sorted([*left, *(token for token in right if token not in known)])
        if len(merged) > self.bound:
            raise too_many(_WHAT, self.column, self.bound)
        return merged

    def spark_key(self, types: Types) -> Column:
        return scalars.spark_state_of(self.column, self._type(types)).cast("string")

    def spark_inner(self, types: Types) -> Column:
        """A token has no state beside itself."""
        from pyspark.sql import functions as f

        return f.lit(True)  # noqa: FBT003 (a literal column)

    def spark_inner_merge(self, inner: Column, types: Types) -> Column:
        return self.spark_inner(types)

    def spark_collect(self, key: Column, inner: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        return self._bounded(f.collect_list(key))

    def spark_entries(self, state: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        return f.transform(state, lambda token: f.struct(token.alias("key"), f.lit(True).alias("inner")))  # noqa: FBT003

    def spark_lift(self, types: Types) -> Column:
        return self.spark_key(types)

    def spark_fold(self, lifted: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        return self._bounded(f.collect_set(lifted))

    def spark_merge(self, state: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        return self._bounded(f.array_distinct(f.flatten(f.collect_list(state))))

    def _bounded(self, tokens: Column) -> Column:
        from pyspark.sql import functions as f

        refusal = spark_refusal(too_many(_WHAT, self.column, self.bound))
        return f.when(f.size(tokens) <= self.bound, f.sort_array(tokens)).otherwise(refusal)

    def arrow_type(self, types: Types) -> pa.DataType:
        return pa.list_(pa.string())

    def finish(self, states: pa.Array, clock: Clock, types: Types) -> pa.Array:
        return pc.list_value_length(states).cast(pa.int64())

    def describe(self) -> dict[str, Any]:
        return {"kind": "count_distinct", "column": self.column, "bound": self.bound}


def positive_bound(bound: int, what: str) -> None:
    """DefinitionError unless `bound` is a positive integer."""
    if not isinstance(bound, int) or isinstance(bound, bool) or bound < 1:
        raise DefinitionError(f"the bound of {what} is not usable", found=repr(bound), expected="a positive integer")
