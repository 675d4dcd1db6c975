"""Exact sums of products: the moments of samples, the same bits in any order and split."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# A value is counted in whole steps of 2**-STEP_BITS, a product in whole squares of it.
STEP_BITS = 30
# Values of at least this size are not counted: their steps are no exact doubles.
LIMIT = 2.0**20

_LOW_BITS = 15
# Rows of a block, and the size below which their halves' products add up exactly in doubles:
# 2 * (5 + 15) bits of a product of two high halves, and 12 of the block's rows, are no more than 53.
_BLOCK = 2**12
_MODEST = 2.0**5


def products(rows: Floats) -> list[int]:
    """The sums of products of every two columns, a column of ones before the first, in units of 2**-60; exact.

    rows: samples x columns, every value smaller than LIMIT. Out: the upper triangle, row by row, of
    (columns + 1) squared; its first is the number of samples. Values are rounded to whole steps, halves to even.

    >>> [total / 2**60 for total in products(np.array([[0.5], [2.0]]))]
    [2.0, 2.5, 4.25]
    """
    return _squared(rows, ones=1)


def gram(rows: Floats) -> list[int]:
    """The same without the column of ones: the upper triangle of columns squared.

    >>> [total / 2**60 for total in gram(np.array([[0.5, 1.0], [2.0, -1.0]]))]
    [4.25, -1.5, 2.0]
    """
    return _squared(rows, ones=0)


def sums(rows: Floats) -> list[int]:
    """The sum of each column in units of 2**-30; exact. rows: as for `products`.

    >>> [total / 2**30 for total in sums(np.array([[0.5, 1.0], [2.0, -1.5]]))]
    [2.5, -0.5]
    """
    total = [0] * rows.shape[1]
    for start in range(0, len(rows), _BLOCK):  # 50 bits of a value and 12 of the rows are no more than 63
        steps = np.rint(rows[start : start + _BLOCK] * 2.0**STEP_BITS).astype(np.int64)
        total = [a + b for a, b in zip(total, steps.sum(axis=0).tolist(), strict=True)]
    return total


def _squared(rows: Floats, *, ones: int) -> list[int]:
    width = rows.shape[1] + ones
    total = np.zeros((width, width), dtype=object)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        steps = np.empty((len(block), width))
        steps[:, :ones] = 2.0**STEP_BITS
        np.rint(block * 2.0**STEP_BITS, out=steps[:, ones:])
        modest = (np.abs(block) < _MODEST).all(axis=1)
        total += _of_modest(steps if modest.all() else steps[modest])
        if not modest.all():
            exact = steps[~modest].astype(np.int64).astype(object)
            total += exact.T @ exact
    return [int(total[i, j]) for i in range(width) for j in range(i, width)]


def _of_modest(steps: Floats) -> npt.NDArray[np.object_]:
    """Products by BLAS, which adds integers exactly as long as they stay below 2**53: in two halves."""
    high = np.floor(steps * 2.0**-_LOW_BITS)
    low = steps - high * 2.0**_LOW_BITS
    across = _integers(high.T @ low)
    total: npt.NDArray[np.object_] = (across + across.T) * 2**_LOW_BITS
    total += _integers(high.T @ high) * 2 ** (2 * _LOW_BITS)
    total += _integers(low.T @ low)
    return total


def _integers(values: Floats) -> npt.NDArray[np.object_]:
    return values.astype(np.int64).astype(object)


def no_products(columns: int) -> list[int]:
    """What `products` gives of no samples.

    >>> no_products(1) == products(np.empty((0, 1)))
    True
    """
    return [0] * ((columns + 1) * (columns + 2) // 2)


def squared(totals: Sequence[int], width: int, samples: int) -> Floats:
    """The symmetric matrix whose upper triangle `gram` gave, over so many samples.

    >>> squared(gram(np.array([[0.5, 1.0], [2.0, -1.0]])), 2, 2).tolist()
    [[2.125, -0.75], [-0.75, 1.0]]
    """
    upper = np.triu_indices(width)
    full = np.empty((width, width))
    full[upper] = [float(Fraction(total, samples * 4**STEP_BITS)) for total in totals]
    full.T[upper] = full[upper]
    return full


def averages(totals: Sequence[int], samples: int) -> Floats:
    """What `sums` gave, over so many samples."""
    return np.array([float(Fraction(total, samples * 2**STEP_BITS)) for total in totals])


def centred(totals: Sequence[int], columns: int) -> tuple[int, Floats, Floats]:
    """The number of samples, the mean of each column, and the columns' covariance (over n, not n - 1).

    Centred as integers before anything is rounded, so that no digits cancel. Zeros for no samples.
    """
    width = columns + 1
    full = np.empty((width, width), dtype=object)
    full[np.triu_indices(width)] = totals
    square = 4**STEP_BITS
    n = int(full[0, 0]) // square
    if n == 0:
        return 0, np.zeros(columns), np.zeros((columns, columns))
    sums = [int(full[0, i]) for i in range(1, width)]
    means = np.array([float(Fraction(total, n * square)) for total in sums])
    covariance = np.empty((columns, columns))
    for i in range(columns):
        for j in range(i, columns):
            spread = n * square * int(full[i + 1, j + 1]) - sums[i] * sums[j]
            covariance[i, j] = covariance[j, i] = float(Fraction(spread, (n * square) ** 2))
    return n, means, covariance


def rows_counted(rows: Floats) -> npt.NDArray[np.bool_]:
    """Which rows can be counted: those whose every value is finite and smaller than LIMIT."""
    with np.errstate(invalid="ignore"):
        within = np.abs(rows) < LIMIT
    counted: npt.NDArray[np.bool_] = np.all(within, axis=1)
    return counted
