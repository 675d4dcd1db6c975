"""Invoices of a generated shop: who bought when, and how many lines; small enough to be planned as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import IntEnum

import numpy as np

from headrace.sources.purchases.catalogue import (
    CLOSING_MINUTE,
    COUNTRIES,
    DOMESTIC_SHARE,
    OPENING_MINUTE,
    Ints,
    trading_days,
)

FIRST_CUSTOMER = 12346
FIRST_INVOICE = 536365
# The customer of the real file's first lines and of most examples; there whenever enough customers are.
KNOWN_CUSTOMER = 17850
NOBODY = -1
DAY = 24 * 60

_GUEST_SHARE = 0.2475  # lines without a customer, of all
_WRITE_OFF_SHARE = 0.0025
_CANCELLED_SHARE = 0.0171
_LINES_AN_ORDER = 21
_LINES_A_GUEST = 36
_ORDERS_A_CUSTOMER = 4  # at least, where there are rows enough
_WHOLESALE_SHARE = 0.006
_ROWS_FOR_ODDITIES = 500


class Kind(IntEnum):
    """What an invoice is; it decides prefix, signs, price and description."""

    ORDER = 0
    GUEST = 1
    CANCELLED = 2
    WRITE_OFF = 3
    DEBT = 4
    DEBT_WRITTEN_OFF = 5
    BIG_ORDER = 6
    BIG_CANCELLED = 7
    LATE_ORDER = 8
    LATE_CANCELLED = 9


# kind, day and time: a bad debt booked and twice written off, and two outsized orders cancelled minutes later.
_ODDITIES = (
    (Kind.BIG_ORDER, date(2011, 1, 18), 10 * 60 + 1, 0),
    (Kind.BIG_CANCELLED, date(2011, 1, 18), 10 * 60 + 17, 0),
    (Kind.DEBT, date(2011, 8, 12), 14 * 60 + 50, NOBODY),
    (Kind.DEBT_WRITTEN_OFF, date(2011, 8, 12), 14 * 60 + 51, NOBODY),
    (Kind.DEBT_WRITTEN_OFF, date(2011, 8, 12), 14 * 60 + 52, NOBODY),
    (Kind.LATE_ORDER, date(2011, 12, 9), 9 * 60 + 15, 1),
    (Kind.LATE_CANCELLED, date(2011, 12, 9), 9 * 60 + 27, 1),
)


@dataclass(frozen=True)
class Invoices:
    """Parallel columns in time order. `minute` counts from midnight of the first trading day, over trading days
    only; `customer` is a place in `ids`, `volumes` (how much more a wholesaler takes) and `countries`, or NOBODY."""

    minute: Ints
    kind: Ints
    customer: Ints
    country: Ints
    lines: Ints
    ids: Ints
    volumes: Ints

    def __len__(self) -> int:
        return len(self.minute)


def plan(customers: int, rows: int, seed: int) -> Invoices:
    """Invoices of exactly `customers` customers, each with at least one order, and exactly `rows` lines."""
    rng = np.random.default_rng([seed, 0])
    spare = rows - customers
    odd = spare >= _ROWS_FOR_ODDITIES and customers > 1
    write_offs = int(spare * _WRITE_OFF_SHARE)
    guests = int(spare * _GUEST_SHARE) - write_offs
    cancelled = int(spare * _CANCELLED_SHARE)
    orders = rows - guests - cancelled - write_offs - (len(_ODDITIES) if odd else 0)

    buyers = _buyers(rng, customers, orders, first=1 if odd else 0)
    order_minute = _minutes(rng, len(buyers))
    guest_count = -(-guests // _LINES_A_GUEST)
    returned, return_minute = _returns(rng, order_minute, -(-cancelled * 2 // 5))
    returning = np.where(rng.random(len(returned)) < 0.04, NOBODY, buyers[returned])
    parts = [
        (Kind.ORDER, order_minute, buyers, _spread(rng, orders, len(buyers), 1.2)),
        (Kind.GUEST, _minutes(rng, guest_count), None, _spread(rng, guests, guest_count, 1.5)),
        (Kind.CANCELLED, return_minute, returning, _spread(rng, cancelled, len(returned), 1.0)),
        (Kind.WRITE_OFF, _minutes(rng, write_offs), None, np.ones(write_offs, dtype=np.int64)),
    ]
    if odd:
        days = trading_days()[0]
        for kind, day, minute, customer in _ODDITIES:
            parts.append((kind, np.array([days.index(day) * DAY + minute]), np.array([customer]), np.array([1])))
    return _in_time_order(rng, parts, customers)


def _in_time_order(
    rng: np.random.Generator, parts: list[tuple[Kind, Ints, Ints | None, Ints]], customers: int
) -> Invoices:
    minute = np.concatenate([m for _, m, _, _ in parts])
    order = np.argsort(minute, kind="stable")
    minute = minute[order]
    minute[0] = OPENING_MINUTE
    minute[-1] = (len(trading_days()[0]) - 1) * DAY + CLOSING_MINUTE
    kind = np.concatenate([np.full(len(m), k, dtype=np.int64) for k, m, _, _ in parts])[order]
    customer = np.concatenate([np.full(len(m), NOBODY) if c is None else c for _, m, c, _ in parts])[order]
    lines = np.concatenate([n for _, _, _, n in parts])[order]

    homes = _countries(rng, customers)
    guests_live = _countries(rng, len(minute))
    country = np.where(customer == NOBODY, guests_live, homes[customer])
    volumes = np.where(rng.random(customers) < _WHOLESALE_SHARE, rng.integers(5, 40, customers), 1)
    return Invoices(minute, kind, customer, country, lines, _ids(rng, customers), volumes)


def _buyers(rng: np.random.Generator, customers: int, orders: int, first: int) -> Ints:
    """The customer of each order: every one once (from `first` on), the others by a heavy tail, in random order."""
    count = min(orders, max(orders // _LINES_AN_ORDER, _ORDERS_A_CUSTOMER * customers, customers))
    weights = rng.lognormal(0.0, 1.3, customers)
    weights[:first] = 0.0
    cumulative = np.cumsum(weights)
    once = np.arange(first, customers)
    more = np.searchsorted(cumulative, rng.random(count - len(once)) * cumulative[-1], side="right")
    return np.asarray(rng.permutation(np.concatenate([once, more])))


def _minutes(rng: np.random.Generator, count: int) -> Ints:
    """Random minutes of trading: days by their weight, most invoices around one o'clock."""
    days, cumulative = trading_days()
    last = len(days) - 1
    day = np.minimum(np.searchsorted(cumulative, rng.random(count), side="right"), last)
    minute = 8 * 60 + rng.integers(0, 300, count) + rng.integers(0, 300, count) + rng.integers(0, 60, count)
    minute = np.where(day == 0, np.maximum(minute, OPENING_MINUTE), minute)
    minute = np.where(day == last, 8 * 60 + minute % (CLOSING_MINUTE - 8 * 60), minute)
    return np.asarray(day * DAY + minute)


