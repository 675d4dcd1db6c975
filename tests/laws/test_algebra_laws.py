"""The laws of every aggregate in plain Python, on generated events."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from algebra_cases import FEATURES, TYPES, concrete_aggregates, fold, oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.algebra import Clock, DaysSince, Folded, State, Window, decode, encode, from_description

_ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca"]
# Around changes of daylight saving time, the epoch, the skipped day of Apia, and the far ends.
_MOMENTS = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1893, 3, 31, 23, 6, 32, tzinfo=UTC),
    datetime(2011, 3, 27, 1, tzinfo=UTC),
    datetime(2011, 10, 30, 1, tzinfo=UTC),
    datetime(2011, 11, 6, 6, tzinfo=UTC),
    datetime(2011, 12, 9, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),
    datetime(2050, 3, 27, 1, tzinfo=UTC),
]


def _near(moment: datetime) -> st.SearchStrategy[datetime]:
    around = st.integers(-90_000_000_000, 90_000_000_000) | st.sampled_from([0, -1, 1, 3_600_000_000])
    return around.map(lambda us: moment + timedelta(microseconds=us))


moments = st.sampled_from(_MOMENTS).flatmap(_near) | st.datetimes(
    datetime(1800, 1, 1),  # noqa: DTZ001 (hypothesis takes naive bounds)
    datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
_LONG = 2**63


def _events(number: int = 6) -> st.SearchStrategy[list[dict[str, Any]]]:
    def column(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.none() | values

    event = st.fixed_dictionaries(
        {
            "price": column(
                st.sampled_from([float("nan"), -0.0, 0.0, 0.0005, 0.0015, 2.675])
                | st.floats(-1e12, 1e12, allow_nan=False)
            ),
            "amount": column(st.decimals(-9_999_999, 9_999_999, places=3, allow_nan=False)),
            "quantity": column(st.sampled_from([5, 15, -5, -15]) | st.integers(-(2**31), 2**31 - 1)),
            "serial": column(st.sampled_from([-_LONG, _LONG - 1]) | st.integers(-_LONG, _LONG - 1)),
            "flag": column(st.booleans()),
            "label": column(st.sampled_from(["", "a", "A", "é", "\ufffd", "\U0001f600"]) | st.text(max_size=3)),
            "day": column(st.dates(date(1800, 1, 1), date(2200, 1, 1))),
            "seen": column(moments),
            "_event_ts": column(moments),
            "_incarnation": st.sampled_from(["", "t1"]),
            "_partition": st.sampled_from(["0", "1", "10"]),
            "_position": st.integers(0, 3),
        }
    )
    return st.lists(event, max_size=number)


clocks = st.builds(Clock, moments, st.sampled_from(_ZONES))
# One example is tried on every feature: generating events is what costs.
tried = settings(max_examples=150, deadline=None)


def _bytes(state: State) -> bytes:
    return encode({"state": state})


def test_every_aggregate_is_tried_alone_and_inside_the_features_that_hold_others() -> None:
    tried_alone = {type(feature) for feature in FEATURES.values()}
    inner = {type(feature.inner) for feature in FEATURES.values() if isinstance(feature, Window)}
    days = {type(feature.inner) for feature in FEATURES.values() if isinstance(feature, DaysSince)}
    assert tried_alone == concrete_aggregates()
    assert inner == {feature for feature in concrete_aggregates() if issubclass(feature, Folded)}
    assert {one.__name__ for one in days} == {"Min", "Max", "Last"}


@tried
@given(events=_events())
def test_empty_is_the_identity(events: list[dict[str, Any]]) -> None:
    for name, feature in FEATURES.items():
        empty, state = feature.empty(), fold(feature, events)
        assert _bytes(feature.merge(empty, feature.empty())) == _bytes(empty), name
        assert _bytes(feature.merge(empty, state)) == _bytes(feature.merge(state, empty)) == _bytes(state), name


@tried
@given(a=_events(), b=_events(), c=_events())
def test_merge_is_associative_commutative_and_changes_no_operand(
    a: list[dict[str, Any]], b: list[dict[str, Any]], c: list[dict[str, Any]]
) -> None:
    for name, feature in FEATURES.items():
        operands = fold(feature, a), fold(feature, b), fold(feature, c)
        before = copy.deepcopy(operands)
        x, y, z = operands
        left = feature.merge(feature.merge(x, y), z)
        right = feature.merge(x, feature.merge(y, z))
        assert _bytes(left) == _bytes(right), name
        assert _bytes(feature.merge(x, y)) == _bytes(feature.merge(y, x)), name
        assert _bytes(list(before)) == _bytes(list(operands)), name


@tried
@given(events=_events(10), data=st.data())
def test_events_split_anywhere_in_any_order_are_the_whole(events: list[dict[str, Any]], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(events))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=3)))
    parts = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    order = data.draw(st.permutations(range(len(parts))))
    for name, feature in FEATURES.items():
        state = feature.empty()
        for at in order:
            state = feature.merge(fold(feature, parts[at]), state)
        assert _bytes(state) == _bytes(fold(feature, events)), name


@tried
@given(events=_events())
def test_states_come_back_from_bytes_and_from_arrow_bit_for_bit(events: list[dict[str, Any]]) -> None:
    states = {name: fold(feature, events) for name, feature in FEATURES.items()}
    encoded = encode(states)
    assert decode(encoded) == states
    assert encode(decode(encoded)) == encoded
    columns = {name: pa.array([states[name]], feature.arrow_type(TYPES)) for name, feature in FEATURES.items()}
    assert encode(pa.table(columns).to_pylist()[0]) == encoded


@pytest.mark.parametrize("name", FEATURES)
def test_a_described_feature_is_rebuilt_equal(name: str) -> None:
    feature = FEATURES[name]
    assert from_description(decode(encode(feature.describe()))) == feature


@tried
@given(entities=st.lists(_events(), min_size=1, max_size=4), clock=clocks)
def test_finished_values_are_those_of_the_naive_oracle(entities: list[list[dict[str, Any]]], clock: Clock) -> None:
    for name, feature in FEATURES.items():
        seen = _in_sight(entities, feature, clock)
        states = pa.array([fold(feature, events) for events in seen], feature.arrow_type(TYPES))
        finished = feature.finish(states, clock, TYPES)
        shape = finished.type.value_type if pa.types.is_list(finished.type) else finished.type
        assert shape in {pa.int64(), pa.float64(), pa.string(), pa.timestamp("us", tz="UTC")}, name
        expected = [oracle(feature, events, clock) for events in seen]
        assert expected == finished.to_pylist(), name
        behind = feature.finish(pa.concat_arrays([states, states]).slice(len(states)), clock, TYPES)
        assert behind.to_pylist() == finished.to_pylist(), name
        assert feature.finish(states.slice(0, 0), clock, TYPES).type == finished.type, name


def _in_sight(entities: list[list[dict[str, Any]]], feature: Any, clock: Clock) -> list[list[dict[str, Any]]]:
    """The events, the first of each entity inside the window: most references would see nothing."""
    if not isinstance(feature, Window):
        return entities
    moment = clock.reference - feature.slide
    return [[{**event, "_event_ts": moment} if at == 0 else event for at, event in enumerate(e)] for e in entities]


def test_the_oracle_rounds_decimals_half_to_even() -> None:
    events = [{"amount": Decimal("0.005")}, {"amount": Decimal("0.015")}, {"amount": None}]
    assert oracle(FEATURES["sum_amount"], events, Clock(_MOMENTS[0])) == 0.02
