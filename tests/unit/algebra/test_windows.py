"""Which events a window counts: the buckets that have ended by the reference, length / slide of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import reduce
from typing import Any

import pyarrow as pa
import pytest

from headrace.algebra import Clock, Count, CountDistinct, Sum, Window
from headrace.errors import DefinitionError, StateBoundError

TYPES = {"price": "double", "label": "string"}
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def at(moment: str, **values: Any) -> dict[str, Any]:
    return {"_event_ts": datetime.fromisoformat(moment + "+00:00"), **values}


def counted(window: Window, moments: list[str], reference: str) -> int:
    state = reduce(window.merge, (window.lift(at(moment), TYPES) for moment in moments), window.empty())
    clock = Clock(datetime.fromisoformat(reference + "+00:00"))
    (found,) = window.finish(pa.array([state], window.arrow_type(TYPES)), clock, TYPES).to_pylist()
    return int(found)


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2011-12-01T23:59:59.999999", False),
        ("2011-12-02T00:00:00", True),
        ("2011-12-08T23:59:59.999999", True),
        ("2011-12-09T00:00:00", False),
        ("2011-12-10T00:00:00", False),
    ],
)
@pytest.mark.parametrize("reference", ["2011-12-09T00:00:00", "2011-12-09T12:50:00", "2011-12-09T23:59:59.999999"])
def test_a_week_by_days_is_the_seven_days_that_ended_by_the_reference(
    moment: str, inside: bool, reference: str
) -> None:
    assert counted(Window(Count(), 7 * DAY, DAY), [moment], reference) == inside


def test_buckets_before_1970_are_cut_the_same_way() -> None:
    window = Window(Count(), 2 * HOUR, HOUR)
    moments = ["1969-12-31T21:59:59.999999", "1969-12-31T22:00:00", "1969-12-31T23:59:59.999999"]
    assert counted(window, moments, "1970-01-01T00:00:00") == 2
    assert window.lift(at(moments[2]), TYPES) == [{"bucket": -1, "state": 1}]


def test_nothing_is_evicted_so_a_reference_may_move_back() -> None:
    window = Window(Count(), DAY, DAY)
    moments = ["2011-12-01T05:00:00", "2011-12-08T05:00:00"]
    assert counted(window, moments, "2011-12-09T00:00:00") == 1
    assert counted(window, moments, "2011-12-02T00:00:00") == 1


def test_a_bucket_that_cancels_out_is_no_bucket() -> None:
    window = Window(Sum("price", step="1"), DAY, DAY)
    plus, minus = (window.lift(at("2011-12-01T00:00:00", price=price), TYPES) for price in (5.0, -5.0))
    assert window.merge(plus, minus) == window.empty() == []


def test_more_buckets_than_the_bound_are_refused_by_name() -> None:
    window = Window(CountDistinct("label"), DAY, DAY, bound=1)
    one, other = (window.lift(at(f"2011-12-0{day}T00:00:00", label="a"), TYPES) for day in (1, 2))
    assert window.merge(one, one) == [{"bucket": 15309, "state": ["a"]}]
    with pytest.raises(StateBoundError, match=r"event-time buckets of column '_event_ts'.*more than 1 for one entity"):
        window.merge(one, other)


@pytest.mark.parametrize(
    ("length", "slide"), [(DAY, timedelta(0)), (DAY, -DAY), (HOUR, DAY), (DAY, timedelta(hours=5)), (-DAY, -DAY)]
)
def test_a_length_that_is_no_whole_number_of_slides_is_refused(length: timedelta, slide: timedelta) -> None:
    with pytest.raises(DefinitionError, match="not a whole number of slides"):
        Window(Count(), length, slide)


def test_windows_do_not_nest_and_bounds_are_positive() -> None:
    with pytest.raises(DefinitionError, match="Window cannot hold this feature"):
        Window(Window(Count(), DAY, DAY), DAY, DAY)
    for bound in (0, -1, True, "10"):
        with pytest.raises(DefinitionError, match="the bound of Window is not usable"):
            Window(Count(), DAY, DAY, bound=bound)  # type: ignore[arg-type]
