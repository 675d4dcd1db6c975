"""Linear regression: against NumPy and scikit-learn's way of it, live parameters, degenerate inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace.errors import DefinitionError, InputError
from headrace.models.learner import Fitted
from headrace.models.linear import LinearRegression

pytestmark = pytest.mark.spark

FEATURES = ("temperature", "wind", "hour")
COLUMNS = (*FEATURES, "rides")
ANY = Any


def events(seed: int, count: int, shift: float = 0.0) -> np.ndarray:
    """Rides that depend on three inputs of quite different sizes, with noise."""
    random = np.random.default_rng(seed)
    inputs = np.column_stack(
        [random.normal(15 + shift, 8, count), random.gamma(2, 1500, count), random.integers(0, 24, count)]
    )
    return np.column_stack([inputs, inputs @ [12.5, -0.01, 3.25] + 200 + random.normal(0, 40, count)])


def frame(spark: Any, values: np.ndarray) -> Any:
    return spark.createDataFrame([tuple(map(float, row)) for row in values], list(COLUMNS))


def solved(values: np.ndarray, mean: np.ndarray, scale: np.ndarray, ridge: float) -> np.ndarray:
    """The oracle: ridge with a free intercept, as a least-squares problem over rows that stand for the penalty."""
    scaled = (values - mean) / scale
    width = scaled.shape[1] - 1
    design = np.column_stack([scaled[:, :-1], np.ones(len(scaled))])
    penalty = np.column_stack([np.sqrt(ridge * len(scaled)) * np.eye(width), np.zeros(width)])
    rows, told = np.vstack([design, penalty]), np.concatenate([scaled[:, -1], np.zeros(width)])
    found: np.ndarray = np.linalg.lstsq(rows, told, rcond=None)[0]
    return found


def of(parameters: Any) -> np.ndarray:
    return np.array([*parameters["coefficients"], parameters["intercept"]])


def scales(parameters: Any) -> tuple[np.ndarray, np.ndarray]:
    mean = np.array([*parameters["mean"], parameters["target_mean"]])
    return mean, np.array([*parameters["scale"], parameters["target_scale"]])


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_fit_is_the_least_squares_solution(spark: Any, ridge: float) -> None:
    values = events(1, 400)
    fitted = LinearRegression(FEATURES, ridge=ridge).fit(frame(spark, values), COLUMNS, None)
    mean, scale = scales(fitted.parameters)
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scale, values.std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(of(fitted.parameters), solved(values, mean, scale, ridge), atol=1e-9)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("shift", [0.0, 25.0])
def test_live_parameters_are_those_of_a_recomputation_under_the_same_scaling(
    spark: Any, ridge: float, shift: float
) -> None:
    learner = LinearRegression(FEATURES, ridge=ridge)
    before, since = events(1, 400), events(2, 300, shift)
    fitted = learner.fit(frame(spark, before), COLUMNS, None).parameters
    live = learner.live(fitted, learner.contribution(fitted, since))
    mean, scale = scales(fitted)
    expected = solved(np.vstack([before, since]), mean, scale, ridge)
    np.testing.assert_allclose(of(live), expected, atol=1e-8)
    assert np.abs(of(live) - of(fitted)).max() > 1e-3
    told = learner.score(live, since[:, :-1])["prediction"]
    by_hand = ((since - mean) / scale)[:, :-1] @ expected[:-1] + expected[-1]
    np.testing.assert_allclose(told, by_hand * scale[-1] + mean[-1], rtol=1e-8)


def test_metrics_are_those_of_the_training_samples(spark: Any) -> None:
    values = events(1, 400)
    learner = LinearRegression(FEATURES)
    fitted = learner.fit(frame(spark, values), COLUMNS, None)
    errors = learner.score(fitted.parameters, values[:, :-1])["prediction"] - values[:, -1]
    metrics = fitted.metrics
    assert (metrics["rows"], metrics["skipped"]) == (400, 0)
    assert metrics["rmse"] == pytest.approx(float(np.sqrt((errors**2).mean())), rel=1e-6)
    assert metrics["rmse_of_mean"] == pytest.approx(float(values[:, -1].std()), rel=1e-6)
    assert metrics["r2"] == pytest.approx(1 - (errors**2).mean() / values[:, -1].var(), rel=1e-6)


def test_huge_values_are_counted_exactly_too(spark: Any) -> None:
    learner = LinearRegression(FEATURES)
    values = events(1, 400)
    fitted = learner.fit(frame(spark, values), COLUMNS, None).parameters
    mean, scale = scales(fitted)
    far = mean + scale * np.array([[40.0, -1e5, 3.0, 2e5], [-1e6, 2.0, 0.5, 77.0]])
    live = learner.live(fitted, learner.contribution(fitted, far))
    scaled = (np.vstack([values, far]) - mean) / scale
    assert learner.contribution(fitted, far)["skipped"] == 0
    np.testing.assert_allclose(of(live), solved(np.vstack([values, far]), mean, scale, 0.0), atol=1e-9)
    assert np.abs(scaled).max() > 2**19


class TestRefusals:
    def fit(self, spark: Any, values: np.ndarray, **settings: float) -> Fitted:
        return LinearRegression(FEATURES, **settings).fit(frame(spark, values), COLUMNS, None)

    @pytest.mark.parametrize("features", [(), ("a", "a"), tuple(f"x{i}" for i in range(121))])
    def test_features_that_cannot_be_read(self, features: tuple[str, ...]) -> None:
        with pytest.raises(DefinitionError, match="1 to 120 distinct"):
            LinearRegression(features)

    @pytest.mark.parametrize("ridge", [-1.0, float("nan"), float("inf")])
    def test_a_ridge_that_is_none(self, ridge: float) -> None:
        with pytest.raises(DefinitionError, match="0 or more"):
            LinearRegression(FEATURES, ridge=ridge)

    def test_scoring_a_number_that_is_not_finite(self, spark: Any) -> None:
        fitted = self.fit(spark, events(1, 50))
        with pytest.raises(InputError, match="'wind'"):
            LinearRegression(FEATURES).score(fitted.parameters, np.array([[1.0, np.nan, 2.0]]))
