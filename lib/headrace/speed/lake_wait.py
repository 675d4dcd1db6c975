"""Wait until the lake holds what is served, whose stream is landed apart from it."""

from __future__ import annotations

import time
from functools import reduce
from typing import TYPE_CHECKING

from headrace.config import Settings
from headrace.errors import TransientError
from headrace.schemas import Vector
from headrace.speed.landing import lake_end

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LAKE_WAIT_S = 60.0
_POLL_S = 1.0


def await_lake(spark: SparkSession, settings: Settings, stream: str, wanted: Vector, wait_s: float) -> None:
    """Return once everything below `wanted` has landed. Raises TransientError after `wait_s`."""
    give_up = time.monotonic() + wait_s
    while not (landed := _landed(spark, settings, stream, {life for life, _ in wanted})).covers(wanted):
        if time.monotonic() >= give_up:
            raise TransientError(
                f"the lake does not hold all events of stream {stream!r} that are served",
                found=f"{landed.lacks(wanted):,} positions behind after {wait_s:g} s",
                do="see that `headrace stream` lands them (--only ingest), then verify again",
            )
        time.sleep(_POLL_S)


def _landed(spark: SparkSession, settings: Settings, stream: str, lives: set[str]) -> Vector:
    ends = (Vector.of(life, lake_end(spark, settings.lake, stream, life).next) for life in lives)
    return reduce(Vector.join, ends, Vector())
