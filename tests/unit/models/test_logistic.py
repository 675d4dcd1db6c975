"""Logistic regression: against scikit-learn and a Newton step written out, degenerate inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression as Peer

from headrace.errors import DefinitionError
from headrace.models.logistic import LogisticRegression

FEATURES = ("price", "visits")
COLUMNS = (*FEATURES, "bought")
WEIGHTS = np.array([[0.0, 0.0], [1.5, -1.0], [-0.5, 0.8]])


def events(seed: int, count: int, classes: int = 2, shift: float = 0.0) -> np.ndarray:
    """Two inputs of quite different sizes, and a class that depends on them by chance."""
    random = np.random.default_rng(seed)
    inputs = np.column_stack([random.normal(100 + 20 * shift, 20, count), random.gamma(2, 3000, count)])
    unit = (inputs - [100, 6000]) / [20, 4000]
    told = unit @ WEIGHTS[:classes].T + random.gumbel(size=(count, classes)) + [shift, *[0.0] * (classes - 1)]
    return np.column_stack([inputs, told.argmax(axis=1)])


def frame(spark: Any, values: np.ndarray) -> Any:
    return spark.createDataFrame([tuple(map(float, row)) for row in values], list(COLUMNS))


def peer(values: np.ndarray, parameters: Any, ridge: float) -> np.ndarray:
    """scikit-learn's probabilities of the samples, under the same scaling and penalty."""
    scaled = unit(values, parameters)
    model = Peer(C=1 / (ridge * len(values)) if ridge else np.inf, tol=1e-10, max_iter=10_000)
    found: np.ndarray = model.fit(scaled, values[:, -1]).predict_proba(scaled)
    return found


def unit(values: np.ndarray, parameters: Any) -> np.ndarray:
    scaled: np.ndarray = (values[:, :-1] - parameters["mean"]) / parameters["scale"]
    return scaled


def told(learner: LogisticRegression, parameters: Any, values: np.ndarray) -> np.ndarray:
    outputs = learner.score(parameters, values[:, :-1])
    return np.column_stack([outputs[name] for name in learner.outputs[:-1]])


def log_loss(likely: np.ndarray, values: np.ndarray) -> float:
    return float(-np.log(likely[np.arange(len(values)), values[:, -1].astype(int)]).mean())


def by_hand(learner: LogisticRegression, values: np.ndarray) -> dict[str, Any]:
    """Parameters without Spark: nothing told, moved by steps until they stay."""
    rows = 1 if learner.classes == 2 else learner.classes
    made: dict[str, Any] = {
        "features": list(FEATURES),
        "classes": learner.classes,
        "mean": values[:, :-1].mean(axis=0).tolist(),
        "scale": values[:, :-1].std(axis=0).tolist(),
        "coefficients": [[0.0, 0.0]] * rows,
        "intercepts": [0.0] * rows,
    }
    for _ in range(25):
        made = learner.live({**made, "contribution": learner.empty(made)}, learner.contribution(made, values))
    return {**made, "contribution": learner.contribution(made, values)}


def stepped(learner: LogisticRegression, parameters: Any, values: np.ndarray) -> np.ndarray:
    """The oracle: a Newton step sample by sample, for every class its own row; probabilities afterwards."""
    inputs = np.column_stack([np.ones(len(values)), unit(values, parameters)])
    weights = np.column_stack([parameters["intercepts"], parameters["coefficients"]])
    if learner.classes == 2:
        weights = np.vstack([np.zeros(3), weights])
    free = slice(1, None) if learner.classes == 2 else slice(None)
    penalty = np.diag([0.0, learner.ridge, learner.ridge])
    size = len(weights[free]) * 3
    slope, curvature = np.zeros(size), np.zeros((size, size))
    for x, own in zip(inputs, values[:, -1].astype(int), strict=True):
        likely = np.exp(weights @ x)
        likely /= likely.sum()
        missed = (likely - np.eye(learner.classes)[own])[free]
        slope += np.kron(missed, x) / len(values)
        spread = (np.diag(likely) - np.outer(likely, likely))[free, free]
        curvature += np.kron(spread, np.outer(x, x)) / len(values)
    slope += (weights[free] @ penalty).ravel()
    curvature += np.kron(np.eye(len(weights[free])), penalty)
    weights[free] -= (np.linalg.pinv(curvature, rcond=1e-8) @ slope).reshape(-1, 3)
    after = np.exp(inputs @ weights.T)
    made: np.ndarray = after / after.sum(axis=1, keepdims=True)
    return made