def _returns(rng: np.random.Generator, order_minute: Ints, count: int) -> tuple[Ints, Ints]:
    """Places of orders that are sent back, and when: up to twenty trading days later, within the span."""
    place = rng.integers(0, len(order_minute), count)
    latest = (len(trading_days()[0]) - 1) * DAY + CLOSING_MINUTE
    return place, np.minimum(order_minute[place] + rng.integers(0, 20, count) * DAY, latest)


def _spread(rng: np.random.Generator, total: int, count: int, sigma: float) -> Ints:
    """`total` lines over `count` invoices, at least one each, log-normally uneven."""
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    cumulative = np.cumsum(rng.lognormal(0.0, sigma, count))
    ends = np.floor((total - count) * (cumulative / cumulative[-1])).astype(np.int64)
    ends[-1] = total - count
    return np.asarray(1 + np.diff(ends, prepend=0))


def _countries(rng: np.random.Generator, count: int) -> Ints:
    abroad = np.minimum(1 + (rng.random(count) ** 3 * (len(COUNTRIES) - 1)).astype(np.int64), len(COUNTRIES) - 1)
    return np.where(rng.random(count) < DOMESTIC_SHARE, 0, abroad)


def _ids(rng: np.random.Generator, customers: int) -> Ints:
    gaps = 1 + (rng.random(customers) < 0.36)
    gaps[0] = 0
    ids = FIRST_CUSTOMER + np.cumsum(gaps)
    place = int(np.searchsorted(ids, KNOWN_CUSTOMER))
    if place < customers:
        ids[place] = KNOWN_CUSTOMER
    return ids


def prefixes() -> tuple[str, ...]:
    """The letter before the number of an invoice, by kind."""
    letters = {Kind.CANCELLED: "C", Kind.BIG_CANCELLED: "C", Kind.LATE_CANCELLED: "C"}
    letters |= {Kind.DEBT: "A", Kind.DEBT_WRITTEN_OFF: "A"}
    return tuple(letters.get(kind, "") for kind in Kind)
