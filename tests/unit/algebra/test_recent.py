"""The latest values: of the latest events, by position where times tie, and never more than asked for."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import pyarrow as pa
import pytest

from headrace.algebra import Clock, LastN
from headrace.errors import DefinitionError

TYPES = {"label": "string", "seen": "timestamp"}
START = datetime(2026, 1, 1, tzinfo=UTC)


def event(minute: int | None, position: int, label: str | None, incarnation: str = "") -> dict[str, Any]:
    moment = None if minute is None else START + timedelta(minutes=minute)
    place = {"_incarnation": incarnation, "_partition": "0", "_position": position}
    return {"_event_ts": moment, **place, "label": label, "seen": moment}


def latest(feature: LastN, *events: dict[str, Any]) -> Any:
    state = reduce(feature.merge, (feature.lift(one, TYPES) for one in events), feature.empty())
    states = pa.array([feature.empty(), state], feature.arrow_type(TYPES))
    return feature.finish(states, Clock(START), TYPES).to_pylist()


def test_the_latest_come_first_whatever_the_order_of_arrival() -> None:
    events = [
        event(5, 0, "e"),
        event(7, 1, "g"),
        event(7, 2, "h"),
        event(7, 0, "i", "t1"),
        event(9, 9, None),
        event(None, 10, "never"),
        event(2, 11, "late"),
    ]
    for seed in range(5):
        random.Random(seed).shuffle(events)
        assert latest(LastN("label", 3), *events) == [[], ["i", "h", "g"]]
        assert latest(LastN("label", 9), *events) == [[], ["i", "h", "g", "e", "late"]]
        assert latest(LastN("label", 1), *events) == [[], ["i"]]


def test_equal_values_of_different_events_are_all_kept() -> None:
    assert latest(LastN("label", 3), event(1, 1, "a"), event(1, 2, "a"), event(0, 0, "b")) == [[], ["a", "a", "b"]]


def test_values_are_shown_as_last_shows_them() -> None:
    assert latest(LastN("seen", 2), event(1, 1, "a")) == [[], [START + timedelta(minutes=1)]]


@pytest.mark.parametrize("n", [0, -1, True, 2.5])
def test_a_number_that_is_no_positive_integer_is_refused(n: Any) -> None:
    with pytest.raises(DefinitionError, match="the bound of LastN is not usable"):
        LastN("label", n)
