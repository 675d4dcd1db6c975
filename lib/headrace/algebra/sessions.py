"""The feature that cuts events into sessions by inactivity: Sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.algebra.aggregate import Clock, State, Types
from headrace.algebra.buckets import Bucketed, bounded, length_us, spark_bounded, spark_event_us
from headrace.algebra.distinct import positive_bound
from headrace.errors import DefinitionError

if TYPE_CHECKING:
    from pyspark.sql import Column

Tell = Literal["number", "last_events", "last_seconds"]
_FIELDS = ("events", "first_us", "last_us")


@dataclass(frozen=True)
class Sessions(Bucketed):
    """Of an entity's sessions their number, or the events or the length of the latest.

    Two events that follow each other in event time are of one session when at most `gap` lies between them; a
    longer silence begins another.

    tell: "number", int64, 0 for no events; "last_events", the events of the latest session, int64, 0 for none;
    "last_seconds", from the first to the last event of the latest session, float64, null for none. Events after the
    clock's reference count like all others.

    State: that of Bucketed for buckets of one `gap`, {"events", "first_us", "last_us"} in each. The events of a bucket
    are of one session whatever else comes, so buckets merge exactly, and a late event can join sessions. More than
    `bound` buckets of one entity raise StateBoundError, in Spark by failing the job; events only ever add buckets, so
    that depends on no order and no split.

    >>> from datetime import UTC, datetime
    >>> Sessions(gap=timedelta(minutes=30)).lift({"_event_ts": datetime(1970, 1, 1, tzinfo=UTC)}, {})
    [{'bucket': 0, 'state': {'events': 1, 'first_us': 0, 'last_us': 0}}]
    """

    gap: timedelta
    tell: Tell = "number"
    bound: int = 10_000

    def __post_init__(self) -> None:
        positive_bound(self.bound, "Sessions")
        if self.width_us < 1:
            raise DefinitionError("the gap of Sessions is not usable", found=self.gap, expected="a positive length")
        if self.tell not in get_args(Tell):
            raise DefinitionError(
                "Sessions cannot tell this", found=repr(self.tell), expected=f"one of {', '.join(get_args(Tell))}"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        return ()

    @property
    def width_us(self) -> int:
        return length_us(self.gap)

    # -- plain Python -------------------------------------------------------------------------
    def lift_inner(self, event: Mapping[str, Any], moment_us: int, types: Types) -> State | None:
        return {"events": 1, "first_us": moment_us, "last_us": moment_us}

    def merge_inner(self, left: State, right: State) -> State:
        return {
            "events": left["events"] + right["events"],
            "first_us": min(left["first_us"], right["first_us"]),
            "last_us": max(left["last_us"], right["last_us"]),
        }

    def kept(self, entries: list[State]) -> State:
        return bounded(entries, self.bound)

    # -- Spark --------------------------------------------------------------------------------
    def spark_inner(self, types: Types) -> Column:
        from pyspark.sql import functions as f

        moment_us = spark_event_us()
        return f.struct(
            f.count(moment_us).alias("events"), f.min(moment_us).alias("first_us"), f.max(moment_us).alias("last_us")
        )

    def spark_inner_merge(self, inner: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        return f.struct(
            f.sum(inner.getField("events")).alias("events"),
            f.min(inner.getField("first_us")).alias("first_us"),
            f.max(inner.getField("last_us")).alias("last_us"),
        )

    def spark_counted(self, inner: Column) -> Column:
        return inner.isNotNull()

    def spark_kept(self, entries: Column) -> Column:
        return spark_bounded(entries, self.bound)

    # -- finish -------------------------------------------------------------------------------
    def inner_type(self, types: Types) -> pa.DataType:
        return pa.struct([(name, pa.int64()) for name in _FIELDS])

    def finish(self, states: pa.Array, clock: Clock, types: Types) -> pa.Array:
        buckets = pc.struct_field(pc.list_flatten(states), "state")
        rows = pc.list_parent_indices(states).to_numpy()
        events, first_us, last_us = (pc.struct_field(buckets, name).to_numpy(zero_copy_only=False) for name in _FIELDS)
        begins = np.ones(len(buckets), dtype=bool)
        begins[1:] = (rows[1:] != rows[:-1]) | (first_us[1:] - last_us[:-1] > self.width_us)
        number = np.bincount(rows[begins], minlength=len(states))
        if self.tell == "number":
            return pa.array(number, pa.int64())
        # Sessions are in order of their rows, so the latest of a row is the last before the next row's.
        latest = np.cumsum(number)[number > 0] - 1
        bounds = np.append(np.flatnonzero(begins), len(buckets))
        starts, ends = bounds[:-1][latest], bounds[1:][latest]
        found = np.zeros(len(states), dtype=np.int64)
        if self.tell == "last_events":
            before = np.append(0, np.cumsum(events))
            found[number > 0] = before[ends] - before[starts]
            return pa.array(found, pa.int64())
        found[number > 0] = last_us[ends - 1] - first_us[starts]
        return pa.array(found / 1e6, pa.float64(), mask=number == 0)

    def describe(self) -> dict[str, Any]:
        return {"kind": "sessions", "gap_us": self.width_us, "tell": self.tell, "bound": self.bound}
