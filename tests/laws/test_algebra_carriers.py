"""Plain Python and Spark make the same states of the same events, bit for bit, and refuse the same."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from algebra_cases import DAY, TYPES, fold
from algebra_cases import FEATURES as ALL_FEATURES

from headrace.algebra import (
    Aggregate,
    Count,
    CountDistinct,
    Decay,
    Mean,
    Sessions,
    Sum,
    Where,
    Window,
    encode,
    explain_overflow,
    merge_states,
    states_by_entity,
)
from headrace.errors import StateBoundError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

# What differs in finishing alone is carried alike.
FEATURES = {name: one for name, one in ALL_FEATURES.items() if name not in {"sessions_events", "sessions_seconds"}}
Event = dict[str, Any]
ENTITIES = [17850, 1, 2, 3, -4, 50, None]
_ARROW = {
    "price": pa.float64(),
    "amount": pa.decimal128(10, 3),
    "quantity": pa.int32(),
    "serial": pa.int64(),
    "flag": pa.bool_(),
    "label": pa.string(),
    "day": pa.date32(),
    "seen": pa.timestamp("us", tz="UTC"),
    "_event_ts": pa.timestamp("us", tz="UTC"),
    "_incarnation": pa.string(),
    "_partition": pa.string(),
    "_position": pa.int64(),
}
_SCHEMA = pa.schema([("customer", pa.int64()), *_ARROW.items()])


def events_of(chance: random.Random, number: int) -> list[Event]:
    """Events whose values come from small pools of hard cases, so that they collide and tie."""
    moments = [
        datetime(2011, 3, 27, 0, 59, 59, 999_999, tzinfo=UTC),
        datetime(2011, 3, 27, 1, tzinfo=UTC),
        datetime(2011, 10, 30, 1, tzinfo=UTC),
        datetime(2011, 12, 9, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1582, 10, 10, 12, tzinfo=UTC),
        datetime(9999, 12, 30, tzinfo=UTC),
    ]
    moments += [datetime(2011, 12, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(20_000)) for _ in range(30)]
    doubles = [float("nan"), -0.0, 0.0, 0.0005, 0.0015, 2.675, -2.675, 0.125, 1e11, -1e-9, 150.0, 250.0, -50.0]
    doubles += [chance.uniform(-1e4, 1e4) for _ in range(40)] + [round(chance.uniform(0, 99), 2) for _ in range(40)]
    pools: dict[str, list[Any]] = {
        "price": doubles,
        "amount": [Decimal(text) for text in ("0.005", "0.015", "-0.005", "6.000", "-18.000", "9999999.999", "1.234")],
        "quantity": [5, 15, -5, -15, 25, 7, -(2**31), 2**31 - 1],
        "serial": [-(2**63), 2**63 - 1, 0, -1, 42],
        "flag": [True, False],
        "label": ["", " ", "a", "A", "é", "e\u0301", "\ufffd", "\U0001f600", "\x00", "C536379", "536365", '"\\`'],
        "day": [date(2011, 3, 27), date(1970, 1, 1), date(1, 1, 1), date(9999, 12, 31), date(1582, 10, 12)],
        "seen": moments,
        "_event_ts": moments,
    }
    return [
        {
            "customer": chance.choice(ENTITIES),
            **{name: None if chance.random() < 0.15 else chance.choice(pool) for name, pool in pools.items()},
            "_incarnation": chance.choice(["", "t1"]),
            "_partition": chance.choice(["0", "1", "10"]),
            "_position": chance.randrange(3),
        }
        for _ in range(number)
    ]


def frame(spark: SparkSession, events: list[Event]) -> DataFrame:
    found = spark.createDataFrame(pa.Table.from_pylist(events, _SCHEMA)).repartition(3)
    assert {name: kind for name, kind in found.dtypes if name != "customer"} == TYPES
    return found


def by_entity(events: list[Event]) -> dict[str, list[Event]]:
    groups: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event["customer"] is not None:
            groups[str(event["customer"])].append(event)
    return groups


def encoded(states: DataFrame) -> dict[str, bytes]:
    types = [("entity", pa.string()), *((name, feature.arrow_type(TYPES)) for name, feature in FEATURES.items())]
    table = states.toArrow()
    rows = table.to_pylist()
    assert table.cast(pa.schema(types), safe=True).to_pylist() == rows  # the declared types, but for "not null"
    found = {row.pop("entity"): row for row in rows}
    assert len(found) == table.num_rows
    return {entity: encode(row) for entity, row in found.items()}


def in_python(events: list[Event]) -> dict[str, bytes]:
    return {
        entity: encode({name: fold(feature, group) for name, feature in FEATURES.items()})
        for entity, group in by_entity(events).items()
    }


def test_spark_makes_the_states_that_plain_python_makes(spark: SparkSession) -> None:
    events = events_of(random.Random(20111209), 600)
    events.append({"customer": 99})  # an entity of one event of nulls
    events = [{name: event.get(name) for name in _SCHEMA.names} for event in events]
    assert encoded(states_by_entity(frame(spark, events), "customer", FEATURES)) == in_python(events)


def test_merging_pieces_in_spark_gives_the_states_of_the_whole(spark: SparkSession) -> None:
    chance = random.Random(7)
    events = events_of(chance, 400)
    pieces: list[list[Event]] = [[] for _ in range(4)]
    for event in events:
        chance.choice(pieces).append(event)
    rows = [
        {"entity": entity, **{name: fold(feature, group) for name, feature in FEATURES.items()}}
        for piece in pieces
        for entity, group in by_entity(piece).items()
    ]
    rows.append({"entity": "nothing", **{name: feature.empty() for name, feature in FEATURES.items()}})
    types = [("entity", pa.string()), *((name, feature.arrow_type(TYPES)) for name, feature in FEATURES.items())]
    partial = spark.createDataFrame(pa.Table.from_pylist(rows, pa.schema(types))).repartition(3)
    whole = in_python(events)
    whole["nothing"] = encode({name: feature.empty() for name, feature in FEATURES.items()})
    assert encoded(merge_states(partial, FEATURES, TYPES)) == whole


_TOP = 2**63 - 1
_REFUSED: dict[str, tuple[Aggregate, list[Event], str]] = {
    "a sum beyond 64 bits": (Sum("serial", step="1"), [{"serial": _TOP}, {"serial": _TOP}], "a sum|'serial'"),
    "a mean beyond 64 bits": (Mean("serial", step="1"), [{"serial": -_TOP}, {"serial": -_TOP}], "a sum|'serial'"),
    "an integer beyond 64 bits of steps": (Sum("serial", step="0.1"), [{"serial": _TOP}], "a sum|'serial'"),
    "a decimal beyond 64 bits of steps": (
        Sum("amount", step="0.0000000000001"),
        [{"amount": Decimal("9999999")}],
        "a sum|'amount'",
    ),
    "infinity": (Sum("price"), [{"price": float("inf")}], "'price'"),
    "minus infinity": (Mean("price"), [{"price": float("-inf")}], "'price'"),
    "a double of 2^63 steps": (Sum("price", step="1"), [{"price": 2.0**63}], "'price'"),
    "too many distinct values": (
        CountDistinct("label", bound=2),
        [{"label": text} for text in "abc"],
        "distinct values of column 'label'.*more than 2",
    ),
    "too many buckets": (
        Window(Count(), 7 * DAY, DAY, bound=2),
        [{"_event_ts": datetime(2011, 12, day, tzinfo=UTC)} for day in (1, 2, 3)],
        "buckets of column '_event_ts'.*more than 2",
    ),
    "too many buckets of sessions": (
        Sessions(timedelta(minutes=30), bound=2),
        [{"_event_ts": datetime(2011, 12, day, tzinfo=UTC)} for day in (1, 2, 3)],
        "buckets of column '_event_ts'.*more than 2",
    ),
    "a decayed sum beyond 64 bits": (
        Decay(Sum("serial", step="1"), DAY),
        [{"serial": 2**43, "_event_ts": datetime(2011, 12, 1, tzinfo=UTC)}],
        "a sum|'serial'",
    ),
    "too many distinct values where a column says so": (
        Where(CountDistinct("label", bound=2), "flag"),
        [{"label": text, "flag": True} for text in "abc"],
        "distinct values of column 'label'.*more than 2",
    ),
    "too many distinct values in a bucket": (
        Window(CountDistinct("label", bound=2), 7 * DAY, DAY),
        [{"label": text, "_event_ts": datetime(2011, 12, 1, tzinfo=UTC)} for text in "abc"],
        "distinct values of column 'label'.*more than 2",
    ),
}


@pytest.mark.parametrize("case", _REFUSED)
def test_both_carriers_refuse_what_an_exact_state_cannot_hold(spark: SparkSession, case: str) -> None:
    feature, sparse, named = _REFUSED[case]
    events = [{name: event.get(name) for name in _SCHEMA.names} | {"customer": 1} for event in sparse]
    with pytest.raises(StateBoundError, match=named):
        fold(feature, events)
    with pytest.raises(Exception) as failed:
        states_by_entity(frame(spark, events), "customer", {"feature": feature}).collect()
    explained = explain_overflow(failed.value)
    assert explained is not None, failed.value
    with pytest.raises(StateBoundError, match=named):
        raise explained


def test_states_at_their_bounds_are_kept(spark: SparkSession) -> None:
    """The other side of every refusal: one less is no refusal in either carrier."""
    bounded: dict[str, Aggregate] = {
        "distinct": CountDistinct("label", bound=3),
        "window": Window(CountDistinct("label", bound=3), 7 * DAY, DAY, bound=1),
        "sessions": Sessions(DAY, bound=1),
        "sum": Sum("serial", step="1"),
        "double": Sum("price", step="1"),
    }
    below = float(2**63 - 1024)
    sparse = [{"label": text, "_event_ts": datetime(2011, 12, 1, tzinfo=UTC)} for text in "abc"]
    sparse += [{"serial": _TOP}, {"serial": -1}, {"serial": -_TOP}, {"price": below}, {"price": -below}]
    events = [{name: event.get(name) for name in _SCHEMA.names} | {"customer": 1} for event in sparse]
    (row,) = states_by_entity(frame(spark, events), "customer", bounded).toArrow().to_pylist()
    del row["entity"]
    assert encode(row) == encode({name: fold(feature, events) for name, feature in bounded.items()})
