"""Naive Bayes: against scikit-learn, exact live parameters, categories that nobody saw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, MultinomialNB

from headrace.errors import DefinitionError, InputError
from headrace.models.naive_bayes import NaiveBayes
from headrace.models.tokens import Model

FEATURES = ("good", "bad", "meh")
COLUMNS = (*FEATURES, "rating")
PEERS = {"multinomial": MultinomialNB, "bernoulli": BernoulliNB, "categorical": CategoricalNB}


def events(seed: int, count: int, model: str, classes: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    rating = random.integers(0, classes, count)
    counts = random.poisson(np.array([[0.3, 4.0, 1.0], [5.0, 0.2, 1.0], [1.0, 1.0, 3.0]])[rating])
    return np.column_stack([np.minimum(counts, {"multinomial": 99, "bernoulli": 1, "categorical": 6}[model]), rating])


def learner_of(model: Model, classes: int, smoothing: float = 0.7, **settings: Any) -> NaiveBayes:
    return NaiveBayes(FEATURES, model, smoothing, classes, categories=10, **settings)


def counted(learner: NaiveBayes, values: np.ndarray) -> dict[str, Any]:
    """Parameters without Spark: those that the samples make of nothing."""
    start = {"features": list(FEATURES), "classes": learner.classes, "contribution": learner.empty({})}
    state = learner.contribution(start, values)
    return {**learner.live(start, state), "contribution": state}


def told(learner: NaiveBayes, parameters: Any, inputs: np.ndarray) -> np.ndarray:
    outputs = learner.score(parameters, inputs)
    return np.column_stack([outputs[name] for name in learner.outputs[:-1]])


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("model", PEERS)
def test_live_parameters_are_those_of_all_samples_and_of_scikit_learn(model: Model, classes: int) -> None:
    learner = learner_of(model, classes)
    before, since = events(1, 200, model, classes), events(2, 150, model, classes)
    fitted, every = counted(learner, before), np.vstack([before, since])
    live = learner.live(fitted, learner.contribution(fitted, since))
    assert {**live, "contribution": None} == {**counted(learner, every), "contribution": None}
    assert live["contribution"] == fitted["contribution"]
    assert live["constants"] != fitted["constants"]
    shares = np.bincount(every[:, -1], minlength=classes) + 0.7
    peer = PEERS[model](alpha=0.7, class_prior=shares / shares.sum()).fit(every[:, :-1], every[:, -1])
    np.testing.assert_allclose(told(learner, live, every[:, :-1]), peer.predict_proba(every[:, :-1]), atol=1e-12)


def test_counts_are_keyed_by_token() -> None:
    values = np.array([[2.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert learner_of("multinomial", 2).contribution({}, values) == {
        "samples": {"0": 1, "1": 2},
        "tokens": {"1": {"good": 3, "meh": 2}},
        "skipped": 0,
    }
    assert learner_of("categorical", 2).contribution({}, values)["tokens"] == {
        "0": {"good=0": 1, "bad=0": 1, "meh=0": 1},
        "1": {"good=1": 1, "good=2": 1, "bad=0": 2, "meh=1": 2},
    }


class TestUnseen:
    values = np.array([[0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]])
    unseen = np.array([[7.0, 1.0, 0.0]])

    def test_kept_it_has_the_smoothings_share_alone(self) -> None:
        learner = learner_of("categorical", 2, smoothing=1.0)
        # Class 0 of one sample, class 1 of two; every feature has two categories; `good` is 7, that of none.
        zero = (1 + 1) / (3 + 2) * (1 / 3) * (2 / 3) * (1 / 3)
        one = (2 + 1) / (3 + 2) * (1 / 4) * (2 / 4) * (3 / 4)
        likely = told(learner, counted(learner, self.values), self.unseen)
        np.testing.assert_allclose(likely, [[zero / (zero + one), one / (zero + one)]], rtol=1e-12)

    @pytest.mark.parametrize("rule", ["fail", "quarantine"])
    def test_failing_or_set_aside_until_a_sample_has_it(self, rule: str) -> None:
        learner = learner_of("categorical", 2, unseen=rule)
        parameters = counted(learner, self.values)
        rows = np.vstack([self.values[:, :-1], self.unseen])
        with pytest.raises(InputError, match=r"'good' is not usable; found 7.0 in row 3; expected a category that a s"):
            learner.score(parameters, rows)
        reason = {3: "good is not a category that a sample had; found 7.0"}
        assert learner.set_aside(parameters, rows) == (reason if rule == "quarantine" else {})
        since = learner.contribution(parameters, np.column_stack([self.unseen, [1.0]]))
        live = learner.live(parameters, since)
        assert learner.set_aside(live, rows) == {}
        assert learner.score(live, self.unseen)["prediction"].tolist() == [1]

    @pytest.mark.spark
    def test_in_sql_it_is_kept_or_null_and_what_is_no_category_is_null(self, spark: Any) -> None:
        given = spark.createDataFrame([(7.0, 1.0, 0.0), (10.0, 1.0, 0.0), (0.5, 1.0, 0.0)], list(FEATURES))
        for rule in ("keep", "fail", "quarantine"):
            learner = learner_of("categorical", 2, unseen=rule)
            parameters = counted(learner, self.values)
            first, *others = given.selectExpr(*learner.sql(parameters).values()).collect()
            assert [list(row) for row in others] == [[None] * 3] * 2
            if rule == "keep":
                ours = [column[0] for column in learner.score(parameters, self.unseen).values()]
                np.testing.assert_allclose(ours, list(first), rtol=1e-9)
            else:
                assert list(first) == [None] * 3


@pytest.mark.parametrize(
    ("model", "bad", "expected"),
    [
        ("multinomial", -1.0, "below 2147483648"),
        ("multinomial", 0.5, "a whole number"),
        ("multinomial", 1e300, "below 2147483648"),
        ("bernoulli", 2.0, "from 0 up, below 2"),
        ("categorical", 10.0, "below 10"),
    ],
)
def test_what_the_model_does_not_take_is_refused_by_name_and_counts_for_nothing(
    model: Model, bad: float, expected: str
) -> None:
    learner = learner_of(model, 2)
    parameters = counted(learner, events(1, 50, model, 2))
    with pytest.raises(InputError, match=rf"naive Bayes input 'bad' is not usable; found .*{expected}"):
        learner.score(parameters, np.array([[1.0, bad, 0.0]]))
    odd = np.array([[1.0, bad, 0.0, 1.0], [1.0, 1.0, 0.0, 2.0], [1.0, 1.0, 0.0, np.nan]])
    assert learner.contribution(parameters, odd) == {**learner.empty(parameters), "skipped": 3}


@pytest.mark.parametrize(
    "settings",
    [
        {"features": ()},
        {"features": ("a", "a")},
        {"model": "gaussian"},
        {"smoothing": 0.0},
        {"classes": 1},
        {"unseen": "skip"},
        {"model": "categorical", "categories": 900},
        {"model": "categorical", "categories": 0},
    ],
)
def test_settings_that_mean_nothing(settings: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="naive Bayes"):
        NaiveBayes(**{"features": FEATURES, **settings})


@pytest.mark.parametrize(
    "change",
    [
        {"model": "bernoulli"},
        {"smoothing": 2.0},
        {"classes": 3},
        {"categories": 7},
        {"unseen": "fail"},
        {"unseen": "quarantine"},
    ],
)
def test_every_setting_is_described(change: dict[str, Any]) -> None:
    assert NaiveBayes(FEATURES, **change).describe() != NaiveBayes(FEATURES).describe()
