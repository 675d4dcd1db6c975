"""What columns a feature reads, what its states look like, and how it refuses what it cannot mean."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from headrace.algebra import (
    Count,
    CountDistinct,
    Last,
    Max,
    Mean,
    Min,
    Sum,
    decode,
    encode,
    explain_overflow,
    from_description,
)
from headrace.algebra.spark import _plain
from headrace.errors import DefinitionError, StateBoundError


@pytest.mark.parametrize(
    ("value", "spark_type", "state"),
    [
        (datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "timestamp", 0),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "timestamp", -1),
        (date(1969, 12, 31), "date", -1),
        (Decimal("1.5"), "decimal(10,3)", 1500),
        (True, "boolean", 1),
        (-0.0, "double", 0.0),
        (float("inf"), "double", float("inf")),
        ("é", "string", "é"),
    ],
)
def test_a_value_has_one_state(value: Any, spark_type: str, state: Any) -> None:
    found = Max("x").lift({"x": value}, {"x": spark_type})
    assert encode({"x": found}) == encode({"x": state})


@pytest.mark.parametrize("value", [None, float("nan")])
def test_null_and_nan_lift_to_empty(value: Any) -> None:
    types = {"x": "double"}
    event = {"x": value, "_event_ts": datetime(2011, 12, 9, tzinfo=UTC)}
    for feature in (Sum("x"), Mean("x"), Min("x"), Max("x"), Last("x")):
        assert feature.lift(event, types) == feature.empty()


def test_last_goes_by_event_time_then_by_position_and_not_by_order_of_arrival() -> None:
    def event(moment: int, incarnation: str, partition: str, position: int, label: str) -> dict[str, Any]:
        when = datetime(2011, 12, 9, moment, tzinfo=UTC)
        names = ("_event_ts", "_incarnation", "_partition", "_position", "label")
        return dict(zip(names, (when, incarnation, partition, position, label), strict=True))

    last = Last("label")
    in_order = [
        event(1, "t", "9", 9, "z"),
        event(2, "", "9", 9, "y"),
        event(2, "t", "0", 9, "x"),
        event(2, "t", "1", 1, "w"),
        event(2, "t", "1", 2, "a"),
        event(2, "t", "1", 2, "b"),
    ]
    states = [last.lift(one, {"label": "string"}) for one in in_order]
    for earlier, later in pairwise(states):
        assert last.merge(earlier, later) == last.merge(later, earlier) == later


@pytest.mark.parametrize("spark_type", ["double", "decimal(10,2)"])
def test_distinct_values_without_one_canonical_text_are_refused(spark_type: str) -> None:
    with pytest.raises(DefinitionError, match=r"CountDistinct cannot read column .x.; found .*in prepare"):
        CountDistinct("x").lift({"x": None}, {"x": spark_type})


def test_distinct_values_up_to_the_bound_are_kept_and_one_more_is_refused_by_name() -> None:
    feature = CountDistinct("invoice", bound=2)
    assert feature.merge(["a"], ["a", "b"]) == ["a", "b"]
    with pytest.raises(StateBoundError, match=r"distinct values of column 'invoice'.*more than 2 for one entity"):
        feature.merge(["a"], ["b", "c"])


def test_text_is_ordered_by_code_point_as_its_utf8_bytes_are() -> None:
    tokens = ["\U0001f600", "\ufffd", "é", "z", "A", ""]
    merged = CountDistinct("label").merge(sorted(tokens[:3]), sorted(tokens[3:]))
    assert merged == sorted(tokens, key=lambda token: token.encode())


def test_columns_and_types_that_cannot_be_read_are_named_with_the_nearest() -> None:
    with pytest.raises(DefinitionError, match=r"column 'pric'.*nearest 'price'"):
        Sum("pric").lift({"price": 1.0}, {"price": "double"})
    with pytest.raises(DefinitionError, match="Sum cannot read column 'price'; found string"):
        Sum("price").lift({"price": "1"}, {"price": "string"})
    with pytest.raises(DefinitionError, match="cannot read this type; found map<string,int>"):
        Max("x").lift({"x": {}}, {"x": "map<string,int>"})
    with pytest.raises(DefinitionError, match=r"scaled integer.*found decimal\(38,3\)"):
        Max("x").lift({"x": Decimal(1)}, {"x": "decimal(38,3)"})


def test_a_feature_without_a_spark_carrier_is_refused_by_name() -> None:
    with pytest.raises(DefinitionError, match="feature 'odd' has no Spark carrier; found NoneType"):
        _plain({"fine": Count(), "odd": None})  # type: ignore[dict-item]


def test_an_overflowing_sum_is_refused_by_name() -> None:
    with pytest.raises(StateBoundError, match="the sum of column 'price' leaves the exact range"):
        Sum("price").merge(2**63 - 1, 1)
    with pytest.raises(StateBoundError, match="the sum of column 'price' leaves the exact range"):
        Sum("price").lift({"price": float("inf")}, {"price": "double"})


def test_a_failure_that_is_no_overflow_is_not_explained() -> None:
    assert explain_overflow(ValueError("[DIVIDE_BY_ZERO] Division by zero.")) is None


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"kind": "summ", "column": "x"}, "no known kind; found 'summ'.*nearest 'sum'"),
        ({}, "no known kind; found 'None'"),
        ({"kind": "count", "column": "x"}, r"kind 'count' has other fields; found \['column'\]"),
        ({"kind": "max"}, r"kind 'max' has other fields; found \[\]"),
    ],
)
def test_descriptions_nobody_wrote_are_refused(description: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        from_description(description)


def test_bytes_are_canonical() -> None:
    one, other = {"b": 0.1, "a": {"sum": 1, "count": 2}}, {"a": {"count": 2, "sum": 1}, "b": 0.1}
    assert encode(one) == encode(other) == b'{"a":{"count":2,"sum":1},"b":0.1}'
    assert isinstance(decode(b'{"x":1.0}')["x"], float)
    assert encode(decode(b'{"x":1.0}')) == b'{"x":1.0}'
    assert json.loads(encode({"x": "\u2028é"})) == {"x": "\u2028é"}


def test_the_room_is_imported_without_spark_or_pandas() -> None:
    code = "import sys, headrace.algebra; print(sorted({'pyspark', 'pandas'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_a_count_reads_no_column() -> None:
    assert Count().columns == ()
    assert Count().lift({}, {}) == 1
