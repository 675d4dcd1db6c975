"""Exact sums of inexact numbers: every contribution is rounded to a whole number of declared steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.algebra.bounds import in_range, spark_refusal, sum_overflow
from headrace.algebra.scalars import decimal_shape, kind, spark_column
from headrace.errors import DefinitionError

if TYPE_CHECKING:
    from pyspark.sql import Column

_EXACT = 2**53  # integers up to here are doubles
_BEYOND = 2.0**63  # the first double beyond 64-bit integers
_MAX_DECIMAL_DIGITS = 38  # Spark's widest decimal


@dataclass(frozen=True)
class Quantum:
    """A step as multiplier / divisor, one of which is 1: one step is `divisor / multiplier`."""

    multiplier: int
    divisor: int


@lru_cache(maxsize=256)
def quantum(step: str) -> Quantum:
    """The step of a decimal text such as "0.001", "0.25", "1" or "100".

    Raises DefinitionError unless the step or its inverse is an integer, at most 2^53.

    >>> quantum("0.25"), quantum("100")
    (Quantum(multiplier=4, divisor=1), Quantum(multiplier=1, divisor=100))
    """
    try:
        size = Fraction(Decimal(step)) if isinstance(step, str) else Fraction(0)
    except (InvalidOperation, ValueError, OverflowError):
        size = Fraction(0)
    if size <= 0 or 1 not in (size.numerator, size.denominator) or max(size.numerator, size.denominator) > _EXACT:
        raise DefinitionError(
            "the step of a sum is not usable",
            found=repr(step),
            expected='a decimal text that is an integer or divides 1 evenly, such as "0.001", "0.25" or "1"',
        )
    return Quantum(multiplier=size.denominator, divisor=size.numerator)


def steps_of(value: Any, spark_type: str, step: str, column: str) -> int | None:
    """How many steps a value is, halves to even; null for null and NaN.

    Doubles are multiplied by the inverse step in IEEE arithmetic and rounded, which Python, NumPy and Spark do
    alike; integers and decimals are rounded exactly. StateBoundError for what is infinite or beyond 2^63 - 1 steps.
    """
    if value is None or value != value:  # noqa: PLR0124 (only NaN differs from itself)
        return None
    unit = quantum(step)
    if kind(spark_type) == "real":
        scaled = _scaled(float(value), unit)
        if abs(scaled) >= _BEYOND:
            raise sum_overflow(column)
        return round(scaled)
    return in_range(round(Fraction(value) * unit.multiplier / unit.divisor), column)


def _scaled(value: float, unit: Quantum) -> float:
    return value * unit.multiplier if unit.divisor == 1 else value / unit.divisor


@lru_cache(maxsize=256)
def _first_beyond(unit: Quantum) -> float:
    """The least positive double that is 2^63 steps or more; scaling and rounding keep the order of doubles."""
    value = _BEYOND / unit.multiplier * unit.divisor
    while _scaled(value, unit) >= _BEYOND:
        value = math.nextafter(value, 0)
    while _scaled(value, unit) < _BEYOND:
        value = math.nextafter(value, math.inf)
    return value


def spark_steps_of(name: str, spark_type: str, step: str) -> Column:
    """The Spark twin of `steps_of`, a bigint; what it cannot hold fails the job (see `explain_overflow`)."""
    from pyspark.sql import functions as f

    unit = quantum(step)
    value = spark_column(name)
    refusal = spark_refusal(sum_overflow(name))
    if kind(spark_type) == "real":
        value = value.cast("double")
        scaled = value * float(unit.multiplier) if unit.divisor == 1 else value / float(unit.divisor)
        # One comparison guards the hot path. An ANSI cast would let 2^63 through as 2^63 - 1, and checks again;
        # floor of what is whole already is the cheaper way to a bigint.
        return (
            f.when(f.abs(value) < _first_beyond(unit), f.floor(f.rint(scaled)))
            .when(value.isNull() | f.isnan(value), None)
            .otherwise(refusal)
        )
    if unit.divisor == 1 and kind(spark_type) == "integer":
        return value.cast("bigint") * f.lit(unit.multiplier).cast("bigint")
    return _spark_decimal_steps(value, spark_type, unit, name)


def _spark_decimal_steps(value: Column, spark_type: str, unit: Quantum, name: str) -> Column:
    from pyspark.sql import functions as f

    precision, scale = decimal_shape(spark_type) or (19, 0)
    value = value.cast(f"decimal({precision},{scale})")
    if precision + len(str(unit.multiplier * unit.divisor)) + 1 > _MAX_DECIMAL_DIGITS:
        raise DefinitionError(
            f"the sum of column {name!r} cannot be exact in Spark's decimals",
            found=f"{spark_type} in steps of {unit.divisor}/{unit.multiplier}",
            expected=f"digits of the type and of the step or its inverse below {_MAX_DECIMAL_DIGITS} together",
            do="cast the column to a narrower decimal in prepare",
        )
    if unit.divisor == 1:
        return f.bround(value * f.lit(Decimal(unit.multiplier)), 0).cast("bigint")
    # Decimal division rounds at a limited scale, so the half is found on the exact remainder instead.
    divisor = f.lit(Decimal(unit.divisor))
    remainder = value % divisor
    whole = ((value - remainder) / divisor).cast("bigint")
    twice = f.abs(remainder) * 2
    away = (twice > divisor) | ((twice == divisor) & (whole % 2 != 0))
    return f.when(away, whole + f.when(remainder < 0, -1).otherwise(1)).otherwise(whole)


def ratios(numerators: pa.Array, factor: int, divisor: int, counts: pa.Array | None = None) -> pa.Array:
    """numerator * factor / (divisor * count) as correctly rounded doubles; null for null and for a count of 0."""
    top = _int64(numerators)
    bottom = np.ones_like(top) if counts is None else _int64(counts)
    null = np.asarray(numerators.is_null()) | (bottom == 0)
    # Where both sides are exact as doubles the one division is the only rounding; the rest is divided as integers.
    exact = (np.abs(top) <= _EXACT // factor) & (top != np.iinfo(np.int64).min)
    exact &= (bottom == 1) & (int(float(divisor)) == divisor) | (bottom <= _EXACT // divisor)
    below = bottom.astype(np.float64) * float(divisor)
    values = np.divide(top * np.int64(factor), below, out=np.zeros(len(top)), where=exact & ~null)
    for row in np.flatnonzero(~exact & ~null):
        values[row] = int(top[row]) * factor / (int(bottom[row]) * divisor)
    return pa.array(values, mask=null)


def _int64(values: pa.Array) -> npt.NDArray[np.int64]:
    filled: npt.NDArray[np.int64] = values.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return filled
