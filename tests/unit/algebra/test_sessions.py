"""Where a session ends, what the latest one holds, and how a late event joins two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import permutations
from typing import Any

import pyarrow as pa
import pytest

from headrace.algebra import Clock, Sessions
from headrace.errors import DefinitionError, StateBoundError

START = datetime(2026, 1, 1, 9, tzinfo=UTC)
GAP = timedelta(minutes=30)


def told(tell: Any, *groups: list[float]) -> list[Any]:
    """What is told of entities whose events are at these minutes."""
    feature = Sessions(GAP, tell)
    states = [
        reduce(feature.merge, (feature.lift({"_event_ts": at(minute)}, {}) for minute in minutes), feature.empty())
        for minutes in groups
    ]
    found: list[Any] = feature.finish(pa.array(states, feature.arrow_type({})), Clock(START), {}).to_pylist()
    return found


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def test_a_silence_longer_than_the_gap_begins_another_session() -> None:
    groups: list[list[float]] = [[], [0], [0, 30], [0, 30.001], [0, 29, 58, 120], [5, 5, 5], [0, 31, 62, 93]]
    assert told("number", *groups) == [0, 1, 1, 2, 2, 1, 4]
    assert told("last_events", *groups) == [0, 1, 2, 1, 1, 3, 1]
    assert told("last_seconds", *groups) == [None, 0.0, 1800.0, 0.0, 0.0, 0.0, 0.0]
    assert told("last_seconds", [100, 0, 110.5]) == [630.0]


def test_a_late_event_joins_two_sessions_whatever_the_order() -> None:
    for minutes in permutations([0.0, 20.0, 45.0, 65.0]):
        assert told("number", list(minutes)) == [1]
        assert told("last_events", list(minutes)) == [4]
        assert told("last_seconds", list(minutes)) == [65 * 60.0]
    assert told("number", [0, 20, 65]) == [2]


def test_the_last_session_is_that_of_each_entity() -> None:
    assert told("last_events", [0, 1, 2], [], [500, 501], [0, 90, 91]) == [3, 0, 2, 2]
    assert told("last_events", [], []) == [0, 0]
    assert told("last_seconds") == told("number") == []


def test_sessions_before_1970_are_cut_the_same_way() -> None:
    minutes = (datetime(1969, 12, 31, 23, 50, tzinfo=UTC) - START) / timedelta(minutes=1)
    assert told("number", [minutes, minutes + 20]) == [1]


def test_more_buckets_than_the_bound_are_refused_by_name() -> None:
    feature = Sessions(GAP, bound=2)
    one, two, three = (feature.lift({"_event_ts": at(minute)}, {}) for minute in (0, 60, 120))
    with pytest.raises(StateBoundError, match=r"buckets of column '_event_ts'.*more than 2 for one entity"):
        feature.merge(feature.merge(one, two), three)


def test_what_means_nothing_is_refused() -> None:
    with pytest.raises(DefinitionError, match="the gap of Sessions is not usable"):
        Sessions(timedelta(0))
    with pytest.raises(DefinitionError, match="Sessions cannot tell this; found 'longest'"):
        Sessions(GAP, "longest")  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="the bound of Sessions is not usable"):
        Sessions(GAP, bound=0)
