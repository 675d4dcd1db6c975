"""Events by ranges of positions."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from headrace.schemas import Vector

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def between(events: DataFrame, start: Vector, end: Vector) -> DataFrame:
    """The events of each log of `end` from its position in `start` (absent: 0) to before that in `end`."""
    from pyspark.sql import functions as F

    def within(log: tuple[str, str], n: int) -> Column:
        position = F.col("_position")
        own = (F.col("_incarnation") == log[0]) & (F.col("_partition") == log[1])
        return own & (position >= start.get(log, 0)) & (position < n)

    return events.where(reduce(or_, (within(log, n) for log, n in end.items()), F.lit(col=False)))
