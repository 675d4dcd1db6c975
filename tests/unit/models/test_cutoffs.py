"""Cut-offs: against NumPy, live means and deviations, degenerate inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace.errors import DefinitionError, InputError
from headrace.models.cutoffs import CutOffs

FEATURES = ("orders", "spent")
LEARNER = CutOffs(FEATURES, k=2.5)


def entities(seed: int, count: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.column_stack([random.poisson(9, count), random.gamma(2, 3e5, count)]).astype(float)


def parameters(values: np.ndarray) -> dict[str, Any]:
    found = {"mean": values.mean(axis=0).tolist(), "scale": values.std(axis=0).tolist()}
    return {"features": list(FEATURES), **found, "center": found["mean"], "spread": found["scale"]}


@pytest.mark.spark
def test_fit_is_the_mean_and_the_deviation_of_all_entities(spark: Any) -> None:
    values = entities(1, 200)
    fitted = LEARNER.fit(spark.createDataFrame(values.tolist(), list(FEATURES)), FEATURES, None)
    for name, expected in parameters(values).items():
        if name != "features":
            np.testing.assert_allclose(fitted.parameters[name], expected, rtol=1e-12)
    cutoffs = values.mean(axis=0) + 2.5 * values.std(axis=0)
    assert fitted.metrics["rows"] == 200
    assert fitted.metrics["anomalies"] == int((values > cutoffs).any(axis=1).sum()) > 0
    assert fitted.metrics["cutoffs"] == pytest.approx(dict(zip(FEATURES, cutoffs, strict=True)))


def test_only_what_is_above_is_an_anomaly() -> None:
    model = {**parameters(entities(1, 9)), "center": [10.0, 100.0], "spread": [2.0, 10.0]}
    outputs = LEARNER.score(model, np.array([[15.0, 100.0], [15.5, 100.0], [0.0, 0.0], [10.0, 126.0]]))
    assert outputs["orders_deviations"].tolist() == [2.5, 2.75, -5.0, 0.0]
    assert outputs["spent_deviations"].tolist() == [0.0, 0.0, -10.0, 2.6]
    assert outputs["is_anomaly"].tolist() == [False, True, False, True]


def test_live_is_a_recomputation_over_the_entities_as_they_are() -> None:
    fitted, now = parameters(entities(1, 200)), entities(2, 300) * 3
    live = LEARNER.live(fitted, LEARNER.contribution(fitted, now))
    scale = np.array(fitted["scale"])
    np.testing.assert_allclose(live["center"] / scale, now.mean(axis=0) / scale, atol=1e-9)
    np.testing.assert_allclose(live["spread"] / scale, now.std(axis=0) / scale, atol=1e-9)
    assert (live["mean"], live["scale"]) == (fitted["mean"], fitted["scale"])


def test_entities_without_numbers_and_far_ones_are_not_counted() -> None:
    fitted = parameters(entities(1, 200))
    odd = np.array([[np.nan, 1.0], [1.0, np.inf], [1e300, 1.0]])
    assert LEARNER.contribution(fitted, odd) == {**LEARNER.empty(fitted), "skipped": 3}


def test_a_feature_that_all_entities_share_is_refused_by_name() -> None:
    fitted = parameters(entities(1, 200))
    same = np.column_stack([entities(2, 20)[:, 0], np.full(20, 7.0)])
    with pytest.raises(InputError, match=r"a cut-off cannot read 'spent'.*one value in every sample"):
        LEARNER.live(fitted, LEARNER.contribution(fitted, same))


def test_settings_that_mean_nothing() -> None:
    for features, k in (((), 3.0), (("a", "a"), 3.0), (("a",), 0.0), (("a",), float("inf"))):
        with pytest.raises(DefinitionError, match="a cut-off"):
            CutOffs(features, k)
    with pytest.raises(DefinitionError, match=r"found 'spend'.*nearest 'spent'"):
        CutOffs(("spend",)).inputs(FEATURES)
    assert CutOffs(("spent",)).inputs(FEATURES) == ("spent",)
    assert CutOffs(FEATURES, 2).describe() != CutOffs(FEATURES).describe()
