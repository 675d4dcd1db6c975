"""The feature whose events weigh less the older they are: Decay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.algebra import scalars
from headrace.algebra.additive import Count, Sum
from headrace.algebra.aggregate import Clock, State, Types
from headrace.algebra.bounds import in_range
from headrace.algebra.buckets import Bucketed, length_us, spark_event_us
from headrace.algebra.conditional import Where
from headrace.algebra.distinct import positive_bound
from headrace.algebra.halving import LONGEST_US, spark_weight, weight
from headrace.algebra.quanta import quantum
from headrace.errors import DefinitionError

if TYPE_CHECKING:
    from pyspark.sql import Column

_FAR = 5000  # half-lives beyond which a double is 0 or infinite anyway


@dataclass(frozen=True)
class Decay(Bucketed):
    """The count or sum of events that each weigh 2^((t - reference) / half_life), float64; 0.0 for no events.

    t is the event time, reference the clock's instant: an event of the reference weighs 1, one `half_life` older a
    half, and one after the reference more than 1. This is forward decay with the landmark 1970-01-01T00:00Z
    (Cormode, Shkapenyuk, Srivastava and Xu, "Forward Decay", ICDE 2009), so that no state depends on the reference.

    inner: Count, Sum, or Where of one of them. An event adds its whole steps (1 for Count) times its weight within
    its half-life, a whole number of 2^-20; so sums are exact, and each weight is within 2e-6 of the formula.
    State: that of Bucketed, a sum per half-life since the landmark; of them the latest and the `span` - 1 before it,
    what is older being lost: an event is kept until it weighs less than 2^(1 - span) of the latest. An event that
    adds nothing is not counted. A partial sum beyond 64 bits, about 2^42 steps in one half-life, raises
    StateBoundError. A value that is no finite double, of events far beyond the reference, is null.

    >>> clicks = Decay(Count(), half_life=timedelta(days=7))
    >>> clicks.merge([{"bucket": 2187, "state": 1048576}], [{"bucket": 2187, "state": 1482910}])
    [{'bucket': 2187, 'state': 2531486}]
    """

    inner: Count | Sum | Where
    half_life: timedelta
    span: int = 64

    def __post_init__(self) -> None:
        positive_bound(self.span, "Decay")
        if not isinstance(self._counted, Count | Sum):
            raise DefinitionError(
                "Decay cannot hold this feature", found=self.inner, expected="Count, Sum, or Where of one of them"
            )
        if not 1 <= self.width_us <= LONGEST_US:
            raise DefinitionError(
                "the half-life of a Decay is not usable", found=self.half_life, expected="1 microsecond to 285 years"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        return self.inner.columns

    @property
    def _counted(self) -> object:
        inner: object = self.inner
        while isinstance(inner, Where):
            inner = inner.inner
        return inner

    @property
    def width_us(self) -> int:
        return length_us(self.half_life)

    # -- plain Python -------------------------------------------------------------------------
    def lift_inner(self, event: Mapping[str, Any], moment_us: int, types: Types) -> State | None:
        steps = self.inner.lift(event, types)
        return self._in_range(steps * weight(moment_us % self.width_us, self.width_us)) if steps else None

    def merge_inner(self, left: State, right: State) -> State:
        return self._in_range(left + right)

    def kept(self, entries: list[State]) -> State:
        # A sum of 0 stays: its bucket may be the latest, by which others are lost.
        oldest = entries[-1]["bucket"] - self.span
        return [entry for entry in entries if entry["bucket"] > oldest]

    def _in_range(self, total: int) -> int:
        return in_range(total, self._counted.column if isinstance(self._counted, Sum) else "_event_ts")

    # -- Spark --------------------------------------------------------------------------------
    def spark_inner(self, types: Types) -> Column:
        """The weighted sum, null where no event adds anything."""
        from pyspark.sql import functions as f

        phase_us = f.pmod(spark_event_us(), f.lit(self.width_us).cast("bigint"))
        steps = self.inner.spark_lift(types)
        return f.sum(f.when(steps != 0, steps * spark_weight(phase_us, self.width_us)))

    def spark_inner_merge(self, inner: Column, types: Types) -> Column:
        from pyspark.sql import functions as f

        return f.sum(inner)

    def spark_counted(self, inner: Column) -> Column:
        return inner.isNotNull()

    def spark_kept(self, entries: Column) -> Column:
        from pyspark.sql import functions as f

        oldest = f.get(entries, f.size(entries) - 1).getField("bucket") - self.span
        return f.filter(entries, lambda entry: entry.getField("bucket") > oldest)

    # -- finish -------------------------------------------------------------------------------
    def inner_type(self, types: Types) -> pa.DataType:
        return pa.int64()

    def finish(self, states: pa.Array, clock: Clock, types: Types) -> pa.Array:
        last, phase_us = divmod(scalars.micros(clock.reference), self.width_us)
        entries = pc.list_flatten(states)
        sums = pc.struct_field(entries, "state").to_numpy(zero_copy_only=False).astype(np.float64)
        buckets = pc.struct_field(entries, "bucket").to_numpy(zero_copy_only=False)
        rows = pc.list_parent_indices(states).to_numpy()
        unit = quantum(self._counted.step if isinstance(self._counted, Sum) else "1")
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # what is not finite becomes null
            weighted = np.ldexp(sums, np.clip(buckets - last, -_FAR, _FAR).astype(np.int32))
            # Terms of a row are added in its own order, whichever rows it is finished with.
            totals = np.bincount(rows, weights=weighted, minlength=len(states))
            values = totals * unit.divisor / float(weight(phase_us, self.width_us) * unit.multiplier)
        return pa.array(values, pa.float64(), mask=~np.isfinite(values))

    def describe(self) -> dict[str, Any]:
        return {"kind": "decay", "inner": self.inner.describe(), "half_life_us": self.width_us, "span": self.span}