@pytest.mark.spark
@pytest.mark.parametrize(("classes", "ridge"), [(2, 0.0), (3, 0.05)])
def test_fit_is_the_maximum_of_likelihood(spark: Any, classes: int, ridge: float) -> None:
    values = events(1, 400, classes)
    learner = LogisticRegression(FEATURES, ridge=ridge, classes=classes)
    fitted = learner.fit(frame(spark, values), COLUMNS, None)
    likely = told(learner, fitted.parameters, values)
    np.testing.assert_allclose(likely, peer(values, fitted.parameters, ridge), atol=1e-5)
    metrics = fitted.metrics
    counts = np.bincount(values[:, -1].astype(int))
    assert (metrics["rows"], metrics["skipped"], metrics["classes"]) == (400, 0, counts.tolist())
    assert metrics["log_loss"] == pytest.approx(log_loss(likely, values), rel=1e-9)
    assert metrics["log_loss_of_shares"] == pytest.approx(log_loss(np.tile(counts / 400, (400, 1)), values), rel=1e-9)
    assert metrics["accuracy"] == pytest.approx((likely.argmax(axis=1) == values[:, -1]).mean())


@pytest.mark.spark
@pytest.mark.parametrize(("classes", "ridge", "lasso"), [(2, 0.0, 0.05), (2, 0.02, 0.05), (3, 0.01, 0.03)])
def test_a_lasso_is_scikit_learns_elastic_net(spark: Any, classes: int, ridge: float, lasso: float) -> None:
    """The objective is not worse than the peer's, and the same coefficients are exactly 0."""
    random = np.random.default_rng(7)
    names = ("a", "b", "c", "d", "e")
    inputs = random.normal(0, 1, (400, 5)) * [1.0, 20.0, 0.1, 3.0, 1.0]
    weights = np.array([[0.0] * 5, [1.5, 0.05, 0.0, 0.0, -1.0], [-1.0, 0.0, 8.0, 0.0, 0.0]])[:classes]
    labels = (inputs @ weights.T + random.gumbel(size=(400, classes))).argmax(axis=1)
    values = np.column_stack([inputs, labels])
    learner = LogisticRegression(names, ridge=ridge, lasso=lasso, classes=classes)
    given = spark.createDataFrame([tuple(map(float, row)) for row in values], [*names, "bought"])
    parameters = learner.fit(given, (*names, "bought"), None).parameters
    scaled = unit(values, parameters)
    penalty = ridge + lasso
    theirs = Peer(C=1 / (penalty * 400), l1_ratio=lasso / penalty, solver="saga", tol=1e-10, max_iter=100_000)
    theirs.fit(scaled, labels)

    def objective(coefficients: np.ndarray, likely: np.ndarray) -> float:
        penalties = ridge / 2 * (coefficients**2).sum() + lasso * np.abs(coefficients).sum()
        return log_loss(likely, values) + float(penalties)

    ours = np.array(parameters["coefficients"])
    best = objective(theirs.coef_, theirs.predict_proba(scaled))
    assert objective(ours, told(learner, parameters, values)) <= best + 1e-8
    assert ((np.abs(ours) < 1e-12) == (np.abs(theirs.coef_) < 1e-6)).all()
    assert (ours == 0).any()
    since = learner.contribution(parameters, values[:20])
    assert learner.live(parameters, since) == parameters


