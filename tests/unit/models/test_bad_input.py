"""What every learner does with bad training samples: the error that names it, or the result that is documented."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from declared_learners import EACH, FEATURES, KINDS, LEARNERS, OF_EVENTS, columns, frame, rows, samples

from headrace.errors import InputError
from headrace.models.kmeans import KMeans
from headrace.models.learner import Fitted
from headrace.models.linear import LinearRegression
from headrace.models.samples import ranges

ANY_NUMBER = 1.0
_NO_CLASS = r"'target'; found no sample of class 0; samples by class \[0, 60"
_ONE_VALUE = r"'frequency'; found one value in every sample; expected a feature that changes; leave it out"
_COLLINEAR = r"collinear; found \['recency', 'frequency'\], a condition number .*declare a ridge"
_TOO_LARGE = r"'frequency'; found values too large for their standard deviation to be a double"


def constant_target(values: np.ndarray) -> None:
    values[:, -1] = ANY_NUMBER


def constant_feature(values: np.ndarray) -> None:
    values[:, 1] = ANY_NUMBER


def collinear(values: np.ndarray) -> None:
    values[:, 1] = values[:, 0]


def huge(values: np.ndarray) -> None:
    values[0, 1] = 1e300


# What each kind says; None: it is fitted. A further kind must be entered, with what docs/learners.md says of it.
SAYS: Mapping[Callable[[np.ndarray], None], Mapping[str, str | None]] = {
    constant_target: {
        "encoded": r"'target'; found one value in every sample; expected a target that changes",
        "linear": r"'target'; found one value in every sample; expected a target that changes",
        "logistic": _NO_CLASS,
        "naive_bayes": _NO_CLASS,
    },
    constant_feature: {
        "cutoffs": _ONE_VALUE,
        "encoded": None,  # `frequency` is binned there, and all are in the first bin, or the last
        "kmeans": None,
        "linear": _ONE_VALUE,
        "logistic": _ONE_VALUE,
        "naive_bayes": None,
    },
    collinear: {
        "cutoffs": None,
        "encoded": None,
        "kmeans": None,
        "linear": _COLLINEAR,
        "logistic": _COLLINEAR,
        "naive_bayes": None,
    },
    huge: {
        "cutoffs": _TOO_LARGE,
        "encoded": None,
        "kmeans": None,
        "linear": _TOO_LARGE,
        "logistic": _TOO_LARGE,
        "naive_bayes": None,
    },
}
CASES = [
    pytest.param(spoil, kind, id=f"{spoil.__name__}-{kind}")
    for spoil in SAYS
    for kind in (EACH if spoil is not constant_target else [each for each in EACH if each in OF_EVENTS])
]


def fitted_on(spark: Any, kind: str, spoil: Callable[[np.ndarray], None]) -> Fitted:
    values = samples(kind)
    spoil(values)
    return LEARNERS[kind].fit(frame(spark, values, columns(kind)), columns(kind), None)


@pytest.mark.spark
@pytest.mark.parametrize(("spoil", "kind"), CASES)
def test_a_bad_sample_is_refused_by_name_or_fitted_as_documented(
    spoil: Callable[[np.ndarray], None], kind: str, spark: Any
) -> None:
    refusal = SAYS[spoil][kind]
    if refusal is not None:
        with pytest.raises(InputError, match=refusal):
            fitted_on(spark, kind, spoil)
        return
    found = fitted_on(spark, kind, spoil)
    json.dumps([found.parameters, found.metrics], allow_nan=False)
    assert found.metrics["rows"] == 60 - found.metrics.get("skipped", 0)
    told = LEARNERS[kind].score(found.parameters, rows(kind))
    assert all(np.isfinite(values.astype(float)).all() for values in told.values())
    if spoil is huge and kind == "naive_bayes":
        assert found.metrics["skipped"] == 1, "no count is as large: it is left out"


@pytest.mark.spark
@pytest.mark.parametrize("kind", ["ridge", "multinomial logistic"])
def test_a_ridge_takes_collinear_features(kind: str, spark: Any) -> None:
    assert fitted_on(spark, kind, collinear).metrics["rows"] == 60


@pytest.mark.spark
def test_of_more_classes_each_needs_a_sample(spark: Any) -> None:
    with pytest.raises(InputError, match=r"found no sample of class 0; samples by class \[0, 60, 0\]"):
        fitted_on(spark, "multinomial logistic", constant_target)


@pytest.mark.spark
def test_a_range_that_no_double_holds_is_refused_by_name(spark: Any) -> None:
    values = rows("kmeans")
    values[:2, 1] = 1.7e308, -1.7e308
    with pytest.raises(InputError, match=r"k-means cannot read 'frequency'; found values too far apart"):
        LEARNERS["kmeans"].fit(frame(spark, values), FEATURES, None)


def unfitted(kind: str) -> dict[str, Any]:
    """Parameters that need no Spark, of a learner that scales its inputs."""
    unit = {"mean": [0.0] * 3, "scale": [1.0] * 3}
    made = {
        "cutoffs": {**unit, "center": [0.0] * 3, "spread": [1.0] * 3},
        "kmeans": {"min": [0.0] * 3, "max": [1.0] * 3, "centers": [[0.0] * 3, [1.0] * 3], "labels": [4, 2]},
        "linear": {**unit, "target_mean": 0.0, "target_scale": 1.0, "coefficients": [1.0, -1.0, 0.5], "intercept": 0.0},
        "logistic": {**unit, "coefficients": [[1.0, -1.0, 0.5]], "intercepts": [0.0]},
    }
    return {"features": list(FEATURES), "target": "target", **made[kind]}


# A count is as large as it is, and a bin as wide; the regression under the encodings is `linear` or `logistic`.
@pytest.mark.parametrize("kind", [kind for kind in EACH if kind not in ("naive_bayes", "encoded")])
def test_a_huge_number_is_scored_and_is_no_sample(kind: str) -> None:
    learner, parameters = LEARNERS[kind], unfitted(kind)
    far = np.full((1, len(columns(kind))), 1.0)
    far[0, 1] = 1e150
    told = learner.score(parameters, far[:, :3])
    assert all(math.isfinite(float(values[0])) for values in told.values())
    assert learner.contribution(parameters, far) == {**learner.empty(parameters), "skipped": 1}


def test_later_samples_that_make_a_line_of_the_others_are_refused_by_name() -> None:
    learner, parameters = LinearRegression(FEATURES), unfitted("linear")
    usual = np.random.default_rng(1).normal(size=(40, 4))
    fitted = {**parameters, "contribution": learner.contribution(parameters, usual)}
    along = np.array([[n, n, 0.0, n] for n in (1e6, -1e6)])
    with pytest.raises(InputError, match=r"linear regression are collinear; found \['recency', 'frequency'\]"):
        learner.live(fitted, learner.contribution(fitted, along))


def test_a_cluster_without_entities_stays_where_it_is_with_its_number() -> None:
    learner, parameters = KMeans(2), unfitted("kmeans")
    near_one = np.array([[0.9, 1.0, 1.0], [1.0, 0.9, 1.0]])
    since = learner.contribution(parameters, near_one)
    live = learner.live(parameters, since)
    np.testing.assert_allclose(live["centers"], [[0.0, 0.0, 0.0], [0.95, 0.95, 1.0]], atol=1e-9)
    assert live["centers"][0] == parameters["centers"][0]
    asked = np.array([[0.1, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert learner.score(live, asked)["cluster"].tolist() == [4, 2]


def test_every_kind_says_what_it_does() -> None:
    kinds = {LEARNERS[kind].kind for kind in KINDS}
    events = {LEARNERS[kind].kind for kind in OF_EVENTS}
    for spoil, says in SAYS.items():
        assert set(says) == (events if spoil is constant_target else kinds)


@pytest.mark.spark
def test_ranges_are_those_of_finite_numbers(spark: Any) -> None:
    some = spark.createDataFrame(
        [(1, 2.5, None), (None, math.nan, None), (-3, math.inf, math.nan), (7, -0.5, None)], "a int, b double, c double"
    )
    assert ranges(some, ("a", "b", "c")) == {"a": [-3.0, 7.0], "b": [-0.5, 2.5]}
    assert ranges(some.limit(0), ("a",)) == {}
