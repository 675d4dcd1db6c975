"""Metrics: each against scikit-learn's, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pyspark.ml.functions import array_to_vector
from pyspark.sql import functions as F
from sklearn import metrics as peer

from headrace.errors import DefinitionError, InputError
from headrace.evaluate.metrics import measured, metric_named, metrics_of, of_classes, of_clusters, of_numbers
from headrace.models.cutoffs import CutOffs
from headrace.models.kmeans import KMeans
from headrace.models.learner import Fitted
from headrace.models.linear import LinearRegression
from headrace.models.logistic import LogisticRegression

RANDOM = np.random.default_rng(3)


def told_by_class(classes: int, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Classes and probabilities with ties among them; the last class never occurs where there are more than two."""
    actual = RANDOM.integers(0, classes - (classes > 2), count)
    scores = np.round(RANDOM.normal(size=(count, classes)) + np.eye(classes)[actual], 1)
    likely = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return actual, likely


@pytest.mark.spark
@pytest.mark.parametrize("actual", [np.round(RANDOM.normal(50, 9, 120), 2), np.full(5, 7.0)])
def test_numbers(spark: Any, actual: np.ndarray) -> None:
    told = actual + RANDOM.normal(0, 4, len(actual))
    rows = spark.createDataFrame(list(zip(actual.tolist(), told.tolist(), strict=True)), ["actual", "told"])
    found = of_numbers(rows)
    assert found["rows"] == len(actual)
    assert found["rmse"] == pytest.approx(peer.root_mean_squared_error(actual, told))
    assert found["mae"] == pytest.approx(peer.mean_absolute_error(actual, told))
    assert found["r2"] == pytest.approx(peer.r2_score(actual, told))
    assert found["rmse_of_mean"] == pytest.approx(actual.std())


@pytest.mark.spark
@pytest.mark.parametrize("classes", [2, 4])
def test_classes(spark: Any, classes: int) -> None:
    actual, likely = told_by_class(classes)
    best = likely.argmax(axis=1)
    names = ["actual", *(f"probability_{each}" for each in range(classes)), "prediction"]
    values = [(float(a), *p, int(b)) for a, p, b in zip(actual, likely.tolist(), best, strict=True)]
    found = of_classes(spark.createDataFrame(values, names), classes)
    labels = list(range(classes))
    assert found["confusion"] == peer.confusion_matrix(actual, best, labels=labels).tolist()
    assert found["accuracy"] == pytest.approx(peer.accuracy_score(actual, best))
    assert found["log_loss"] == pytest.approx(peer.log_loss(actual, likely, labels=labels))
    own = peer.f1_score(actual, best, labels=labels, average=None, zero_division=0)
    assert [found[f"f1_{each}"] for each in labels] == pytest.approx(own)
    assert found["macro_f1"] == pytest.approx(own.mean())
    if classes == 2:
        assert len(set(likely[:, 1])) < len(likely), "ties are what makes the area hard"
        assert found["auc"] == pytest.approx(peer.roc_auc_score(actual, likely[:, 1]), rel=1e-12)
    else:
        assert "auc" not in found


@pytest.mark.spark
def test_clusters(spark: Any) -> None:
    points = RANDOM.uniform(size=(90, 2))
    centers = np.array([[0.2, 0.2], [0.8, 0.3], [0.5, 0.9], [9.0, 9.0]])
    own = ((points[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
    values = list(zip(points.tolist(), own.tolist(), strict=True))
    rows = spark.createDataFrame(values, "point array<double>, centre int")
    rows = rows.withColumn("scaled", array_to_vector(F.col("point")))
    found = of_clusters(rows, centers.tolist())
    assert found["silhouette"] == pytest.approx(peer.silhouette_score(points, own, metric="sqeuclidean"))
    assert found["inertia"] == pytest.approx(((points - centers[own]) ** 2).sum())
    with pytest.raises(InputError, match="all of one cluster"):
        of_clusters(rows.where("centre = 0"), centers.tolist())


@pytest.mark.spark
def test_rows_that_cannot_be_scored_are_skipped_and_told(spark: Any) -> None:
    line = LinearRegression(("x",))
    parameters = {"features": ["x"], "mean": [0.0], "scale": [1.0], "target_mean": 0.0, "target_scale": 1.0}
    fitted = Fitted({**parameters, "coefficients": [2.0], "intercept": 0.0}, pipeline=None)  # type: ignore[arg-type]
    rows = spark.createDataFrame([(1.0, 2.0), (2.0, 5.0), (None, 1.0), (float("nan"), 1.0)], ["x", "y"])
    found = measured(line, fitted, rows, ("x", "y"))
    assert (found["rows"], found["skipped"], found["mae"]) == (2, 2, 0.5)
    with pytest.raises(InputError, match="there are none that the learner scores"):
        measured(line, fitted, rows.where("x IS NULL"), ("x", "y"))


@pytest.mark.spark
def test_a_metric_without_a_value_is_refused(spark: Any) -> None:
    learner = LogisticRegression(("x",))
    one = {"features": ["x"], "mean": [0.0], "scale": [1.0], "coefficients": [[2.0]], "intercepts": [0.0]}
    rows = spark.createDataFrame([(1.0, 1), (2.0, 1), (3.0, 7)], ["x", "y"])
    with pytest.raises(InputError, match="none is of class 0"):
        measured(learner, Fitted(one, pipeline=None), rows, ("x", "y"))  # type: ignore[arg-type]


def test_names() -> None:
    assert metric_named(LinearRegression(("x",)), None).name == "rmse"
    assert metric_named(KMeans(2), "inertia").greater_is_better is False
    three = LogisticRegression(("x",), classes=3)
    assert [metric.name for metric in metrics_of(three)] == ["log_loss", "accuracy", "macro_f1", "f1_0", "f1_1", "f1_2"]
    with pytest.raises(DefinitionError, match=r"no such metric; found 'acuracy'.*nearest 'accuracy'"):
        metric_named(three, "acuracy")
    with pytest.raises(DefinitionError, match="nothing measures what a learner of kind 'cutoffs' tells"):
        metrics_of(CutOffs(("n",)))
