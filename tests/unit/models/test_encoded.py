"""Encoded columns: equal numbers in NumPy and in SQL, unseen categories by rule, penalties as scikit-learn has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet

from headrace.errors import DefinitionError, InputError
from headrace.models.description import learner_from
from headrace.models.each import score_each
from headrace.models.encoded import Encoded
from headrace.models.encoding import Bins, Cross, Number, OneHot, encoded
from headrace.models.linear import LinearRegression
from headrace.models.sql_encoding import encoding_sql

COLUMNS = (Number("wind", "median"), Bins("temp", 4), OneHot("hour", most=3), Cross("hour", "day"))
NAMES = ("wind", "temp", "hour", "day")


def hours(count: int = 300) -> np.ndarray:
    random = np.random.default_rng(4)
    made = np.column_stack(
        [
            random.normal(5, 2, count),
            random.normal(15, 8, count),
            random.integers(0, 5, count),
            random.integers(0, 2, count),
        ]
    ).astype(float)
    made[::30, 0] = np.nan
    return made


def target(rows: np.ndarray) -> np.ndarray:
    told: np.ndarray = (
        np.nan_to_num(rows[:, 0]) + 3 * (rows[:, 2] == 1) * rows[:, 3] + np.sin(rows[:, 1]) + rows[:, 2] / 7
    )
    return told


@pytest.fixture(scope="module")
def fitted(spark: Any) -> Any:
    rows = hours()
    told = np.column_stack([rows, target(rows)]).tolist()
    plain = [[None if value != value else value for value in row] for row in told]
    frame = spark.createDataFrame(plain, ", ".join(f"{name} double" for name in (*NAMES, "target")))
    return Encoded(COLUMNS, ridge=0.01).fit(frame, (*NAMES, "target"), None).parameters


@pytest.mark.spark
def test_numpy_and_sql_encode_to_the_same_bits(spark: Any, fitted: Any) -> None:
    rows = np.vstack([hours(50), [[1.0, np.nan, 2.0, 1.0], [np.inf, 1.0, 9.0, 0.0], [2.0, 1.0, np.nan, 0.0]]])
    ours = encoded(fitted["encodings"], NAMES, rows)
    frame = spark.createDataFrame(
        [(i, *map(float, row)) for i, row in enumerate(rows)], "n int, " + ", ".join(f"{name} double" for name in NAMES)
    )
    made = [f"{sql} AS i{place}" for place, sql in enumerate(encoding_sql(fitted["encodings"]).values())]
    sparks = [tuple(row) for row in frame.orderBy("n").selectExpr(*made).collect()]
    theirs = np.array([[np.nan if value is None else value for value in row] for row in sparks])
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.spark
def test_what_is_fitted_is_of_training(fitted: Any) -> None:
    wind, temp, hour, cross = fitted["encodings"]
    rows = hours()
    assert wind["fill"] == pytest.approx(np.nanmedian(rows[:, 0]))
    assert temp["edges"] == pytest.approx(np.quantile(rows[:, 1], [0.25, 0.5, 0.75]).tolist())
    values, counts = np.unique(rows[:, 2], return_counts=True)
    often = values[np.lexsort((values, -counts))].tolist()
    assert hour["categories"] == [[code] for code in often[1:3]]
    assert [code for (code,) in hour["known"]] == sorted(often)
    assert len(cross["categories"]) == 9


@pytest.mark.spark
def test_nulls_are_filled_in_and_rows_stand_alone(fitted: Any) -> None:
    learner, rows = Encoded(COLUMNS, ridge=0.01), hours(60)
    assert learner.optional == ("wind",)
    together, refused = score_each(learner, fitted, rows, NAMES)
    assert not refused
    alone = [learner.score(fitted, row[None, :])["prediction"][0] for row in rows]
    assert together["prediction"].tolist() == alone
    rows[3, 1] = np.nan
    assert score_each(learner, fitted, rows, NAMES)[1] == {3: "temp is null or no finite number"}


@pytest.mark.spark
def test_an_unseen_category_is_kept_refused_or_set_aside(fitted: Any) -> None:
    rows = np.array([[1.0, 2.0, 1.0, 0.0], [1.0, 2.0, 9.0, 0.0]])
    frequent = Encoded(COLUMNS, ridge=0.01).score(fitted, rows)["prediction"]
    assert np.isfinite(frequent).all()
    with pytest.raises(InputError, match=r"hour has a category that no sample of training had; found \[9\.0\]"):
        score_each(Encoded(COLUMNS, ridge=0.01, unseen="fail"), fitted, rows, NAMES)
    aside = Encoded(COLUMNS, ridge=0.01, unseen="quarantine")
    told, refused = score_each(aside, fitted, rows, NAMES)
    assert list(refused) == [1]
    assert "hour is no category of training" in refused[1]
    assert told["prediction"][0] == frequent[0]


def test_an_encoded_regression_is_archived() -> None:
    for learner in (
        Encoded(COLUMNS, ridge=0.5, lasso=0.1, unseen="fail"),
        Encoded((OneHot("a"),), "logistic", classes=3),
        LinearRegression(("a",), lasso=0.1),
    ):
        assert learner_from(learner.describe()) == learner
    assert "lasso" not in LinearRegression(("a",)).describe()


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda: Encoded(()), "needs distinct columns"),
        (lambda: Encoded((Number("a"), Number("a"))), "needs distinct columns"),
        (lambda: Encoded((Number("a"),), "linaer"), "no such model"),  # type: ignore[arg-type]
        (lambda: Encoded((Number("a"),), unseen="drop"), "no such rule for the unseen"),  # type: ignore[arg-type]
        (lambda: Encoded((Number("a"),), lasso=-1.0), "no such lasso"),
        (lambda: Bins("a", 1), "at least two bins"),
    ],
)
def test_what_is_no_pipeline_is_named(made: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        made()


@pytest.mark.spark
@pytest.mark.parametrize(("ridge", "lasso"), [(0.0, 0.05), (0.02, 0.05)])
def test_penalties_are_scikit_learns_elastic_net(spark: Any, ridge: float, lasso: float) -> None:
    random = np.random.default_rng(2)
    rows = random.normal(0, 1, (200, 3)) * [1.0, 5.0, 0.1]
    told = rows @ [2.0, 0.001, 3.0] + random.normal(0, 1, 200)
    frame = spark.createDataFrame(np.column_stack([rows, told]).tolist(), "a double, b double, c double, target double")
    learner = LinearRegression(("a", "b", "c"), ridge=ridge, lasso=lasso)
    parameters = learner.fit(frame, ("a", "b", "c", "target"), None).parameters
    scaled, spread = (rows - rows.mean(axis=0)) / rows.std(axis=0), told.std()
    theirs = ElasticNet(alpha=ridge + lasso, l1_ratio=lasso / (ridge + lasso), tol=1e-12, max_iter=100_000)
    theirs.fit(scaled, (told - told.mean()) / spread)
    np.testing.assert_allclose(parameters["coefficients"], theirs.coef_, atol=1e-6)
    since = learner.contribution(parameters, np.column_stack([rows, told])[:20])
    assert learner.live(parameters, since) == parameters


@pytest.mark.spark
def test_sql_is_null_for_an_unseen_category_unless_it_is_kept(spark: Any, fitted: Any) -> None:
    rows = spark.createDataFrame([(1.0, 2.0, 1.0, 0.0), (1.0, 2.0, 9.0, 0.0)], [*NAMES])
    for rule, nulls in (("keep", [False, False]), ("quarantine", [False, True])):
        learner = Encoded(COLUMNS, ridge=0.01, unseen=rule)  # type: ignore[arg-type]
        told = [row[0] for row in rows.selectExpr(learner.sql(fitted)["prediction"]).collect()]
        assert [value is None for value in told] == nulls
        ours = learner.score(fitted, np.array([[1.0, 2.0, 1.0, 0.0]]))["prediction"][0]
        assert told[0] == pytest.approx(ours, rel=1e-9)
