"""The feature that keeps the latest value: Last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.algebra import scalars
from headrace.algebra.aggregate import Clock, State, Types
from headrace.algebra.buckets import event_us, spark_event_us
from headrace.algebra.folded import Folded

if TYPE_CHECKING:
    from pyspark.sql import Column

# Latest first by event time; the rest makes the order total, the value itself where prepare makes several
# rows of one event.
_ORDER = ("event_us", "incarnation", "partition", "position", "value")


@dataclass(frozen=True)
class Last(Folded):
    """The value of the latest event whose value is not null or NaN; null for none.

    Events are ordered by (`_event_ts`, `_incarnation`, `_partition`, `_position`), not by arrival. An event without
    an event time is not counted. State: {"event_us", "incarnation", "partition", "position", "value"} or null,
    the value as `scalars.state_of` writes it.
    """

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def empty(self) -> State:
        return None

    def lift(self, event: Mapping[str, Any], types: Types) -> State:
        value = scalars.state_of(event[self.column], scalars.column_type(self.column, types))
        moment_us = event_us(event)
        if value is None or moment_us is None:
            return None
        return {
            "event_us": moment_us,
            "incarnation": event["_incarnation"],
            "partition": event["_partition"],
            "position": event["_position"],
            "value": value,
        }

    def merge(self, left: State, right: State) -> State:
        if left is None or right is None:
            return right if left is None else left
        return max(left, right, key=place)

    def spark_lift(self, types: Types) -> Column:
        from pyspark.sql import functions as f

        value = scalars.spark_state_of(self.column, scalars.column_type(self.column, types))
        moment_us = spark_event_us()
        state = f.struct(
            moment_us.alias("event_us"),
            f.col("_incarnation").alias("incarnation"),
            f.col("_partition").alias("partition"),
            f.col("_position").alias("position"),
            value.alias("value"),
        )
        return f.when(value.isNotNull() & moment_us.isNotNull(), state)

    def spark_fold(self, lifted: Column, types: Types) -> Column:
        return self.spark_merge(lifted, types)

    def spark_merge(self, state: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        return f.max(state)

    def arrow_type(self, types: Types) -> pa.DataType:
        value = scalars.arrow_type_of(scalars.column_type(self.column, types))
        types_in_order = (pa.int64(), pa.string(), pa.string(), pa.int64(), value)
        return pa.struct(list(zip(_ORDER, types_in_order, strict=True)))

    def finish(self, states: pa.Array, clock: Clock, types: Types) -> pa.Array:
        return scalars.finished(pc.struct_field(states, "value"), scalars.column_type(self.column, types))

    def describe(self) -> dict[str, Any]:
        return {"kind": "last", "column": self.column}


def place(state: State) -> tuple[Any, ...]:
    """What orders the states of events that have a value, the latest the greatest; total."""
    return tuple(state[name] for name in _ORDER)
