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

# Values below this many steps are added up by BLAS in two halves: a high one of 20 bits and a low one of 15.
_MODEST = 2.0 ** (STEP_BITS + 5)
_LOW_BITS = 15
# Added and taken away again, it leaves the multiples of 2**_LOW_BITS: a double has no digits below them then.
_TO_HIGH = 1.5 * 2.0 ** (52 + _LOW_BITS)
# Rows of a block: the 2 * 20 bits of a product of two high halves and 11 of the rows stay below 53, so doubles add them
# exactly. Few enough that a block of twenty columns stays in a processor's cache.
_BLOCK = 2**11
# Blocks whose sums a 64-bit integer holds together: 51 bits of one and 10 of them.
_HELD = 2**10


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


def scaled_products(samples: Floats, mean: Floats, scale: Floats) -> tuple[list[int], int]:
    """What `products` gives of (samples - mean) / scale, and how many rows were left out as they cannot be counted.

    >>> scaled_products(np.array([[5.0], [np.nan]]), mean=np.array([3.0]), scale=np.array([4.0]))[1]
    1
    """
    added = _Added(samples.shape[1])
    # A power of two changes no digit: dividing by the scale in steps is one operation less for the same bits.
    in_steps = scale * 2.0**-STEP_BITS
    skipped = 0
    for start in range(0, len(samples), _BLOCK):
        with np.errstate(over="ignore", invalid="ignore"):
            steps = (samples[start : start + _BLOCK] - mean) / in_steps
        if not (modest := _is_modest(steps)):
            counted = rows_counted(steps * 2.0**-STEP_BITS)
            skipped += len(steps) - int(counted.sum())
            steps = steps[counted]
        added.add(np.rint(steps, out=steps), modest=modest)
    return added.products(), skipped


def _squared(rows: Floats, *, ones: int) -> list[int]:
    added = _Added(rows.shape[1])
    for start in range(0, len(rows), _BLOCK):
        steps = np.rint(rows[start : start + _BLOCK] * 2.0**STEP_BITS)
        added.add(steps, modest=_is_modest(steps))
    return added.products() if ones else added.gram()


def _is_modest(steps: Floats) -> bool:
    """Whether every value is a number below _MODEST."""
    # NaN is both the greatest and the least of what it is among, and no comparison with it is true.
    return not len(steps) or bool(steps.max() < _MODEST and steps.min() > -_MODEST)


class _Added:
    """Exact sums of steps and of their products, block by block."""

    def __init__(self, width: int) -> None:
        self._samples = 0
        self._sums = [0] * width
        self._whole = np.zeros((width, width), dtype=object)
        self._held = np.zeros((3, width, width), dtype=np.int64)
        self._blocks = 0

    def add(self, steps: Floats, *, modest: bool) -> None:
        """Count up to _BLOCK rows of whole steps, each smaller than LIMIT in steps; modest: as `_is_modest` says."""
        self._samples += len(steps)
        if not modest:
            near = (np.abs(steps) < _MODEST).all(axis=1)
            self._add_far(steps[~near])
            steps = steps[near]
        # 35 bits of a value and 11 of the rows.
        self._add_sums((np.ones(len(steps)) @ steps).astype(np.int64))
        high = steps + _TO_HIGH
        high -= _TO_HIGH
        low = steps - high
        high *= 2.0**-_LOW_BITS
        for place, (left, right) in enumerate(((high, high), (high, low), (low, low))):
            self._held[place] += (left.T @ right).astype(np.int64)
        self._blocks += 1
        if self._blocks == _HELD:
            self._fold()

    def _add_far(self, steps: Floats) -> None:
        whole = steps.astype(np.int64)
        self._add_sums(whole.sum(axis=0))  # 50 bits of a value and 11 of the rows
        self._whole += whole.astype(object).T @ whole.astype(object)

    def _add_sums(self, sums: npt.NDArray[np.int64]) -> None:
        self._sums = [a + b for a, b in zip(self._sums, sums.tolist(), strict=True)]

    def _fold(self) -> None:
        high, across, low = self._held.astype(object)
        self._whole += high * 4**_LOW_BITS + (across + across.T) * 2**_LOW_BITS + low
        self._held[:] = 0
        self._blocks = 0

    def gram(self) -> list[int]:
        """The upper triangle of the sums of products, row by row."""
        self._fold()
        return [int(total) for total in self._whole[np.triu_indices(len(self._sums))]]

    def products(self) -> list[int]:
        """The same with a column of ones before the others."""
        one = 2**STEP_BITS
        return [self._samples * one**2, *(total * one for total in self._sums), *self.gram()]


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
