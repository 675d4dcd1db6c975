"""The feature that counts some events only: Where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.algebra import scalars
from headrace.algebra.aggregate import Clock, State, Types
from headrace.algebra.bounds import INT64_MAX, INT64_MIN
from headrace.algebra.folded import Folded, require_folded
from headrace.errors import DefinitionError

if TYPE_CHECKING:
    from pyspark.sql import Column

_KINDS: dict[type, scalars.Kind] = {bool: "boolean", int: "integer", str: "text"}


@dataclass(frozen=True)
class Where(Folded):
    """`inner` over the events whose `column` equals a value; an event whose column is null is not counted.

    equals: True or False for a boolean column, a whole number of 64 bits for an integer one, a text for a text one;
    another kind of column is refused (DefinitionError). What one comparison cannot say is a boolean column made in
    `prepare`. The state, its value and its null are those of `inner`.

    >>> from headrace.algebra import Count
    >>> clicks = Where(Count(), "action", equals="click")
    >>> types = {"action": "string"}
    >>> clicks.merge(clicks.lift({"action": "click"}, types), clicks.lift({"action": "view"}, types))
    1
    """

    inner: Folded
    column: str
    equals: bool | int | str = True

    def __post_init__(self) -> None:
        require_folded(self.inner, "Where")
        known = type(self.equals) in _KINDS
        if not known or (isinstance(self.equals, int) and not INT64_MIN <= self.equals <= INT64_MAX):
            raise DefinitionError(
                f"no column can be compared with the value of Where({self.column!r})",
                found=repr(self.equals),
                expected="True, False, a text or a whole number of 64 bits",
            )

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column, *self.inner.columns)

    def _type(self, types: Types) -> str:
        what = f"Where(equals={self.equals!r})"
        return scalars.require(self.column, types, (_KINDS[type(self.equals)],), what)

    def empty(self) -> State:
        return self.inner.empty()

    def lift(self, event: Mapping[str, Any], types: Types) -> State:
        self._type(types)
        return self.inner.lift(event, types) if event[self.column] == self.equals else self.inner.empty()

    def merge(self, left: State, right: State) -> State:
        return self.inner.merge(left, right)

    def spark_lift(self, types: Types) -> Column:
        from pyspark.sql import functions as f

        self._type(types)
        matching = scalars.spark_column(self.column) == f.lit(self.equals)
        return f.when(matching, self.inner.spark_lift(types))

    def spark_fold(self, lifted: Column, types: Types) -> Column:
        return self.inner.spark_fold(lifted, types)

    def spark_merge(self, state: Column, types: Types) -> Column:
        return self.inner.spark_merge(state, types)

    def arrow_type(self, types: Types) -> pa.DataType:
        return self.inner.arrow_type(types)

    def finish(self, states: pa.Array, clock: Clock, types: Types) -> pa.Array:
        return self.inner.finish(states, clock, types)

    def describe(self) -> dict[str, Any]:
        return {"kind": "where", "inner": self.inner.describe(), "column": self.column, "equals": self.equals}
