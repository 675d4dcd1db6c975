"""A part of a log of events told by percentages, and its exact complement: by row position or by a stable hash.

The JSON is Amazon Machine Learning's `DataRearrangement`, so that what is written for it is accepted as it is.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from headrace.errors import DefinitionError, nearest
from headrace.evaluate.splits import PART, Parts
from headrace.schemas.positions import PLACE

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Strategy = Literal["sequential", "random"]
_KEYS = ("percentBegin", "percentEnd", "strategy", "strategyParams", "complement")
_DIGITS = 13  # of the hash, in base 16: whole numbers that a bigint and a double hold
_DRAWS = 16**_DIGITS
_BLOCK = 1 << 15  # positions whose rows are numbered by one task: the bits of one of Spark's bitmaps
_APART = "\x1f"


@dataclass(frozen=True)
class Splitting:
    """The events from `begin` to `end` percent, or with `complement` all others.

    strategy: `sequential` takes the percentages of the events in the order of their positions; `random` those of the
    draws that a hash of position and `seed` gives each event, so that about as many are in the part and an event
    keeps its side whatever lands later. begin is in the part, end is not. Rows that `prepare` makes of one event are
    on one side.

    >>> part = Splitting(70, 100)
    >>> [part.contains(("", "f", place), row, 10) for row, place in enumerate((3, 4, 9))]
    [False, False, False]
    >>> part.contains(("", "f", 12), 7, 10), part.complemented().contains(("", "f", 12), 7, 10)
    (True, False)
    """

    begin: float = 0
    end: float = 100
    strategy: Strategy = "sequential"
    seed: str = ""
    complement: bool = False

    def __post_init__(self) -> None:
        if self.strategy not in get_args(Strategy):
            raise DefinitionError(
                "a splitting has no such strategy",
                found=repr(self.strategy),
                expected=" or ".join(get_args(Strategy)),
                nearest=nearest(str(self.strategy), get_args(Strategy)),
            )
        numbers = [isinstance(bound, int | float) and not isinstance(bound, bool) for bound in (self.begin, self.end)]
        if not all(numbers) or not 0 <= self.begin < self.end <= 100:
            raise DefinitionError(
                "a splitting has no such part",
                found=f"percentBegin {self.begin!r}, percentEnd {self.end!r}",
                expected="0 <= percentBegin < percentEnd <= 100",
            )
        if self.seed and self.strategy != "random":
            raise DefinitionError("only a random splitting has a seed", found=repr(self.seed), do='strategy "random"')

    def complemented(self) -> Splitting:
        """All events but these."""
        return Splitting(self.begin, self.end, self.strategy, self.seed, not self.complement)

    def contains(self, place: tuple[str, str, int], row: int, rows: int) -> bool:
        """Whether an event is in the part.

        place: its incarnation, partition and position. row: its number from 0 on among `rows` events, in their order.
        """
        drawn, first, end = (row, *self._bounds(rows)) if self.strategy == "sequential" else self._draw(place)
        return (first <= drawn < end) != self.complement

    def parts(self, samples: DataFrame) -> Parts:
        """The events of the part, to be trained on, and all others, held out in one turn.

        In: `_incarnation`, `_partition`, `_position`. Sequential: reads the samples once to count them, and numbers
        them by blocks of positions, so that no task sees them all.
        """
        from pyspark.sql import functions as F

        if self.strategy == "sequential":
            numbered, rows = with_row_number(samples)
            first, end = self._bounds(rows)
            drawn: Column = F.col(ROW)
        else:
            first, end = self._bounds(_DRAWS)
            numbered = samples
            text = F.concat_ws(_APART, F.lit(self.seed), *(F.col(name).cast("string") for name in PLACE))
            drawn = F.conv(F.substring(F.sha2(text, 256), 1, _DIGITS), 16, 10).cast("bigint")
        inside = (drawn >= F.lit(first)) & (drawn < F.lit(end))
        kept = ~inside if self.complement else inside
        return Parts(numbered.withColumn(PART, kept.cast("int")).drop(ROW), 1)

    def numbered(self, samples: DataFrame) -> tuple[DataFrame, int]:
        """The events of the part as `with_row_number` gives them, numbered within the part, and how many they are.

        In: `_incarnation`, `_partition`, `_position`. Reads the samples once, to count them.
        """
        from pyspark.sql import functions as F

        if self.strategy == "random":
            return with_row_number(self.parts(samples).training(0))
        blocks = _blocks(samples)
        rows = sum(block.events for block in blocks)
        first, end = self._bounds(rows)
        row = F.col(ROW)
        if not self.complement:
            # The others are never sorted.
            met = [block for block in blocks if block.start < end and block.start + block.events > first]
            inside = _numbered(samples, met).where((row >= first) & (row < end))
            return inside.withColumn(ROW, row - first), end - first
        outside = _numbered(samples, [b for b in blocks if b.start < first or b.start + b.events > end])
        numbered = F.when(row < first, row).when(row >= end, row - (end - first))
        return outside.withColumn(ROW, numbered).where(row.isNotNull()), rows - (end - first)

    def _draw(self, place: tuple[str, str, int]) -> tuple[int, int, int]:
        text = _APART.join((self.seed, *(str(one) for one in place)))
        return (int(hashlib.sha256(text.encode()).hexdigest()[:_DIGITS], 16), *self._bounds(_DRAWS))

    def _bounds(self, rows: int) -> tuple[int, int]:
        # In fractions of what people wrote: 0.7 as a double times 10 is a hair off 7.
        shares = (Fraction(str(percent)) / 100 for percent in (self.begin, self.end))
        first, end = (math.floor(rows * share) for share in shares)
        return first, end

    def to_json(self) -> dict[str, Any]:
        """The splitting as `of` reads it.

        >>> Splitting.of(Splitting(70, 100, "random", "S", True).to_json()).seed
        'S'
        """
        told: dict[str, Any] = {"percentBegin": self.begin, "percentEnd": self.end, "strategy": self.strategy}
        if self.strategy == "random":
            told["strategyParams"] = {"randomSeed": self.seed}
        return {"splitting": {**told, "complement": self.complement}}

    @classmethod
    def of(cls, told: str | Mapping[str, Any]) -> Splitting:
        """The splitting that JSON, or its value, tells. Raises DefinitionError, with the nearest, for what it is not.

        >>> Splitting.of('{"splitting": {"percentBegin": 70, "percentEnd": 100}}')
        Splitting(begin=70, end=100, strategy='sequential', seed='', complement=False)
        """
        if isinstance(told, str):
            try:
                told = json.loads(told)
            except json.JSONDecodeError as error:
                raise DefinitionError("a splitting is not JSON", found=str(error), expected=_EXAMPLE) from None
        inner = _object(_object(told, ("splitting",)).get("splitting"), _KEYS)
        parameters = _object(inner.get("strategyParams", {}), ("randomSeed",))
        complement = inner.get("complement", False)
        if not isinstance(complement, bool):
            raise DefinitionError("complement is neither true nor false", found=repr(complement))
        seed = parameters.get("randomSeed", "")
        return cls(
            inner.get("percentBegin", 0),
            inner.get("percentEnd", 100),
            inner.get("strategy", "sequential"),
            seed if isinstance(seed, str) else json.dumps(seed),
            complement,
        )


_EXAMPLE = json.dumps(Splitting(70, 100, "random", "S", True).to_json())  # noqa: FBT003 - the last field
ROW = "_row"


def with_row_number(rows: DataFrame) -> tuple[DataFrame, int]:
    """The rows with `_row`, the number of their event from 0 on in the order of positions, and how many events.

    In: `_incarnation`, `_partition`, `_position`; rows of one position share a number. Reads the rows once.
    """
    blocks = _blocks(rows)
    return _numbered(rows, blocks), sum(block.events for block in blocks)


class _Block(NamedTuple):
    """Positions of one log that lie together: so many events, and the number of the first of them."""

    incarnation: str
    partition: str
    block: int
    start: int
    events: int


def _blocks(rows: DataFrame) -> list[_Block]:
    """The blocks that hold a row, in order."""
    from pyspark.sql import functions as F

    *log, place = PLACE
    # Distinct positions as bits: one aggregation, where count_distinct groups by every position first.
    events = F.bitmap_count(F.bitmap_construct_agg(F.col(place) % _BLOCK)).alias("events")
    counts = [tuple(row) for row in rows.groupBy(*log, _block_number()).agg(events).collect()]
    before, found = 0, []
    for incarnation, partition, block, count in sorted(counts):
        found.append(_Block(incarnation, partition, block, before, count))
        before += count
    return found


def _numbered(rows: DataFrame, blocks: Sequence[_Block]) -> DataFrame:
    """The rows of these blocks alone, with `_row`."""
    import pyarrow as pa
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    *log, place = PLACE
    names = ("_incarnation", "_partition", "_block", "_start")
    columns = zip(*(block[:4] for block in blocks), strict=True) if blocks else [()] * 4
    types = (pa.string(), pa.string(), pa.int64(), pa.int64())
    # From Arrow, the rows are part of the plan; from Python's tuples they would be a job of their own.
    known = rows.sparkSession.createDataFrame(
        pa.table({name: pa.array(column, kind) for name, column, kind in zip(names, columns, types, strict=True)})
    )
    within = F.dense_rank().over(Window.partitionBy(*log, "_block").orderBy(place))
    blocked = rows.withColumn("_block", _block_number()).join(F.broadcast(known), [*log, "_block"])
    return blocked.withColumn(ROW, F.col("_start") + within - 1).drop("_block", "_start")


def _block_number() -> Column:
    from pyspark.sql import functions as F

    return F.floor(F.col(PLACE[-1]) / _BLOCK).alias("_block")


def _object(value: Any, keys: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DefinitionError("a splitting cannot be read", found=repr(value), expected=_EXAMPLE)
    for key in value:
        if key not in keys:
            raise DefinitionError(
                "a splitting has a key that means nothing",
                found=repr(key),
                expected=f"{', '.join(keys)}, as in {_EXAMPLE}",
                nearest=nearest(str(key), keys),
            )
    return value
