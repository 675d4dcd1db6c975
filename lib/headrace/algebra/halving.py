"""Powers of two between 1 and 2 as whole numbers, the same from Python and from Spark: integers only, no libm."""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

UNIT_BITS = 20  # a weight of 1 is 2^20
# A phase is cut into 2^20 parts: four digits of five bits, and one table of 32 powers for each.
_DIGITS, _DIGIT_BITS = 4, 5
_HALF_DIGITS = 10  # bits of the phase found by one division, so that no product leaves 64 bits
_FINE_BITS = 30
_DROPPED = _FINE_BITS - UNIT_BITS
_PRECISION = 40  # decimal digits, far more than a table needs
LONGEST_US = 2**53 - 1  # of which no product below leaves 64 bits


@lru_cache(maxsize=1)
def _tables() -> tuple[tuple[int, ...], ...]:
    """Per digit, the greatest first: the nearest integers to 2^30 * 2^(digit / 32^place)."""
    with localcontext() as context:
        context.prec = _PRECISION
        tables = []
        root = Decimal(2)
        for _ in range(_DIGITS):
            for _ in range(_DIGIT_BITS):
                root = root.sqrt()
            powers = [Decimal(2**_FINE_BITS)]
            while len(powers) < 2**_DIGIT_BITS:
                powers.append(powers[-1] * root)
            tables.append(tuple(round(power) for power in powers))
        return tuple(tables)


def weight(phase_us: int, length_us: int) -> int:
    """2^(phase / length) in units of 2^-20, for 0 <= phase < length <= LONGEST_US.

    The phase is taken down to a whole 2^-20 of the length, so the weight is within 1.2e-6 of the true one.

    >>> weight(0, 1000), weight(500, 1000)  # 2^20 and its product with the root of 2
    (1048576, 1482910)
    """
    part = (phase_us << _HALF_DIGITS * 2) // length_us
    fine = 1 << _FINE_BITS
    for place, table in enumerate(_tables()):
        fine = fine * table[part >> _DIGIT_BITS * (_DIGITS - 1 - place) & (2**_DIGIT_BITS - 1)] >> _FINE_BITS
    return fine + (1 << _DROPPED - 1) >> _DROPPED


def spark_weight(phase_us: Column, length_us: int) -> Column:
    """The Spark twin of `weight`, a bigint."""
    from pyspark.sql import functions as f

    length = f.lit(length_us).cast("bigint")

    def divided(number: Column) -> tuple[Column, Column]:
        return f.call_function("div", number, length), number % length

    high, rest = divided(f.shiftleft(phase_us, _HALF_DIGITS))
    low, _ = divided(f.shiftleft(rest, _HALF_DIGITS))
    part = f.shiftleft(high, _HALF_DIGITS) + low
    fine = f.lit(1 << _FINE_BITS).cast("bigint")
    for place, table in enumerate(_tables()):
        # One text to parse: a literal array made value by value costs a call to the JVM for each.
        powers = f.expr(f"array({', '.join(f'{power}L' for power in table)})")
        digit = f.shiftright(part, _DIGIT_BITS * (_DIGITS - 1 - place)).bitwiseAND(2**_DIGIT_BITS - 1)
        fine = f.shiftright(fine * f.get(powers, digit.cast("int")), _FINE_BITS)
    return f.shiftright(fine + f.lit(1 << _DROPPED - 1).cast("bigint"), _DROPPED)
