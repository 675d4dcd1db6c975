"""What learners of classes share: the exponential, shares, and what is no class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headrace.errors import InputError
from headrace.models.classes import exp, is_class, probabilities, require_every_class, told


@given(st.lists(st.floats(-760, 0), min_size=1, max_size=50))
def test_the_exponential_is_right_to_two_units_in_the_last_place(values: list[float]) -> None:
    np.testing.assert_array_max_ulp(exp(np.array(values)), np.exp(np.array(values)), maxulp=2)


def test_far_below_nothing_is_left() -> None:
    assert exp(np.array([-1e300, -np.inf, -746.0])).tolist() == [0.0, 0.0, 0.0]
    assert exp(np.array([-0.0, 0.0])).tolist() == [1.0, 1.0]


@given(arrays(np.float64, (4, 3), elements=st.floats(-1e6, 1e6)))
def test_probabilities_are_shares_whatever_the_scores(scores: np.ndarray) -> None:
    shares = probabilities(scores)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-15)
    assert ((shares >= 0) & (shares <= 1)).all()
    np.testing.assert_allclose(probabilities(scores - 7), shares, rtol=1e-9, atol=1e-300)


def test_of_equal_scores_the_first_class_is_told() -> None:
    assert told(np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0]]))["prediction"].tolist() == [0, 1]


def test_an_infinite_score_has_no_probability() -> None:
    assert np.isnan(probabilities(np.array([[0.0, np.inf]]))).all()


def test_what_is_a_class() -> None:
    values = np.array([0.0, -0.0, 1.0, 2.0, 0.5, -1.0, np.nan, np.inf])
    assert is_class(values, 2).tolist() == [True] * 3 + [False] * 5


def test_every_class_needs_a_sample() -> None:
    require_every_class("it", "x", [1, 2])
    with pytest.raises(InputError, match=r"it cannot learn 'x'; found no sample of class 1; samples by class \[4, 0\]"):
        require_every_class("it", "x", [4, 0])