@pytest.mark.parametrize(("classes", "ridge"), [(2, 0.0), (2, 0.1), (3, 0.0), (3, 0.1)])
def test_live_parameters_are_one_newton_step_over_all_samples(classes: int, ridge: float) -> None:
    learner = LogisticRegression(FEATURES, ridge=ridge, classes=classes)
    before, since = events(1, 400, classes), events(2, 100, classes, shift=0.5)
    fitted = by_hand(learner, before)
    np.testing.assert_allclose(told(learner, fitted, before), peer(before, fitted, ridge), atol=1e-6)
    live = learner.live(fitted, learner.contribution(fitted, since))
    every = np.vstack([before, since])
    likely = told(learner, live, every)
    np.testing.assert_allclose(likely, stepped(learner, fitted, every), atol=1e-8)
    again = peer(every, fitted, ridge)
    assert np.abs(likely - again).max() < np.abs(told(learner, fitted, every) - again).max() / 4


def test_a_step_is_bounded_and_a_direction_without_samples_stays() -> None:
    learner = LogisticRegression(FEATURES)
    fitted = by_hand(learner, events(1, 400))
    parameters = {**fitted, "coefficients": [[2.0, 0.0]], "intercepts": [0.0], "contribution": learner.empty(fitted)}
    contrary = np.array([[140.0, 6000.0, 0.0]] * 2)
    live = learner.live(parameters, learner.contribution(parameters, contrary))
    moved = np.array([live["intercepts"][0], *live["coefficients"][0]]) - [0.0, 2.0, 0.0]
    along = np.array([1.0, *unit(contrary[:1], parameters)[0]])
    np.testing.assert_allclose(moved, -along / np.linalg.norm(along), atol=1e-6)


def test_samples_that_tell_nothing_move_nothing() -> None:
    learner = LogisticRegression(FEATURES)
    fitted = by_hand(learner, events(1, 400))
    sure = {**fitted, "coefficients": [[900.0, 0.0]], "contribution": learner.empty(fitted)}
    live = learner.live(sure, learner.contribution(sure, np.array([[140.0, 6000.0, 1.0]])))
    assert live["coefficients"] == sure["coefficients"]


def test_samples_of_no_class_and_far_ones_are_not_counted() -> None:
    learner = LogisticRegression(FEATURES)
    parameters = by_hand(learner, events(1, 50))
    odd = np.array([[100.0, 1.0, c] for c in (2.0, -1.0, 0.5, np.nan)] + [[1e300, 1.0, 1.0]])
    assert learner.contribution(parameters, odd) == {**learner.empty(parameters), "skipped": 5}


def test_a_huge_number_is_scored_all_the_same() -> None:
    learner = LogisticRegression(FEATURES)
    parameters = by_hand(learner, events(1, 400))
    outputs = learner.score(parameters, np.array([[1e300, 0.0], [-1e300, 0.0]]))
    assert outputs["probability_1"].tolist() == [1.0, 0.0]
    assert outputs["prediction"].tolist() == [1, 0]


@pytest.mark.parametrize("features", [(), ("a", "a"), tuple(f"x{i}" for i in range(121))])
def test_features_that_cannot_be_read(features: tuple[str, ...]) -> None:
    with pytest.raises(DefinitionError, match="distinct columns, at least one, and at most 7503 sums"):
        LogisticRegression(features)


@pytest.mark.parametrize("settings", [{"classes": 1}, {"ridge": -1.0}, {"ridge": float("nan")}])
def test_settings_that_mean_nothing(settings: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="logistic regression"):
        LogisticRegression(FEATURES, **settings)


@pytest.mark.parametrize("change", [{"classes": 3}, {"ridge": 0.5}, {"features": ("a",)}, {"max_iterations": 9}])
def test_every_setting_is_described(change: dict[str, Any]) -> None:
    assert LogisticRegression(**{"features": FEATURES, **change}).describe() != LogisticRegression(FEATURES).describe()
