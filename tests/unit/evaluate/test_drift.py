"""The population stability index against its definition, and what it does with nulls, texts and nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.evaluate.drift import drift, stability

COLUMN = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-5, 5)), min_size=1, max_size=60)


def test_the_index_is_that_of_the_shares() -> None:
    before, after = ["a"] * 80 + ["b"] * 20, ["a"] * 50 + ["b"] * 50
    expected = (0.5 - 0.8) * math.log(0.5 / 0.8) + (0.5 - 0.2) * math.log(0.5 / 0.2)
    assert stability(before, after) == pytest.approx(expected)


def test_a_shift_by_a_tenth_of_the_range_is_seen_and_one_beyond_it_is_much() -> None:
    before = [n / 1000 for n in range(1000)]
    assert stability(before, [value + 0.1 for value in before]) > 0.1
    assert stability(before, [value + 2 for value in before]) > 1
    assert stability(before, before[::2]) < 0.01


@given(COLUMN)
def test_equal_columns_have_not_moved(values: list[float | None]) -> None:
    assert stability(values, values[::-1]) == 0


@given(COLUMN, COLUMN)
def test_the_index_is_finite_and_not_negative(before: list[float | None], after: list[float | None]) -> None:
    index = stability(before, after)
    assert index is not None
    assert 0 <= index < 100


def test_lists_and_columns_of_one_side_are_left_out() -> None:
    assert drift([{"a": 1, "b": [1], "c": 2}], [{"a": 1, "b": [2]}]) == {"a": 0.0}
    assert drift([], [{"a": 1}]) == {}
    assert stability([], [1]) is None
