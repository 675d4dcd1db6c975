"""Weights that halve, as whole numbers: near the formula, exact in any order, and lost only when negligible."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import reduce
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.algebra import Aggregate, Clock, Count, Decay, Mean, Sum, Where
from headrace.algebra.halving import LONGEST_US, weight
from headrace.errors import DefinitionError, StateBoundError

TYPES = {"cost": "double", "clicked": "boolean"}
NOW = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
WEEK = timedelta(days=7)


def state(feature: Decay, *events: tuple[datetime | None, float]) -> Any:
    lifted = (feature.lift({"_event_ts": at, "cost": cost, "clicked": cost > 0}, TYPES) for at, cost in events)
    return reduce(feature.merge, lifted, feature.empty())


def value(feature: Decay, *events: tuple[datetime | None, float], reference: datetime = NOW) -> Any:
    states = pa.array([state(feature, *events)], feature.arrow_type(TYPES))
    (found,) = feature.finish(states, Clock(reference), TYPES).to_pylist()
    return found


@pytest.mark.parametrize(("half_lives", "weighs"), [(0, 1.0), (1, 0.5), (3, 0.125), (-1, 2.0), (40, 2.0**-40)])
def test_whole_half_lives_halve_exactly(half_lives: int, weighs: float) -> None:
    at = NOW - half_lives * WEEK
    assert value(Decay(Count(), WEEK), (at, 1.0)) == weighs
    assert value(Decay(Sum("cost", step="0.01"), WEEK), (at, 2.5)) == 2.5 * weighs
    assert value(Decay(Sum("cost", step="100"), WEEK), (at, 700.0)) == 700 * weighs


def test_the_unit_of_time_and_not_of_the_calendar_decides() -> None:
    assert value(Decay(Count(), timedelta(days=1)), (NOW - timedelta(hours=12), 1)) == pytest.approx(0.5**0.5, 2e-6)


@settings(deadline=None)
@given(st.integers(1, LONGEST_US), st.data())
def test_a_weight_is_that_power_of_two_of_its_phase(length: int, data: st.DataObject) -> None:
    phase = data.draw(st.integers(0, length - 1))
    found = weight(phase, length)
    assert 2**20 <= found <= 2**21
    assert found / 2**20 == pytest.approx(2.0 ** float(Fraction(phase, length)), rel=1.2e-6)


def test_what_adds_nothing_and_what_has_no_time_is_not_counted() -> None:
    feature = Decay(Sum("cost"), WEEK, span=1)
    assert state(feature, (None, 5.0), (NOW, 0.0), (NOW, float("nan"))) == []
    assert value(feature) == 0.0
    assert value(feature, (NOW - 2 * WEEK, 3.0), (NOW, 0.0)) == 0.75
    assert value(Decay(Where(Count(), "clicked"), WEEK), (NOW, 1.0), (NOW, -1.0)) == 1.0


def test_buckets_older_than_the_span_are_lost_whichever_comes_first() -> None:
    feature = Decay(Sum("cost", step="1"), WEEK, span=3)
    events = [(NOW - weeks * WEEK, 2.0**weeks) for weeks in range(6)]
    assert value(feature, *events) == value(feature, *reversed(events)) == 3.0


def test_a_latest_bucket_that_cancels_out_still_tells_what_is_lost() -> None:
    feature = Decay(Sum("cost", step="1"), WEEK, span=1)
    plus, minus, old = ((NOW, 4.0), (NOW, -4.0), (NOW - WEEK, 8.0))
    assert state(feature, plus, minus, old) == state(feature, old, plus, minus) != []
    assert value(feature, old, plus, minus) == 0.0


def test_events_far_beyond_the_reference_have_no_finite_value() -> None:
    far = datetime(9999, 1, 1, tzinfo=UTC)
    assert value(Decay(Count(), timedelta(hours=1)), (far, 1.0)) is None
    assert value(Decay(Count(), timedelta(hours=1)), (NOW, 1.0), reference=far) == 0.0


def test_a_sum_beyond_64_bits_is_refused_by_name() -> None:
    with pytest.raises(StateBoundError, match="the sum of column 'cost' leaves the exact range"):
        value(Decay(Sum("cost", step="1"), WEEK), (NOW, 2.0**43))


def test_what_cannot_decay_is_refused() -> None:
    inner: Aggregate
    for inner in (Mean("cost"), Where(Mean("cost"), "clicked"), Decay(Count(), WEEK)):
        with pytest.raises(DefinitionError, match=r"(Decay|Where) cannot hold this feature"):
            Decay(inner, WEEK)  # type: ignore[arg-type]
    for half_life in (timedelta(0), -WEEK, timedelta(days=110_000)):
        with pytest.raises(DefinitionError, match="the half-life of a Decay is not usable"):
            Decay(Count(), half_life)
    with pytest.raises(DefinitionError, match="the bound of Decay is not usable"):
        Decay(Count(), WEEK, span=0)
