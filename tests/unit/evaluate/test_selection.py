"""Selection: against scikit-learn fold by fold, grids, and combinations that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import root_mean_squared_error
from sklearn.preprocessing import StandardScaler

from headrace.errors import DefinitionError, InputError
from headrace.evaluate.metrics import Metric
from headrace.evaluate.selection import Selection, Trial, combinations, grid_from, select
from headrace.evaluate.splits import by_hash, folds
from headrace.models.kmeans import KMeans
from headrace.models.linear import LinearRegression
from headrace.models.logistic import LogisticRegression

COLUMNS = ("a", "b", "y")


@pytest.fixture(scope="module")
def samples(spark: Any) -> Any:
    random = np.random.default_rng(5)
    inputs = random.normal(size=(60, 2)) * [3, 0.5]
    target = inputs @ [1, -2] + random.normal(size=60)
    rows = [(n, *map(float, x), float(y), int(y > 0)) for n, (x, y) in enumerate(zip(inputs, target, strict=True))]
    return spark.createDataFrame(rows, ["id", "a", "b", "y", "is_large"]).coalesce(1).persist()


def by_peer(training: np.ndarray, held_out: np.ndarray, ridge: float) -> float:
    scaler = StandardScaler().fit(training[:, :2])
    model = Ridge(alpha=ridge * len(training)).fit(scaler.transform(training[:, :2]), training[:, 2])
    return float(root_mean_squared_error(held_out[:, 2], model.predict(scaler.transform(held_out[:, :2]))))


@pytest.mark.spark
def test_every_combination_is_measured_on_every_fold(samples: Any) -> None:
    parts, finished = folds(samples, ["id"], 2, seed=1), []
    grid = {"ridge": [1.0, 0.0]}
    found = select(LinearRegression(("a", "b")), parts, COLUMNS, grid, done=lambda: finished.append(1))
    assert found.metric == Metric("rmse")
    assert len(finished) == 4
    turns = [(parts.training(turn), parts.held_out(turn)) for turn in range(2)]
    sides = [[np.array(side.select(*COLUMNS).collect()) for side in turn] for turn in turns]
    for trial, ridge in zip(found.trials, grid["ridge"], strict=True):
        assert trial.settings == {"ridge": ridge}
        expected = [by_peer(training, held_out, ridge) for training, held_out in sides]
        assert [turn["rmse"] for turn in trial.turns] == pytest.approx(expected, rel=1e-6)
        assert trial.mean("rmse") == pytest.approx(np.mean(expected))
        assert trial.spread("rmse") == pytest.approx(np.std(expected, ddof=1))
    assert found.best.settings == {"ridge": 0.0}


@pytest.mark.spark
def test_a_combination_that_cannot_be_fitted_says_why_and_ends_no_other(samples: Any) -> None:
    learner, parts = LogisticRegression(("a", "b")), by_hash(samples, ["id"], 0.4, seed=1)
    columns = ("a", "b", "is_large")
    found = select(learner, parts, columns, {"classes": [3, 2]}, metric="accuracy", parallelism=1)
    refused, kept = found.trials
    assert refused.refusal is not None
    assert "no sample of class 2" in refused.refusal
    assert found.best is kept
    assert kept.spread("accuracy") is None
    lacks = select(learner, parts, columns, {"classes": [3]}, metric="auc").trials[0].refusal
    assert lacks is not None
    assert "no such metric; found 'auc'" in lacks
    with pytest.raises(InputError, match=r"no combination .* can be measured; found .*no sample of class 2"):
        _ = Selection(found.metric, (refused,)).best


def test_the_best_is_the_first_of_equal_ones() -> None:
    turns = [({"auc": 0.5}, {"auc": 0.7}), ({"auc": 0.7}, {"auc": 0.7}), ({"auc": 0.7}, {"auc": 0.7})]
    trials = tuple(Trial({"k": k}, turn) for k, turn in enumerate(turns))
    assert Selection(Metric("auc", greater_is_better=True), trials).best is trials[1]
    assert Selection(Metric("auc"), trials).best is trials[0]


def test_grids() -> None:
    learner = LinearRegression(("a",))
    assert grid_from(learner, {"ridge": ["0", "1e-2"]}) == {"ridge": [0.0, 0.01]}
    tried = combinations(KMeans(2), {"k": [2, 3], "seed": [1, 2]})
    assert [settings for settings, _ in tried] == [
        {"k": 2, "seed": 1}, {"k": 2, "seed": 2}, {"k": 3, "seed": 1}, {"k": 3, "seed": 2}
    ]  # fmt: skip
    assert tried[-1][1] == KMeans(3, seed=2)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"rigde": ["1"]}, "no such setting; found 'rigde'; expected one of features, ridge, lasso; nearest 'ridge'"),
        ({}, "no such setting; found no setting to vary"),
        ({"ridge": ["much"]}, "'ridge' .* has no such value; found much; expected .*valid number"),
        ({"ridge": ["-1"]}, "no such ridge; found -1"),
        ({"ridge": []}, "no value of 'ridge'"),
    ],
)
def test_grids_that_cannot_be(texts: Any, says: str) -> None:
    learner = LinearRegression(("a",))
    with pytest.raises(DefinitionError, match=says):
        combinations(learner, grid_from(learner, texts))
