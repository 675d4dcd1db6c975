"""The feature that counts calendar days up to the clock: DaysSince."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headrace.algebra import scalars
from headrace.algebra.aggregate import Clock, State, Types
from headrace.algebra.extremes import Max, Min
from headrace.algebra.folded import Folded
from headrace.algebra.latest import Last
from headrace.errors import DefinitionError

if TYPE_CHECKING:
    from pyspark.sql import Column

_SECOND_US = 1_000_000
_DAY_US = 86_400 * _SECOND_US
_EPOCH_DAY = date(1970, 1, 1).toordinal()
# Days a datetime can express in every zone; beyond them the offset of the nearest such day is used.
_FIRST_DAY = date(1, 1, 3).toordinal() - _EPOCH_DAY
_LAST_DAY = date(9999, 12, 29).toordinal() - _EPOCH_DAY


@dataclass(frozen=True)
class DaysSince(Folded):
    """Whole days from a moment up to the clock's reference, int64; null for no events, negative after the reference.

    `inner` is Min, Max or Last of a timestamp or date column and its state is the state. Days are differences of
    calendar dates in the clock's zone, so a day that daylight saving makes shorter or longer is one day.

    >>> DaysSince(Max("invoice_date")).columns
    ('invoice_date',)
    """

    inner: Min | Max | Last

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Min | Max | Last):
            raise DefinitionError("DaysSince cannot read this feature", found=self.inner, expected="Min, Max or Last")

    @property
    def columns(self) -> tuple[str, ...]:
        return self.inner.columns

    def _type(self, types: Types) -> str:
        return scalars.require(self.inner.column, types, ("timestamp", "date"), "DaysSince")

    def empty(self) -> State:
        return self.inner.empty()

    def lift(self, event: Mapping[str, Any], types: Types) -> State:
        self._type(types)
        return self.inner.lift(event, types)

    def merge(self, left: State, right: State) -> State:
        return self.inner.merge(left, right)

    def spark_lift(self, types: Types) -> Column:
        self._type(types)
        return self.inner.spark_lift(types)

    def spark_fold(self, lifted: Column, types: Types) -> Column:
        return self.inner.spark_fold(lifted, types)

    def spark_merge(self, state: Column, types: Types) -> Column:
        return self.inner.spark_merge(state, types)

    def arrow_type(self, types: Types) -> pa.DataType:
        return self.inner.arrow_type(types)

    def finish(self, states: pa.Array, clock: Clock, types: Types) -> pa.Array:
        values = pc.struct_field(states, "value") if isinstance(self.inner, Last) else states
        zone = ZoneInfo(clock.zone)
        today = clock.reference.astimezone(zone).date().toordinal() - _EPOCH_DAY
        raw = values.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        days = raw if self._type(types) == "date" else local_days(raw, zone)
        return pa.array(today - days, pa.int64(), mask=np.asarray(values.is_null()))

    def describe(self) -> dict[str, Any]:
        return {"kind": "days_since", "inner": self.inner.describe()}


def local_days(moments_us: npt.NDArray[np.int64], zone: ZoneInfo) -> npt.NDArray[np.int64]:
    """Calendar days since 1970-01-01 in `zone` of microseconds since 1970-01-01 UTC.

    The zone is asked once per UTC day, and once per moment only on days whose offset changes.
    """
    utc_days = np.floor_divide(moments_us, _DAY_US)
    if zone.key == "UTC":
        return utc_days
    days, day_of = np.unique(utc_days, return_inverse=True)
    starts = np.array([_offset_us(int(day), 0, zone) for day in days], dtype=np.int64)
    ends = np.array([_offset_us(int(day) + 1, 0, zone) for day in days], dtype=np.int64)
    offsets = starts[day_of]
    for row in np.flatnonzero((starts != ends)[day_of]):
        day, rest = divmod(int(moments_us[row]), _DAY_US)
        offsets[row] = _offset_us(day, rest // _SECOND_US, zone)
    local: npt.NDArray[np.int64] = utc_days + np.floor_divide(moments_us - utc_days * _DAY_US + offsets, _DAY_US)
    return local


def _offset_us(day: int, second: int, zone: ZoneInfo) -> int:
    day = min(max(day, _FIRST_DAY), _LAST_DAY)
    moment = datetime.fromordinal(day + _EPOCH_DAY).replace(
        hour=second // 3600, minute=second // 60 % 60, second=second % 60, tzinfo=UTC
    )
    offset = moment.astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds()) * _SECOND_US
