"""From states to what is served, and its canonical JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.algebra import Aggregate, Count, Last, Sum
from headrace.definitions import (
    READER,
    Field,
    Schema,
    Stream,
    finish,
    fixed,
    load_definition,
    outputs_json,
)
from headrace.errors import DefinitionError, InputError
from headrace.models.kmeans import KMeans
from headrace.transforms.derivation import Derivation, no_parameters

REFERENCE = "2011-12-09T00:00:00+00:00"
TYPES = {"invoice_date": "timestamp", "invoice": "string", "total_price": "double"}
LEARNED = {
    "features": ["recency", "frequency", "monetary"],
    "min": [0.0, 1.0, 0.0],
    "max": [100.0, 3.0, 1000.0],
    "centers": [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]],
    "labels": [3, 1],
}
DERIVED = {
    "recency": [10.0, 20.0, 30.0, 40.0],
    "frequency": [[1, "a"], [1, "b"], [2, "a"], [3, "a"]],
    "monetary": [10.0, 20.0, 30.0, 40.0],
}
THETA = {"reference": REFERENCE, "zone": "UTC", "types": TYPES, "learner": LEARNED, "derive": DERIVED}
SEGMENTS = load_definition("segments")


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


EVENTS = {
    "b": [("i1", day("2011-12-08T23:59"), 700.125), ("i2", day("2011-11-01T10:00"), 300.0)],
    "a": [("i3", day("2011-09-01T00:00"), -5.5)],
    "c": [("i4", day("2011-12-07T00:00"), 25.75)] * 2,
}


def states(features: dict[str, Aggregate], types: dict[str, str] = TYPES) -> pa.Table:
    """The states of EVENTS in plain Python, one row an entity, in the order of EVENTS."""
    columns: dict[str, list[Any]] = {name: [] for name in features}
    for lines in EVENTS.values():
        for name, feature in features.items():
            state = feature.empty()
            for invoice, at, price in lines:
                event = {"invoice": invoice, "invoice_date": at, "total_price": price, "customer_id": None}
                event |= {"_event_ts": at, "_incarnation": "", "_partition": "f", "_position": 0}
                state = feature.merge(state, feature.lift(event, types))
            columns[name].append(state)
    arrays = {name: pa.array(columns[name], feature.arrow_type(types)) for name, feature in features.items()}
    return pa.table({"entity": pa.array(list(EVENTS), pa.string()), **arrays})


def test_features_then_learner_then_derived_in_declared_order() -> None:
    done = finish(SEGMENTS, THETA, states(dict(SEGMENTS.features)))
    assert done.schema.names == [
        *["entity", "recency", "frequency", "monetary", "cluster"],
        *["segment", "r_score", "f_score", "m_score", "rfm_score"],
    ]
    assert [tuple(row.values()) for row in done.to_pylist()] == [
        ("b", 1, 2, 1000.125, 3, "Champions", 5, 4, 5, "545"),
        ("a", 99, 1, -5.5, 1, "Hibernating", 1, 1, 1, "111"),
        ("c", 2, 1, 51.5, 1, "Potential Loyalists", 5, 3, 5, "535"),
    ]
    assert [str(done.schema.field(name).type) for name in ("frequency", "monetary", "cluster", "r_score")] == [
        *["int64", "double", "int32", "int32"]
    ]


def test_a_row_is_finished_alike_alone_in_chunks_and_not_at_all() -> None:
    table = states(dict(SEGMENTS.features))
    whole = finish(SEGMENTS, THETA, table)
    alone = [finish(SEGMENTS, THETA, table.slice(n, 1)) for n in range(3)]
    assert pa.concat_tables(alone).equals(whole)
    assert finish(SEGMENTS, THETA, pa.concat_tables([table.slice(2), table.slice(0, 2)])).to_pylist() == [
        whole.to_pylist()[n] for n in (2, 0, 1)
    ]
    none = finish(SEGMENTS, THETA, table.slice(0, 0))
    assert (none.num_rows, none.schema) == (0, whole.schema)


def test_a_definition_may_have_features_alone() -> None:
    plain = replace(SEGMENTS, learner=None, derive=None)
    done = finish(plain, {**THETA, "learner": None, "derive": None}, states(dict(SEGMENTS.features)))
    assert done.schema.names == ["entity", "recency", "frequency", "monetary"]


def test_days_are_those_of_the_zone_of_theta() -> None:
    table = states(dict(SEGMENTS.features))
    theta = {**THETA, "zone": "Asia/Tokyo"}
    # 2011-12-08 23:59 UTC is already the 9th in Tokyo.
    assert finish(SEGMENTS, theta, table)["recency"].to_pylist() == [0, 99, 2]


def test_only_features_shown_follow_the_readers_now() -> None:
    now = datetime(2011, 12, 19, 1, tzinfo=timezone(timedelta(hours=2)))
    table = states(dict(SEGMENTS.features))
    at_reference = finish(SEGMENTS, THETA, table)
    assert finish(SEGMENTS, THETA, table, now=now).equals(at_reference)
    shown = finish(replace(SEGMENTS, clock=READER), THETA, table, now=now)
    assert shown["recency"].to_pylist() == [10, 108, 11]
    assert shown.drop_columns(["recency"]).equals(at_reference.drop_columns(["recency"]))


def test_a_learner_reads_numbers_only() -> None:
    features: dict[str, Aggregate] = {"latest": Last("invoice"), "spent": Sum("total_price")}
    text = replace(SEGMENTS, features=features, derive=None, learner=KMeans(2))
    with pytest.raises(DefinitionError, match="feature 'latest' cannot be an input of a learner"):
        finish(text, THETA, states(features))


def test_an_entity_without_a_value_is_refused_by_name() -> None:
    table = states(dict(SEGMENTS.features))
    empty = pa.array([None, 1, 1], SEGMENTS.features["recency"].arrow_type(TYPES))
    with pytest.raises(InputError, match="'recency'"):
        finish(SEGMENTS, THETA, table.set_column(1, "recency", empty))


@pytest.mark.parametrize(
    "made", [{}, {"b": np.zeros(3), "a": np.zeros(3)}, {"a": np.zeros(3), "b": np.zeros(2)}, {"a": np.zeros(3)}]
)
def test_a_derivation_must_return_what_it_declares(made: dict[str, Any]) -> None:
    wrong = Derivation(no_parameters, lambda columns, parameters: made, ("a", "b"))
    with pytest.raises(DefinitionError, match="the derive step did not return what it declares"):
        finish(replace(SEGMENTS, learner=None, derive=wrong), THETA, states(dict(SEGMENTS.features)))


class TestDefinition:
    def test_a_learner_input_must_be_a_feature(self) -> None:
        with pytest.raises(DefinitionError, match="found 'moneyary'"):
            replace(SEGMENTS, learner=KMeans(3, features=("recency", "moneyary")))

    @pytest.mark.parametrize("name", ["cluster", "segment"])
    def test_finished_names_are_distinct(self, name: str) -> None:
        with pytest.raises(DefinitionError, match=rf"two columns of one name; found \['{name}'\]"):
            replace(SEGMENTS, features={**SEGMENTS.features, name: Count()})

    def test_clocks(self) -> None:
        event = datetime(2020, 1, 1, tzinfo=UTC)
        assert fixed("2011-12-09").reference(event) == datetime(2011, 12, 9, tzinfo=UTC)
        assert fixed("2011-12-09T00:00+02:00").reference(event) == datetime(2011, 12, 8, 22, tzinfo=UTC)
        assert READER.reference(event) == event

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"name": "Segments"}, "the definition name is not usable; found 'Segments'"),
            ({"features": {}}, "has no features"),
            ({"entity": "custome_id"}, "nearest 'customer_id'"),
            ({"event_time": "price"}, "event_time of definition 'segments' is not a timestamp"),
            ({"zone": "Mars/Olympus"}, "unknown time zone; found 'Mars/Olympus'"),
            ({"features": {"drop_reason": Count()}}, "reserved column names; found ['drop_reason']"),
            ({"source": Stream("s", Schema([Field("x", "int")]))}, "entity of definition 'segments' is not a column"),
        ],
    )
    def test_what_cannot_mean_anything_is_refused(self, change: dict[str, Any], says: str) -> None:
        with pytest.raises(DefinitionError) as refusal:
            replace(SEGMENTS, **change)
        assert says in str(refusal.value)


class TestOutputsJson:
    def test_keys_keep_their_order_and_nothing_is_lost(self) -> None:
        text = outputs_json(
            {"z": np.int64(2**53 + 1), "a": np.float64(0.1), "text": 'é"\n', "none": None},
            {"yes": np.bool_(True), "when": datetime(2020, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))},
        )
        assert text == (
            '{"features":{"z":9007199254740993,"a":0.1,"text":"é\\"\\n","none":null},'
            '"prediction":{"yes":true,"when":"2020-01-01T00:00:00Z"}}'
        )
        assert json.loads(text)["features"]["text"] == 'é"\n'

    def test_a_list_is_that_of_its_values(self) -> None:
        shown = {"latest": ["b", None, 0.5, day("2020-01-01")], "none": []}
        text = '{"features":{"latest":["b",null,0.5,"2020-01-01T00:00:00Z"],"none":[]},"prediction":{}}'
        assert outputs_json(shown, {}) == text

    def test_fractions_of_a_second_stay(self) -> None:
        moment = datetime(2020, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)
        assert "2020-01-01T00:00:00.250000Z" in outputs_json({"at": moment}, {})

    @pytest.mark.parametrize(
        "value", [float("nan"), float("-inf"), np.float64("inf"), [b"x"], [1.0, float("nan")], day, b"x"]
    )
    def test_what_has_no_json_is_refused_by_name(self, value: Any) -> None:
        with pytest.raises(InputError, match="output 'odd' cannot be served"):
            outputs_json({}, {"odd": value})

    def test_a_time_without_a_zone_is_refused(self) -> None:
        with pytest.raises(InputError, match="without a time zone"):
            outputs_json({"at": day("2020-01-01").replace(tzinfo=None)}, {})
