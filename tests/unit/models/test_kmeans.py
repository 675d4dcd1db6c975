"""k-means: distances, numbers kept from a base, degenerate inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headrace.errors import DefinitionError
from headrace.models.kmeans import KMeans, inertia_by_k, labels_by_nearest

FEATURES = ("x", "y")


def parameters(centers: list[list[float]], labels: list[int], **changes: Any) -> dict[str, Any]:
    return {
        "features": list(FEATURES),
        "min": [0.0, 0.0],
        "max": [10.0, 1000.0],
        "centers": centers,
        "labels": labels,
        **changes,
    }


def frame(spark: Any, values: Any) -> Any:
    return spark.createDataFrame([tuple(map(float, row)) for row in values], list(FEATURES))


class TestScore:
    def test_scales_then_takes_the_nearest_centre_and_its_label(self) -> None:
        model = parameters([[0.0, 0.0], [1.0, 1.0]], [4, 2])
        inputs = np.array([[1.0, 900.0], [9.0, 900.0], [-50.0, 0.0]])
        assert KMeans(2).score(model, inputs)["cluster"].tolist() == [4, 2, 4]
        np.testing.assert_allclose(KMeans(2).distances(model, inputs), [np.hypot(0.1, 0.9), np.hypot(0.1, 0.1), 5.0])

    def test_of_equally_near_centres_the_first_wins(self) -> None:
        inputs = np.array([[5.0, 0.0]])
        assert KMeans(2).score(parameters([[0.0, 0.0], [1.0, 0.0]], [1, 0]), inputs)["cluster"] == [1]
        assert KMeans(2).score(parameters([[1.0, 0.0], [0.0, 0.0]], [0, 1]), inputs)["cluster"] == [0]

    def test_a_constant_feature_is_one_half_as_in_spark(self) -> None:
        model = parameters([[0.5, 0.0], [0.5, 1.0]], [0, 1], max=[0.0, 1000.0])
        assert KMeans(2).distances(model, np.array([[0.0, 0.0], [77.0, 1000.0]])).tolist() == [0.0, 0.0]


class TestLabels:
    def test_without_a_base_they_count_up(self) -> None:
        assert labels_by_nearest(parameters([[0.1, 0.1], [0.9, 0.9]], []), None) == [0, 1]

    def test_a_permuted_model_gets_the_numbers_of_the_base(self) -> None:
        centers = [[0.1, 0.1], [0.9, 0.9], [0.1, 0.9]]
        base = parameters(centers, [2, 0, 1])
        for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
            permuted = parameters([centers[i] for i in order], [])
            assert labels_by_nearest(permuted, base) == [[2, 0, 1][i] for i in order]

    def test_centres_are_compared_in_the_features_own_units(self) -> None:
        # The same two places, but the new training set reaches ten times as far: scaled centres moved a lot.
        base = parameters([[0.2, 0.2], [0.8, 0.8]], [0, 1])
        wider = parameters([[0.08, 0.08], [0.02, 0.02]], [], max=[100.0, 10_000.0])
        assert labels_by_nearest(wider, base) == [1, 0]

    def test_no_feature_outweighs_the_others_by_its_units(self) -> None:
        base = parameters([[0.0, 0.5], [1.0, 0.5]], [0, 1])
        # A hundredth of y is ten units, as much as all of x: without scaling the numbers would change over.
        moved = parameters([[1.0, 0.49], [0.0, 0.51]], [])
        assert labels_by_nearest(moved, base) == [1, 0]

    def test_further_centres_get_the_least_numbers_not_in_use(self) -> None:
        base = parameters([[0.1, 0.1], [0.9, 0.9]], [3, 0])
        more = parameters([[0.5, 0.5], [0.88, 0.9], [0.1, 0.12], [0.4, 0.9]], [])
        assert labels_by_nearest(more, base) == [1, 0, 3, 2]

    def test_fewer_centres_keep_the_numbers_of_the_nearest(self) -> None:
        base = parameters([[0.1, 0.1], [0.9, 0.9], [0.5, 0.5]], [0, 1, 2])
        assert labels_by_nearest(parameters([[0.52, 0.5], [0.9, 0.8]], []), base) == [2, 1]

    def test_features_are_matched_by_name(self) -> None:
        base = parameters([[0.1, 0.9], [0.9, 0.1]], [0, 1])
        swapped = parameters([[0.1, 0.9], [0.9, 0.1]], [], features=["y", "x"], min=[0.0, 0.0], max=[1000.0, 10.0])
        assert labels_by_nearest(swapped, base) == [1, 0]

    def test_a_base_of_other_features_is_no_base(self) -> None:
        base = parameters([[0.1, 0.9], [0.9, 0.1]], [1, 0], features=["a", "b"])
        assert labels_by_nearest(parameters([[0.1, 0.9], [0.9, 0.1]], []), base) == [0, 1]

    def test_equal_distances_go_to_the_first_centre(self) -> None:
        base = parameters([[0.5, 0.5], [0.5, 0.5]], [1, 0])
        assert labels_by_nearest(parameters([[0.4, 0.5], [0.6, 0.5]], []), base) == [1, 0]


class TestSettings:
    def test_one_cluster_is_refused(self) -> None:
        with pytest.raises(DefinitionError, match="found k=1"):
            KMeans(1)

    def test_an_unknown_scale_is_refused(self) -> None:
        with pytest.raises(DefinitionError, match="found 'z'"):
            KMeans(2, scale="z")  # type: ignore[arg-type]

    def test_an_undeclared_feature_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(DefinitionError, match=r"found 'recencey'.*nearest 'recency'"):
            KMeans(2, features=("recencey",)).inputs(("recency", "monetary"))

    def test_it_reads_all_features_unless_told(self) -> None:
        assert KMeans(2).inputs(FEATURES) == FEATURES
        assert KMeans(2, features=("y",)).inputs(FEATURES) == ("y",)

    @pytest.mark.parametrize(
        "change", [{"k": 3}, {"seed": 8}, {"features": ("x",)}, {"max_iterations": 9}, {"init_steps": 5}]
    )
    def test_every_setting_is_described(self, change: dict[str, Any]) -> None:
        assert KMeans(**{"k": 2, **change}).describe() != KMeans(2).describe()


@pytest.mark.spark
class TestFit:
    def test_the_pipeline_names_clusters_as_the_base_does_and_distances_agree(self, spark: Any) -> None:
        values = np.random.default_rng(3).uniform([0, -500], [10, 700], (80, 2))
        samples = frame(spark, values)
        first = KMeans(3).fit(samples, FEATURES, None)
        base = {**first.parameters, "labels": [5, 0, 3]}
        again = KMeans(3).fit(samples, FEATURES, base)
        assert again.parameters == base
        assert again.metrics["sizes"] == {
            str(base["labels"][int(label)]): size for label, size in first.metrics["sizes"].items()
        }
        scored = again.pipeline.transform(samples).collect()
        assert [row["cluster"] for row in scored] == KMeans(3).score(base, values)["cluster"].tolist()
        centres = np.array(base["centers"])
        theirs = [np.linalg.norm(row["scaled"].toArray() - centres[row["centre"]]) for row in scored]
        np.testing.assert_allclose(KMeans(3).distances(base, values), theirs, rtol=1e-9, atol=1e-12)
        assert again.metrics["inertia"] == pytest.approx(sum(d**2 for d in theirs), rel=1e-9)
        assert (again.metrics["rows"], sum(again.metrics["sizes"].values())) == (80, 80)

    def test_fewer_distinct_points_than_clusters_give_a_centre_each(self, spark: Any) -> None:
        values = np.array([[1.0, 5.0], [2.0, 6.0]] * 5)
        fitted = KMeans(6).fit(frame(spark, values), FEATURES, None)
        assert sorted(fitted.parameters["centers"]) == [[0.0, 0.0], [1.0, 1.0]]
        assert fitted.metrics["inertia"] == 0
        assert sorted(KMeans(6).score(fitted.parameters, values[:2])["cluster"].tolist()) == [0, 1]

    def test_one_point_is_one_cluster(self, spark: Any) -> None:
        fitted = KMeans(2).fit(frame(spark, [[3.0, 4.0]] * 4), FEATURES, None)
        assert fitted.parameters["centers"] == [[0.5, 0.5]]
        assert fitted.metrics["sizes"] == {"0": 4}
        assert fitted.pipeline.transform(frame(spark, [[9.0, 9.0]])).first()["cluster"] == 0

    def test_a_constant_feature_decides_nothing(self, spark: Any) -> None:
        values = np.array([[7.0, float(y)] for y in (1, 2, 3, 101, 102, 103)])
        fitted = KMeans(2).fit(frame(spark, values), FEATURES, None)
        assert [centre[0] for centre in fitted.parameters["centers"]] == [0.5, 0.5]
        ours = KMeans(2).score(fitted.parameters, values)["cluster"].tolist()
        assert ours == [row["cluster"] for row in fitted.pipeline.transform(frame(spark, values)).collect()]
        assert (len(set(ours[:3])), len(set(ours[3:])), len(set(ours))) == (1, 1, 2)

    def test_inertia_falls_as_k_rises(self, spark: Any) -> None:
        values = np.random.default_rng(5).uniform(0, 1, (40, 2))
        curve = inertia_by_k(frame(spark, values), FEATURES, [2, 4, 8])
        assert list(curve) == [2, 4, 8]
        assert curve[2] > curve[4] > curve[8] > 0
        assert curve[4] == KMeans(4).fit(frame(spark, values), FEATURES, None).metrics["inertia"]
