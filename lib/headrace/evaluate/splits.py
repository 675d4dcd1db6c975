"""Splits of samples into parts that never overlap and together are all of them, on any partitioning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.errors import DefinitionError
from headrace.schemas.positions import PLACE

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

PART = "_part"  # 0 upwards: which one a sample is in
_OF = 1_000_000  # a share is cut at so many steps


@dataclass(frozen=True)
class Parts:
    """Samples and the part each is in; in each turn, from 0 up, the part of that number is held out."""

    rows: DataFrame
    turns: int

    def training(self, turn: int) -> DataFrame:
        """All samples but those of the part."""
        from pyspark.sql import functions as F

        return self.rows.where(F.col(PART) != turn).drop(PART)

    def held_out(self, turn: int) -> DataFrame:
        """The samples of the part."""
        from pyspark.sql import functions as F

        return self.rows.where(F.col(PART) == turn).drop(PART)


def folds(samples: DataFrame, keys: Sequence[str], count: int, seed: int) -> Parts:
    """`count` parts of about equal size, each held out once, by a hash of the `keys` and the seed.

    Rows of equal keys are in one part. Raises DefinitionError for fewer than two folds.
    """
    if count < 2:
        raise DefinitionError("there is no such number of folds", found=count, expected="2 or more")
    from pyspark.sql import functions as F

    return Parts(samples.withColumn(PART, F.pmod(_hash(keys, seed), F.lit(count)).cast("int")), count)


def by_hash(samples: DataFrame, keys: Sequence[str], share: float, seed: int) -> Parts:
    """One part, about that share of the samples, held out by a hash of the `keys` and the seed.

    Rows of equal keys are on one side. Raises DefinitionError for a share that is not between 0 and 1.
    """
    require_share(share)
    from pyspark.sql import functions as F

    drawn = F.pmod(_hash(keys, seed), F.lit(_OF))
    return Parts(samples.withColumn(PART, F.when(drawn < round(share * _OF), 0).otherwise(1)), 1)


def latest(samples: DataFrame, share: float) -> Parts:
    """One part held out: of every partition the positions from an earlier cut on, that share of its range.

    In: `_incarnation`, `_partition`, `_position`. Reads the samples once for the cut.
    Raises DefinitionError for a share that is not between 0 and 1.
    """
    require_share(share)
    from pyspark.sql import functions as F

    *log, place = PLACE
    ends = samples.groupBy(log).agg(F.min(place).alias("_first"), F.max(place).alias("_last"))
    back = F.floor((F.col("_last") - F.col("_first") + 1) * F.lit(share))
    cut = ends.select(*log, (F.col("_last") + 1 - back).alias("_cut"))
    placed = samples.join(F.broadcast(cut), log, "left")
    part = F.when(F.col(place) >= F.col("_cut"), 0).otherwise(1)
    return Parts(placed.withColumn(PART, part).drop("_cut"), 1)


def require_share(share: float) -> None:
    """DefinitionError for a share to hold out that is not between 0 and 1."""
    if not 0 < share < 1:
        raise DefinitionError("no such share can be held out", found=share, expected="between 0 and 1, such as 0.2")


def _hash(keys: Sequence[str], seed: int) -> Column:
    from pyspark.sql import functions as F

    return F.xxhash64(F.lit(seed), *keys)
