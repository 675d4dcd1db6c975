"""Counting where a column says so, dividing by what is counted, and when there is nothing to divide by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import pyarrow as pa
import pytest

from headrace.algebra import Aggregate, Clock, Count, DaysSince, Last, LastN, Max, Min, Ratio, Sum, Where, Window
from headrace.errors import DefinitionError

TYPES = {"clicked": "boolean", "action": "string", "code": "int", "cost": "double", "seen": "timestamp"}
REFERENCE = datetime(2026, 1, 2, tzinfo=UTC)
CLICKS = Where(Count(), "clicked")


def finished(feature: Aggregate, *events: dict[str, Any]) -> Any:
    blank = dict.fromkeys([*TYPES, "_event_ts"])
    state = reduce(feature.merge, (feature.lift({**blank, **event}, TYPES) for event in events), feature.empty())
    (value,) = feature.finish(pa.array([state], feature.arrow_type(TYPES)), Clock(REFERENCE), TYPES).to_pylist()
    return value


def test_only_events_whose_column_equals_the_value_count() -> None:
    events = [{"clicked": clicked, "action": action, "code": 1} for clicked in (True, False, None) for action in "ab"]
    assert finished(CLICKS, *events) == 2
    assert finished(Where(Count(), "clicked", equals=False), *events) == 2
    assert finished(Where(Count(), "action", equals="a"), *events) == 3
    assert finished(Where(Where(Count(), "action", "a"), "clicked"), *events) == 1
    assert finished(Where(Count(), "code", equals=1), *events) == 6
    assert finished(Where(DaysSince(Max("seen")), "clicked"), {"clicked": True, "seen": REFERENCE}) == 0
    assert Where(Sum("cost"), "clicked").columns == ("clicked", "cost")


@pytest.mark.parametrize(
    ("column", "equals"), [("code", True), ("clicked", 1), ("clicked", "true"), ("cost", 1), ("action", 1)]
)
def test_a_value_of_another_kind_than_the_column_is_refused(column: str, equals: Any) -> None:
    feature = Where(Count(), column, equals)
    with pytest.raises(DefinitionError, match=rf"Where\(equals={equals!r}\) cannot read column '{column}'"):
        feature.lift({column: None}, TYPES)


@pytest.mark.parametrize("equals", [None, 1.5, 2**63, ("a", "b")])
def test_a_value_no_column_holds_is_refused(equals: Any) -> None:
    with pytest.raises(DefinitionError, match=r"no column can be compared with the value of Where\('code'\)"):
        Where(Count(), "code", equals)


def test_a_rate_is_null_without_events_and_zero_without_clicks() -> None:
    rate = Ratio(CLICKS, Count())
    assert finished(rate) is None
    assert finished(rate, {"clicked": False}) == 0.0
    assert finished(rate, {"clicked": True}, {"clicked": False}, {"clicked": None}) == 1 / 3


def test_a_smoothed_rate_moves_from_the_prior_to_the_rate() -> None:
    rate = Ratio(CLICKS, Count(), prior=0.1, weight=10.0)
    assert finished(rate) == 0.1
    assert finished(rate, {"clicked": True}) == 2 / 11
    assert finished(rate, *[{"clicked": True}] * 990) == 991 / 1000


def test_a_ratio_without_a_finite_value_is_null() -> None:
    by_cost = Ratio(Count(), Sum("cost"))
    assert finished(by_cost, {"cost": 2.0}, {"cost": -2.0}) is None
    assert finished(by_cost, {"cost": -4.0}) == -0.25
    assert finished(Ratio(Max("cost"), Count()), {}) is None
    assert finished(Ratio(Max("cost"), Min("cost")), {"cost": 1e308}, {"cost": 1e-308}) is None
    assert finished(Ratio(Sum("cost"), Count(), prior=-1.0, weight=2.0), {"cost": 5.0}) == 1.0


def test_a_windowed_rate_is_a_window_of_ratios() -> None:
    rate = Window(Ratio(CLICKS, Count()), timedelta(days=1), timedelta(days=1))
    yesterday, before = REFERENCE - timedelta(hours=1), REFERENCE - timedelta(days=2)
    assert finished(rate, {"_event_ts": yesterday, "clicked": True}, {"_event_ts": before, "clicked": False}) == 1.0


def test_what_cannot_be_held_or_divided_is_refused() -> None:
    windowed: Any = Window(Count(), timedelta(days=1), timedelta(days=1))
    with pytest.raises(DefinitionError, match=r"Ratio cannot hold this feature; found Window.*put the feature"):
        Ratio(windowed, Count())
    with pytest.raises(DefinitionError, match="Ratio cannot hold this feature"):
        Ratio(Count(), LastN("cost", 3))  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="Where cannot hold this feature"):
        Where(windowed, "clicked")
    with pytest.raises(DefinitionError, match="the denominator of a Ratio is no number; found string"):
        finished(Ratio(Count(), Last("action")), {"action": "a"})


@pytest.mark.parametrize(
    ("prior", "weight"), [(0.1, 0.0), (0.1, -1.0), (float("nan"), 1.0), (0.1, float("inf")), ("0", 1.0), (True, 1.0)]
)
def test_smoothing_that_means_nothing_is_refused(prior: Any, weight: Any) -> None:
    with pytest.raises(DefinitionError, match="the smoothing of a Ratio is not usable"):
        Ratio(CLICKS, Count(), prior, weight)
