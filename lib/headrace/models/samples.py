"""Samples as learners are given them: numbers, checked, and in an order that depends on their values alone."""

from __future__ import annotations

from collections.abc import Container, Sequence
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

from headrace.errors import DefinitionError, InputError, nearest
from headrace.models.learner import not_finite

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_NUMERIC = ("boolean", "tinyint", "smallint", "int", "bigint", "float", "double")
# Rows of a partition while fitting. It depends on nothing but the input, so that neither does the model.
_ROWS_PER_PARTITION = 250_000


def as_numbers(samples: DataFrame, names: Sequence[str], texts: Container[str] = ()) -> DataFrame:
    """The columns as doubles, those among `texts` as they are. Raises as `require_kinds`."""
    from pyspark.sql import functions as F

    require_kinds(samples, names, texts)
    return samples.select(*(name if name in texts else F.col(name).cast("double").alias(name) for name in names))


def require_kinds(samples: DataFrame, names: Sequence[str], texts: Container[str] = ()) -> None:
    """DefinitionError for a column that is missing or not numeric, of `texts` for one that is no string."""
    types = dict(samples.dtypes)
    for name in names:
        kind = types.get(name)
        if name in texts:
            if kind != "string":
                raise DefinitionError(
                    f"column {name!r} is a text to the learner, as it was in training",
                    found=kind or f"columns {samples.columns}",
                    expected="a string column",
                    do="make it a string in `prepare`, or train again",
                )
        elif kind is None or not (kind in _NUMERIC or kind.startswith("decimal")):
            raise DefinitionError(
                f"a learner cannot read column {name!r}",
                found=kind or f"columns {samples.columns}",
                expected="a numeric column",
                nearest=None if kind else nearest(name, samples.columns),
                do="make it a number in `prepare`",
            )


def ranges(samples: DataFrame, names: Sequence[str]) -> dict[str, list[float]]:
    """The least and the greatest finite number of each column; a column without one is left out."""
    from pyspark.sql import functions as F

    if not names:
        return {}
    numbers = as_numbers(samples, names)
    finite = {name: F.when(_finite(name), F.col(name)) for name in names}
    seen = numbers.agg(*(F.array(F.min(one), F.max(one)).alias(name) for name, one in finite.items())).first()
    assert seen is not None  # noqa: S101 - an aggregate without keys has one row
    return {name: list(seen[name]) for name in names if seen[name][0] is not None}


def usable(
    samples: DataFrame, names: Sequence[str], optional: Sequence[str] = (), texts: Container[str] = ()
) -> DataFrame:
    """The rows whose columns are all finite numbers, as doubles, or `texts`; `optional` ones may be anything."""
    from pyspark.sql import functions as F

    there = (F.col(n).isNotNull() if n in texts else _finite(n) for n in names if n not in optional)
    return as_numbers(samples, names, texts).where(reduce(and_, there))


def in_order(samples: DataFrame, names: Sequence[str], learner: str) -> DataFrame:
    """The columns as doubles, in partitions and an order that depend on the values alone.

    Raises InputError, for `learner`, when there is no row, or a null or a number that is not finite in one.
    """
    from pyspark.sql import functions as F

    numbers = as_numbers(samples, names)
    unusable = (F.count_if(~_finite(name)).alias(name) for name in names)
    seen = numbers.agg(F.count(F.lit(1)).alias("rows"), *unusable).first()
    assert seen is not None  # noqa: S101 - an aggregate without keys has one row
    for name in names:
        if seen[name]:
            raise not_finite(learner, name, f"{seen[name]} of {seen['rows']} rows")
    if not seen["rows"]:
        raise InputError(f"there are no rows to fit {learner} on")
    partitions = -(-seen["rows"] // _ROWS_PER_PARTITION)
    spread = numbers.coalesce(1) if partitions == 1 else numbers.repartition(partitions, *names)
    return spread.sortWithinPartitions(*names)


def _finite(name: str) -> Column:
    from pyspark.sql import functions as F

    column = F.col(name)
    return column.isNotNull() & ~F.isnan(column) & (F.abs(column) != float("inf"))
