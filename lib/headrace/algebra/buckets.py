"""Event time cut into buckets of one length, and features that keep one inner state for each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.algebra import scalars
from headrace.algebra.aggregate import State, Types
from headrace.algebra.bounds import spark_refusal, too_many
from headrace.algebra.keyed import Keyed

if TYPE_CHECKING:
    from pyspark.sql import Column

_MICROSECOND = timedelta(microseconds=1)
_WHAT = "event-time buckets"


class Bucketed(Keyed):
    """A feature that keeps one inner state per bucket of event time `_event_ts`; an event without one is not counted.

    Bucket b holds b * width <= t < (b + 1) * width, counted from 1970-01-01T00:00Z. State: a list of
    {"bucket", "state"} sorted by bucket, of the buckets in which anything was counted.
    """

    @property
    @abstractmethod
    def width_us(self) -> int:
        """The length of a bucket in microseconds."""

    # -- plain Python -------------------------------------------------------------------------
    @abstractmethod
    def lift_inner(self, event: Mapping[str, Any], moment_us: int, types: Types) -> State | None:
        """The inner state of one event of that moment; None for nothing."""

    @abstractmethod
    def merge_inner(self, left: State, right: State) -> State:
        """The inner state of the events of two of the same bucket."""

    @abstractmethod
    def kept(self, entries: list[State]) -> State:
        """The entries of a merged state that stay, of at least one; or a refusal."""

    def empty(self) -> State:
        return []

    def lift(self, event: Mapping[str, Any], types: Types) -> State:
        moment_us = event_us(event)
        inner = None if moment_us is None else self.lift_inner(event, moment_us, types)
        return [] if moment_us is None or inner is None else [{"bucket": moment_us // self.width_us, "state": inner}]

    def merge(self, left: State, right: State) -> State:
        if not left or not right:
            return left or right
        merged = {entry["bucket"]: entry["state"] for entry in left}
        for entry in right:
            bucket, inner = entry["bucket"], entry["state"]
            merged[bucket] = self.merge_inner(merged[bucket], inner) if bucket in merged else inner
        return self.kept([{"bucket": bucket, "state": inner} for bucket, inner in sorted(merged.items())])

    # -- Spark --------------------------------------------------------------------------------
    @abstractmethod
    def spark_counted(self, inner: Column) -> Column:
        """Whether anything was counted in a bucket."""

    @abstractmethod
    def spark_kept(self, entries: Column) -> Column:
        """The Spark twin of `kept`, of none too."""

    def spark_key(self, types: Types) -> Column:
        from pyspark.sql import functions as f

        moment_us, width = spark_event_us(), f.lit(self.width_us).cast("bigint")
        return f.call_function("div", moment_us - f.pmod(moment_us, width), width)

    def spark_collect(self, key: Column, inner: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        counted = key.isNotNull() & self.spark_counted(inner)
        entries = f.collect_list(f.when(counted, f.struct(key.alias("bucket"), inner.alias("state"))))
        return self.spark_kept(f.sort_array(entries))

    def spark_entries(self, state: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        return f.transform(
            state, lambda entry: f.struct(entry.getField("bucket").alias("key"), entry.getField("state").alias("inner"))
        )

    # -- finish -------------------------------------------------------------------------------
    @abstractmethod
    def inner_type(self, types: Types) -> pa.DataType:
        """The Arrow type of a column of inner states."""

    def arrow_type(self, types: Types) -> pa.DataType:
        return pa.list_(pa.struct([("bucket", pa.int64()), ("state", self.inner_type(types))]))


def length_us(length: timedelta) -> int:
    """A length in microseconds.

    >>> length_us(timedelta(seconds=2))
    2000000
    """
    return length // _MICROSECOND


def event_us(event: Mapping[str, Any]) -> int | None:
    """The event time `_event_ts` in microseconds of the epoch; null for none."""
    return None if event["_event_ts"] is None else scalars.micros(event["_event_ts"])


def spark_event_us() -> Column:
    """The Spark twin of `event_us`."""
    from pyspark.sql import functions as f

    return f.unix_micros(f.col("_event_ts"))


def bounded(entries: list[State], bound: int) -> State:
    """The entries of at most `bound` buckets; StateBoundError for more."""
    if len(entries) > bound:
        raise too_many(_WHAT, "_event_ts", bound)
    return entries


def spark_bounded(entries: Column, bound: int) -> Column:
    """The Spark twin of `bounded`; more fail the job."""
    from pyspark.sql import functions as f

    return f.when(f.size(entries) <= bound, entries).otherwise(spark_refusal(too_many(_WHAT, "_event_ts", bound)))
