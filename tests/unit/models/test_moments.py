"""Exact sums of products, against fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.models import moments
from headrace.models.moments import LIMIT, STEP_BITS, centred, gram, products, rows_counted, scaled_products, sums

VALUES = st.one_of(st.floats(-40, 40), st.floats(-LIMIT + 1, LIMIT - 1), st.sampled_from([0.0, 32.0, -32.0, 31.999]))
ROWS = st.lists(st.tuples(VALUES, VALUES), max_size=20)


def exact(rows: np.ndarray) -> list[int]:
    steps = [[2**STEP_BITS, *(int(np.rint(value * 2.0**STEP_BITS)) for value in row)] for row in rows]
    return [sum(row[i] * row[j] for row in steps) for i in range(3) for j in range(i, 3)]


@settings(max_examples=200, deadline=None)
@given(ROWS)
def test_products_are_those_of_whole_steps(rows: list[tuple[float, float]]) -> None:
    values = np.array(rows).reshape(-1, 2)
    assert products(values) == exact(values)
    assert gram(values) == exact(values)[3:]
    assert [total * 2**STEP_BITS for total in sums(values)] == exact(values)[1:3]


def test_blocks_add_up_exactly_where_every_digit_is_used() -> None:
    values = np.random.default_rng(3).uniform(-32, 32, (10_001, 2))
    assert products(values) == exact(values)
    assert sums(values * 2**15) == [
        int(total) for total in np.rint(values * 2.0**45).astype(np.int64).astype(object).sum(axis=0)
    ]


def test_more_blocks_than_an_integer_holds_are_added_up_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "_HELD", 2)
    values = np.random.default_rng(4).uniform(-32, 32, (10_001, 2))
    values[5_000] = 1e6, -1e6
    assert products(values) == exact(values)
    assert gram(values) == exact(values)[3:]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(*[st.one_of(VALUES, st.floats())] * 2), max_size=20),
    st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
    st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)),
)
def test_scaled_in_steps_they_are_the_products_of_scaled_rows(
    rows: list[tuple[float, float]], mean: tuple[float, float], scale: tuple[float, float]
) -> None:
    given_rows = np.array(rows).reshape(-1, 2)
    with np.errstate(all="ignore"):
        scaled = (given_rows - np.array(mean)) / np.array(scale)
    counted = rows_counted(scaled)
    expected = products(scaled[counted]), len(rows) - int(counted.sum())
    assert scaled_products(given_rows, np.array(mean), np.array(scale)) == expected


@settings(max_examples=100, deadline=None)
@given(ROWS.filter(bool))
def test_centred_moments_are_those_of_the_fractions(rows: list[tuple[float, float]]) -> None:
    values = np.array(rows).reshape(-1, 2)
    n, means, covariance = centred(products(values), 2)
    steps = [[Fraction(int(np.rint(v * 2.0**STEP_BITS)), 2**STEP_BITS) for v in row] for row in values]
    mean = [sum(row[i] for row in steps) / n for i in range(2)]
    assert n == len(rows)
    assert means.tolist() == [float(m) for m in mean]
    spread = [[sum((r[i] - mean[i]) * (r[j] - mean[j]) for r in steps) / n for j in range(2)] for i in range(2)]
    assert covariance.tolist() == [[float(x) for x in row] for row in spread]


def test_no_samples_have_no_spread() -> None:
    n, means, covariance = centred(products(np.empty((0, 2))), 2)
    assert (n, means.tolist(), covariance.tolist()) == (0, [0.0, 0.0], [[0.0, 0.0], [0.0, 0.0]])


def test_values_that_cannot_be_counted() -> None:
    rows = np.array([[1.0, np.nan], [np.inf, 1.0], [LIMIT, 0.0], [-LIMIT, 0.0], [LIMIT - 1, 2.0]])
    assert rows_counted(rows).tolist() == [False, False, False, False, True]
