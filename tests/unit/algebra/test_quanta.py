"""Steps of exact sums: which are usable, how numbers are rounded to them, how they become doubles again."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.algebra import Mean, Sum
from headrace.algebra.quanta import _first_beyond, quantum, ratios, steps_of
from headrace.errors import DefinitionError, StateBoundError


@pytest.mark.parametrize("step", ["0.3", "2.5", "0", "-1", "NaN", "Infinity", "", "one", "1e-17", "1e17", 0.001, None])
def test_a_step_that_has_no_whole_inverse_and_is_not_whole_is_refused(step: object) -> None:
    with pytest.raises(DefinitionError, match="the step of a sum is not usable"):
        Sum("price", step=step)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="the step of a sum is not usable"):
        Mean("price", step=step)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "spark_type", "step", "steps"),
    [
        (2.5, "double", "1", 2),
        (3.5, "double", "1", 4),
        (-0.0, "double", "0.001", 0),
        (0.0005, "double", "0.001", 0),
        (0.0015, "double", "0.001", 2),
        (150.0, "double", "100", 2),
        (Decimal("0.0025"), "decimal(6,4)", "0.001", 2),
        (Decimal("-0.0035"), "decimal(6,4)", "0.001", -4),
        (-18, "int", "12", -2),
        (-(2**63), "bigint", "1", -(2**63)),
        (None, "double", "1", None),
        (math.nan, "double", "1", None),
    ],
)
def test_halves_go_to_the_even_step(value: object, spark_type: str, step: str, steps: int | None) -> None:
    assert steps_of(value, spark_type, step, "price") == steps


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["1", "0.001", "0.25", "7", "100"]))
def test_the_guard_on_the_raw_double_is_the_guard_on_its_steps(value: float, step: str) -> None:
    beyond = abs(value) >= _first_beyond(quantum(step))
    try:
        steps_of(value, "double", step, "price")
    except StateBoundError:
        assert beyond
    else:
        assert not beyond


@pytest.mark.parametrize("step", ["1", "0.001", "0.25", "7", "100", "0.0000001"])
def test_the_guard_is_sharp(step: str) -> None:
    limit = _first_beyond(quantum(step))
    with pytest.raises(StateBoundError, match="'price'"):
        steps_of(limit, "double", step, "price")
    assert steps_of(math.nextafter(limit, 0), "double", step, "price") is not None


longs = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.none() | longs | st.integers(-(10**6), 10**6), max_size=5), st.sampled_from([1, 100, 2**40, 2**53]))
def test_ratios_are_rounded_once(numerators: list[int | None], factor: int) -> None:
    for divisor in (1, 1000, 3, 10**18):
        found = ratios(pa.array(numerators, pa.int64()), factor, divisor).to_pylist()
        assert found == [None if n is None else float(Fraction(n * factor, divisor)) for n in numerators]


@given(longs, st.integers(0, 2**62), st.sampled_from([1, 1000, 2**53]))
def test_ratios_with_counts_are_rounded_once(numerator: int, count: int, divisor: int) -> None:
    (found,) = ratios(pa.array([numerator]), 3, divisor, pa.array([count])).to_pylist()
    assert found == (float(Fraction(numerator * 3, divisor * count)) if count else None)
