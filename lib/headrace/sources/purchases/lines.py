"""Lines of generated invoices, one bounded chunk at a time: what was bought, how many, at which price."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headrace.sources.purchases.catalogue import (
    BAD_DEBT,
    BIG_ORDER,
    BULK,
    CANCELLED_ORDER,
    FREE,
    GUEST,
    LIST,
    REMARKS,
    Catalogue,
    Ints,
)
from headrace.sources.purchases.invoices import NOBODY, Invoices, Kind

CHUNK_ROWS = 250_000
MISSING = -1

# Common quantities of a line and their shares.
_QUANTITIES = np.array([1, 2, 12, 6, 4, 3, 24, 10, 8, 5, 48, 25, 20, 16, 36, 72, 100, 144])
_QUANTITY_SHARES = np.cumsum(
    [0.24, 0.155, 0.125, 0.084, 0.08, 0.077, 0.05, 0.046, 0.028, 0.024, 0.013, 0.011, 0.01, 0.009, 0.008, 0.006, 0.004]
)
_BULK_QUANTITY = 24
_DEAR = 2_900  # thousandths: from here on, few are bought at a time
_DUPLICATE_SHARE = 0.004  # on top of lines that are equal by chance
_MISSING_SHARE = 0.645  # of write-offs; the others carry a remark

# kind -> product and quantity of its only line
_FIXED = {
    Kind.DEBT: (BAD_DEBT, 1),
    Kind.DEBT_WRITTEN_OFF: (BAD_DEBT, 1),
    Kind.BIG_ORDER: (CANCELLED_ORDER, 74_215),
    Kind.BIG_CANCELLED: (CANCELLED_ORDER, -74_215),
    Kind.LATE_ORDER: (BIG_ORDER, 80_995),
    Kind.LATE_CANCELLED: (BIG_ORDER, -80_995),
}


@dataclass(frozen=True)
class Lines:
    """Parallel columns of a chunk. `invoice` is a place in the plan, `product` one in the catalogue; `description`
    is a product's place, or that of a remark after the last product, or MISSING; `level` is a price level."""

    invoice: Ints
    product: Ints
    description: Ints
    quantity: Ints
    level: Ints

    def __len__(self) -> int:
        return len(self.invoice)


def chunks(invoices: Invoices, goods: Catalogue, seed: int) -> Iterator[Lines]:
    """All lines in the order of their invoices, whole invoices at a time, about CHUNK_ROWS to a chunk."""
    ends = np.cumsum(invoices.lines)
    start = number = 0
    while start < len(invoices):
        done = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, done + CHUNK_ROWS, side="right")), start + 1)
        number += 1
        yield _chunk(np.random.default_rng([seed, number]), invoices, goods, slice(start, stop))
        start = stop


def _chunk(rng: np.random.Generator, invoices: Invoices, goods: Catalogue, which: slice) -> Lines:
    invoice = np.repeat(np.arange(which.start, which.stop), invoices.lines[which])
    kind = invoices.kind[invoice]
    customer = invoices.customer[invoice]
    product = _drawn(rng, goods.cumulative, len(invoice))
    dear = goods.prices[product, LIST] >= _DEAR
    quantity = _quantities(rng, kind, dear, np.where(customer == NOBODY, 1, invoices.volumes[customer]))
    first = np.concatenate([[True], invoice[1:] != invoice[:-1]])
    level = np.where(quantity >= _BULK_QUANTITY, BULK, LIST)
    level = np.where(kind == Kind.GUEST, GUEST, level)
    # Never the first line of an order: every customer keeps a line that counts.
    free = ((kind == Kind.ORDER) & ~first & (rng.random(len(invoice)) < 1e-4)) | (
        (kind == Kind.GUEST) & (rng.random(len(invoice)) < 8.5e-3)
    )
    level = np.where(free | (kind == Kind.WRITE_OFF), FREE, level)
    description = _descriptions(rng, kind, product, free, len(goods.codes))
    for fixed, (thing, number) in _FIXED.items():
        there = kind == fixed
        product = np.where(there, thing, product)
        description = np.where(there, thing, description)
        quantity = np.where(there, number, quantity)
        level = np.where(there, LIST, level)
    repeated = (kind == Kind.ORDER) & ~first & (rng.random(len(invoice)) < _DUPLICATE_SHARE)
    source = np.maximum.accumulate(np.where(repeated, 0, np.arange(len(invoice))))
    return Lines(invoice, product[source], description[source], quantity[source], level[source])


def _quantities(rng: np.random.Generator, kind: Ints, dear: npt.NDArray[np.bool_], volume: Ints) -> Ints:
    common = _QUANTITIES[_drawn(rng, _QUANTITY_SHARES, len(kind))]
    common = np.where(dear, np.maximum(common // 3, 1), common)
    draw = rng.random(len(kind))
    few = 1 + (draw**3 * 6).astype(np.int64)
    return np.asarray(
        np.select(
            [kind == Kind.GUEST, kind == Kind.CANCELLED, kind == Kind.WRITE_OFF],
            [few, -np.minimum(common, few * 4) * volume, -few * common],
            common * volume,
        )
    )


def _descriptions(
    rng: np.random.Generator, kind: Ints, product: Ints, free: npt.NDArray[np.bool_], products: int
) -> Ints:
    draw = rng.random(len(kind))
    remark = products + rng.integers(0, len(REMARKS), len(kind))
    missing = ((kind == Kind.WRITE_OFF) & (draw < _MISSING_SHARE)) | ((kind == Kind.GUEST) & free & (draw < 0.5))
    return np.where(missing, MISSING, np.where(kind == Kind.WRITE_OFF, remark, product))


def _drawn(rng: np.random.Generator, cumulative: npt.NDArray[np.float64], count: int) -> Ints:
    """Places drawn by cumulative shares; what rounding leaves over goes to the last place."""
    return np.minimum(np.searchsorted(cumulative, rng.random(count), side="right"), len(cumulative) - 1)
