"""Records scored by live parameters, and what is counted in them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from published import FITTED, LEARNER, NOW, learned, promote, publish, version

from headrace.errors import InputError
from headrace.models.each import score_each
from headrace.models.encoded import Encoded
from headrace.models.encoding import Number, OneHot
from headrace.models.kmeans import KMeans
from headrace.models.naive_bayes import NaiveBayes
from headrace.schemas import Vector
from headrace.serving.lookup import Lookups, NoLearner, UnknownDefinition
from headrace.stores.memory import MemoryStore
from headrace.stores.port import ModelItem

CUT = Vector({("", "file"): 100})
COUNTED = Vector({("", "file"): 100, ("t", "0"): 5})
BEYOND = Vector({("", "file"): 100, ("t", "0"): 8})
RECORD = {"temperature": 20, "wind": 3.0}
SINCE = np.array([[30.0, 5.0, 400.0], [0.0, 6.0, 10.0]])


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    publish(made, "rides", 1, {"a": version(1, 1)}, **learned())
    promote(made, "rides", 1)
    return made


def lookups(store: MemoryStore) -> Lookups:
    return Lookups(store, 0, lambda: NOW)


def counted_to(store: MemoryStore, vector: Vector) -> None:
    taken = store.take_over("rides", 1, "driver", CUT, NOW - timedelta(hours=1))
    store.advance(type(taken)("rides", 1, vector, taken.epoch, "driver", NOW - timedelta(seconds=2)))


def item(vector: Vector, samples: np.ndarray = SINCE, writes: int = 1) -> ModelItem:
    return ModelItem(json.dumps(LEARNER.contribution(FITTED, samples)), vector, writes)


def test_a_feature_pipeline_fills_in_and_sets_aside(store: MemoryStore) -> None:
    pipeline = Encoded((Number("temperature", "mean"), OneHot("hour")), unseen="quarantine")
    parameters = {
        "features": ["temperature", "hour"],
        "encodings": [
            {"how": "number", "names": ["temperature"], "fill": 20.0, "inputs": ["temperature__number"]},
            {
                "how": "one_hot",
                "names": ["hour"],
                "known": [[7.0], [8.0]],
                "categories": [[8.0]],
                "inputs": ["hour__8"],
            },
        ],
        "model": {**FITTED, "features": ["temperature__number", "hour__8"]},
    }
    told = learned()
    theta = {**told["theta"], "learner": parameters, "ranges": {}}
    publish(
        store,
        "piped",
        1,
        {"a": version(1, 1)},
        theta=theta,
        description={**told["description"], "learner": pipeline.describe()},
    )
    promote(store, "piped", 1)
    scorer = lookups(store).scorer("piped", live=False)
    records = [{"temperature": None, "hour": 8}, {"temperature": 20, "hour": 8}, {"temperature": 1.5, "hour": 9}]
    done = scorer.predict(records, now=NOW)
    assert done.predictions[0] == done.predictions[1] is not None
    assert list(done.quarantined) == [2]
    rows = np.array([[np.nan, 8.0], [20.0, 8.0]])
    batch, _ = score_each(pipeline, parameters, rows, ("temperature", "hour"))
    assert [one["prediction"] for one in done.predictions if one] == batch["prediction"].tolist()
    with pytest.raises(InputError, match="record 0 lacks a number in 'hour'"):
        scorer.predict([{"temperature": 1, "hour": None}], now=NOW)


def test_texts_are_texts_and_numbers_numbers(store: MemoryStore) -> None:
    pipeline = Encoded((Number("temperature", "mean"), OneHot("weekday")), unseen="quarantine")
    parameters = {
        "features": ["temperature", "weekday"],
        "texts": {"weekday": ["FR", "MO"]},
        "encodings": [
            {"how": "number", "names": ["temperature"], "fill": 20.0, "inputs": ["temperature__number"]},
            {
                "how": "one_hot",
                "names": ["weekday"],
                "known": [[0.0], [1.0]],
                "categories": [[1.0]],
                "inputs": ["weekday__MO"],
            },
        ],
        "model": {**FITTED, "features": ["temperature__number", "weekday__MO"]},
    }
    told = learned()
    theta = {**told["theta"], "learner": parameters, "ranges": {"temperature": [0.0, 20.0]}}
    description = {**told["description"], "learner": pipeline.describe()}
    publish(store, "worded", 1, {"a": version(1, 1)}, theta=theta, description=description)
    promote(store, "worded", 1)
    scorer = lookups(store).scorer("worded", live=False)
    asked = [{"temperature": 1, "weekday": "MO"}, {"temperature": None, "weekday": "FR"}, {"weekday": "XX"}]
    done = scorer.predict([*asked, {"temperature": 30, "weekday": "MO"}], now=NOW)
    rows = np.array([[1.0, "MO"], [np.nan, "FR"], [30.0, "MO"]], dtype=object)
    batch, _ = score_each(pipeline, parameters, rows, ("temperature", "weekday"))
    assert [one["prediction"] for one in done.predictions if one] == batch["prediction"].tolist()
    assert done.quarantined == {2: "weekday is no category of training; found 'XX'"}
    assert [(one.record, one.field, one.found) for one in done.outside] == [(3, "temperature", 30.0)]
    assert scorer.predict([], now=NOW).predictions == []
    for wrong, says in (
        ({"weekday": 3}, "record 0 lacks a text in 'weekday'; found 3; expected a text, as in training"),
        ({"weekday": None}, "record 0 lacks a text in 'weekday'; found None"),
        ({"temperature": "20"}, "record 0 lacks a number in 'temperature'; found '20'; expected a finite number"),
        ({"weekdya": "MO"}, "does not read; found 'weekdya'.*nearest 'weekday'"),
    ):
        with pytest.raises(InputError, match=says):
            scorer.predict([{**asked[0], **wrong}], now=NOW)
    lone = scorer.predict([{"temperature": 1, "weekday": "\ud800"}], now=NOW)
    assert json.dumps(lone.to_json(), ensure_ascii=False).encode(), "half a character is told as what it is"


def test_fitted_parameters_count_up_to_the_cut(store: MemoryStore) -> None:
    store.write_model("rides", 1, item(BEYOND))
    counted_to(store, COUNTED)
    done = lookups(store).scorer("rides", live=False).predict([RECORD, {"wind": 5, "temperature": 10.0}], now=NOW)
    assert done.to_json() == {
        "definition": "rides",
        "predictions": [{"prediction": 175.0}, {"prediction": 100.0}],
        "quarantined": [],
        "generation": 1,
        "vector": COUNTED.to_json(),
        "parameters_vector": CUT.to_json(),
        "as_of": "2026-03-01T11:59:58Z",
        "age_s": 2.0,
        "stale": False,
        "outside": [],
        "missing": [],
    }


def test_live_parameters_carry_what_is_counted_in_them(store: MemoryStore) -> None:
    counted_to(store, COUNTED)
    without = lookups(store).scorer("rides")
    assert (without.parameters, without.vector) == (FITTED, COUNTED), "below the progress there were no samples"
    store.write_model("rides", 1, item(BEYOND))
    live = lookups(store).scorer("rides")
    assert live.vector == BEYOND
    assert live.parameters == LEARNER.live(FITTED, LEARNER.contribution(FITTED, SINCE))
    done = live.predict([RECORD], now=NOW)
    assert (done.vector, done.parameters_vector) == (COUNTED, BEYOND)
    assert done.predictions[0]["prediction"] == pytest.approx(
        float(LEARNER.score(live.parameters, np.array([[20.0, 3.0]]))["prediction"][0])
    )
    assert done.predictions != lookups(store).scorer("rides", live=False).predict([RECORD], now=NOW).predictions


def test_parameters_are_solved_once_for_each_item(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    solved: list[Any] = []
    origin = type(LEARNER).live
    monkeypatch.setattr(type(LEARNER), "live", lambda self, *a: solved.append(a) or origin(self, *a))
    reading = lookups(store)
    store.write_model("rides", 1, item(BEYOND))
    one, two = reading.scorer("rides"), reading.scorer("rides")
    assert one.parameters is two.parameters
    store.write_model("rides", 1, item(BEYOND, SINCE[:1], writes=2))
    assert reading.scorer("rides").parameters != one.parameters
    assert len(solved) == 2


def test_a_learner_of_entities_counts_what_its_item_does(store: MemoryStore) -> None:
    kmeans = KMeans(k=2)
    fitted = {"features": ["n"], "min": [0.0], "max": [10.0], "centers": [[0.0], [1.0]], "labels": [4, 2]}
    info = learned()
    info["description"]["learner"], info["theta"]["learner"] = kmeans.describe(), fitted
    publish(store, "people", 1, {"a": version(1, 1)}, **info)
    promote(store, "people", 1)
    asked = [{"n": n} for n in (0, 4, 6, 10)]

    def clusters() -> list[int]:
        return [p["cluster"] for p in lookups(store).scorer("people").predict(asked, now=NOW).predictions]

    taken = store.take_over("people", 1, "driver", CUT, NOW)
    store.advance(type(taken)("people", 1, COUNTED, taken.epoch, "driver", NOW))
    assert lookups(store).scorer("people").vector == CUT, "the stream alone moves no parameters of entities"
    assert clusters() == [4, 4, 2, 2]
    moved = kmeans.contribution(fitted, np.array([[0.0], [1.0], [8.0], [20.0]]))
    store.write_model("people", 1, ModelItem(json.dumps(moved), BEYOND))
    assert lookups(store).scorer("people").vector == BEYOND
    assert lookups(store).scorer("people").parameters["centers"] == [
        pytest.approx([0.05]),
        pytest.approx([1.4]),
    ]
    assert clusters() == [4, 4, 4, 2]


def test_an_unseen_category_is_scored_refused_or_set_aside_by_the_learners_rule(store: MemoryStore) -> None:
    seen = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    asked = [{"day": 1}, {"day": 5}, {"day": 0}]

    def made(rule: Any) -> tuple[Any, NaiveBayes]:
        learner = NaiveBayes(("day",), model="categorical", unseen=rule)
        start = {"features": ["day"], "target": "late", "classes": 2, "contribution": learner.empty({})}
        state = learner.contribution(start, seen)
        info = learned()
        info["description"]["learner"] = learner.describe()
        info["theta"]["learner"] = {**learner.live(start, state), "contribution": state}
        publish(store, f"days_{rule}", 1, {"a": version(1, 1)}, **info)
        promote(store, f"days_{rule}", 1)
        return lookups(store).scorer(f"days_{rule}"), learner

    kept, _ = made("keep")
    every = kept.predict(asked, now=NOW)
    assert (len(every.predictions), every.quarantined) == (3, {})
    refusing, _ = made("fail")
    with pytest.raises(InputError, match=r"'day' is not usable; found 5\.0 in row 1"):
        refusing.predict(asked, now=NOW)
    sorting, learner = made("quarantine")
    done = sorting.predict(asked, now=NOW)
    assert done.predictions == [every.predictions[0], None, every.predictions[2]]
    reason = "day is not a category that a sample had; found 5.0"
    assert done.to_json()["quarantined"] == [{"record": 1, "reason": reason}]
    none = sorting.predict(asked[1:2], now=NOW)
    assert (none.predictions, none.quarantined) == ([None], {0: reason})

    # A sample that has it makes it a category.
    counted = learner.contribution(sorting.parameters, np.array([[5.0, 1.0]]))
    store.write_model("days_quarantine", 1, ModelItem(json.dumps(counted), BEYOND))
    later = lookups(store).scorer("days_quarantine").predict(asked, now=NOW)
    assert (later.quarantined, later.predictions[1]["prediction"]) == ({}, 1)


def test_a_value_beyond_the_training_samples_is_scored_and_told(store: MemoryStore) -> None:
    edges = [{"temperature": 0, "wind": 7.0}, {"temperature": 20.0, "wind": 3}]
    beyond = {"temperature": 20.5, "wind": 2.0}
    done = lookups(store).scorer("rides", live=False).predict([edges[0], None, beyond, edges[1]], now=NOW)
    assert [prediction is None for prediction in done.predictions] == [False, True, False, False]
    assert [one.to_json() for one in done.outside] == [
        {"record": 2, "field": "temperature", "found": 20.5, "trained": [0.0, 20.0]},
        {"record": 2, "field": "wind", "found": 2.0, "trained": [3.0, 7.0]},
    ]
    untold = learned()
    del untold["theta"]["ranges"]
    publish(store, "earlier", 1, {"a": version(1, 1)}, **untold)
    promote(store, "earlier", 1)
    assert lookups(store).scorer("earlier").predict([beyond], now=NOW).outside == ()


def test_a_record_takes_what_it_leaves_out_from_its_entity(store: MemoryStore) -> None:
    scorer = lookups(store).scorer("rides")
    features = {"oslo": {"temperature": 4, "wind": 5.0, "other": 9}, "bergen": {"temperature": None}}
    assert scorer.completed([], ["oslo", "nowhere"], features) == [{"temperature": 4, "wind": 5.0}, None]
    records = [{"wind": 6.0}, {"wind": 3.0, "temperature": 1}, {"wind": 1.0}]
    assert scorer.completed(records, ["oslo", "bergen", "nowhere"], features) == [
        {"temperature": 4, "wind": 6.0},
        {"temperature": 1, "wind": 3.0},
        None,
    ]
    with pytest.raises(InputError, match="record 1 lacks a number in 'temperature'; found None"):
        scorer.predict(scorer.completed(records[:1] * 2, ["oslo", "bergen"], features), now=NOW)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({**RECORD, "temprature": 1}, r"record 1 has a field that the model does not read.*'temprature'.*temperature"),
        ({"wind": 1.0}, r"record 1 lacks a number in 'temperature'"),
        ({**RECORD, "wind": None}, r"'wind'; found None; expected a finite number"),
        ({**RECORD, "wind": "3"}, r"'wind'; found '3'"),
        ({**RECORD, "wind": True}, r"'wind'; found True"),
        ({**RECORD, "wind": float("nan")}, r"'wind'; found nan"),
        ({**RECORD, "wind": 10**400}, r"'wind'; found 1000"),
        ({**RECORD, "wind": 1e308, "temperature": -1e308}, "has no finite prediction"),
    ],
)
def test_a_record_that_is_not_the_learners_input_is_named(
    store: MemoryStore, record: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as raised:
        lookups(store).scorer("rides").predict([RECORD, record], now=NOW)
    assert len(str(raised.value)) < 2000


def test_no_records_and_too_many(store: MemoryStore) -> None:
    scorer = lookups(store).scorer("rides")
    assert scorer.predict([], now=NOW).predictions == []
    with pytest.raises(InputError, match="too many records"):
        scorer.predict([RECORD] * 1001, now=NOW)


def test_what_has_no_learner_or_is_not_served_says_so(store: MemoryStore) -> None:
    publish(store, "plain", 1, {"a": version(1, 1)})
    promote(store, "plain", 1)
    with pytest.raises(NoLearner, match="'plain' has no learner"):
        lookups(store).scorer("plain")
    with pytest.raises(UnknownDefinition):
        lookups(store).scorer("ride")
