"""The check list that every learner passes; a new module of headrace.models is found by itself."""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.ml import PipelineModel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

import headrace.models
from headrace.errors import DefinitionError, InputError
from headrace.models.contribution import contributed
from headrace.models.cutoffs import CutOffs
from headrace.models.description import learner_from
from headrace.models.kmeans import KMeans
from headrace.models.learner import Fitted, Learner
from headrace.models.linear import LinearRegression
from headrace.models.logistic import LogisticRegression
from headrace.models.naive_bayes import NaiveBayes

pytestmark = pytest.mark.spark

FEATURES = ("recency", "frequency", "monetary")
# Learners as they would be declared, at least one of each kind.
LEARNERS: dict[str, Learner] = {
    "cutoffs": CutOffs(FEATURES, k=1.5),
    "kmeans": KMeans(k=3),
    "linear": LinearRegression(FEATURES),
    "logistic": LogisticRegression(FEATURES),
    "multinomial logistic": LogisticRegression(FEATURES, ridge=0.01, classes=3),
    "naive_bayes": NaiveBayes(FEATURES),
    "bernoulli naive Bayes": NaiveBayes(FEATURES, model="bernoulli"),
    "categorical naive Bayes": NaiveBayes(FEATURES, model="categorical", classes=3, categories=40),
    "ridge": LinearRegression(FEATURES, ridge=0.01),
}
KINDS = sorted(LEARNERS)
EACH = [kind for kind in KINDS if kind == LEARNERS[kind].kind]  # one of a kind, for what takes Spark long
OF_EVENTS = [kind for kind in KINDS if LEARNERS[kind].sample == "event"]
OF_ENTITIES = [kind for kind in KINDS if LEARNERS[kind].sample == "entity"]

Fit = Callable[[str], Fitted]


def rows(kind: str, seed: int = 1, count: int = 60) -> np.ndarray:
    """Three clouds of whole and broken numbers, some negative; whole numbers that the model takes for naive Bayes."""
    random = np.random.default_rng(seed)
    centres = np.array([[5.0, 40.0, 900.25], [200.0, 3.0, -20.5], [350.0, 12.0, 50_000.0]])
    values: np.ndarray = centres[np.arange(count) % 3] * random.uniform(0.8, 1.2, (count, 3))
    learner = LEARNERS[kind]
    if isinstance(learner, NaiveBayes):
        values = np.abs(values) // 7 % {"multinomial": 50, "bernoulli": 2, "categorical": 9}[learner.model]
    return values


def frame(spark: Any, values: np.ndarray, columns: tuple[str, ...] = FEATURES) -> Any:
    return spark.createDataFrame([tuple(map(float, row)) for row in values], list(columns))


def columns(kind: str) -> tuple[str, ...]:
    """What a learner is fitted on, of an event its target last."""
    return FEATURES if kind in OF_ENTITIES else (*FEATURES, "target")


def samples(kind: str, seed: int = 1, count: int = 60) -> np.ndarray:
    values = rows(kind, seed, count)
    if kind in OF_ENTITIES:
        return values
    noise = np.random.default_rng(seed + 100).normal(0, 5, count)
    told = values @ [2.0, -1.5, 0.001] + 30 + noise
    classes = getattr(LEARNERS[kind], "classes", None)
    if classes is not None:
        told = (told + noise * 100) // 200 % classes
    return np.column_stack([values, told])


@pytest.fixture(scope="module")
def fitted(spark: Any) -> Fit:
    """A learner by kind, fitted on `samples` once."""
    done: dict[str, Fitted] = {}

    def fit(kind: str) -> Fitted:
        if kind not in done:
            done[kind] = LEARNERS[kind].fit(frame(spark, samples(kind), columns(kind)), columns(kind), None)
        return done[kind]

    return fit


def test_every_learner_of_the_package_is_checked() -> None:
    found = {
        member.kind
        for module in pkgutil.iter_modules(headrace.models.__path__, "headrace.models.")
        for _, member in inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
        if member.__module__ == module.name and isinstance(getattr(member, "kind", None), str)
    }
    assert found == {learner.kind for learner in LEARNERS.values()}


def of_pipeline(name: str, columns: list[str]) -> Any:
    """The pipeline's column of an output; Spark ML has probabilities in a vector."""
    if name in columns:
        return F.col(name)
    return vector_to_array("probability")[int(name.removeprefix("probability_"))]


@pytest.mark.parametrize("kind", KINDS)
def test_scorer_equals_the_saved_pipeline_and_the_sql(kind: str, spark: Any, fitted: Fit, tmp_path: Path) -> None:
    learner, parameters = LEARNERS[kind], fitted(kind).parameters
    reloaded = fitted(kind).pipeline
    if kind in EACH:
        reloaded.write().save(str(tmp_path / "model"))
        reloaded = PipelineModel.load(str(tmp_path / "model"))
    counts = LEARNERS[kind].kind == "naive_bayes"
    unseen = np.vstack(
        [rows(kind), rows(kind, seed=2) * (1 if counts else 1.7), rows(kind)[:1] * (1 if counts else -3)]
    )
    ours, sql = learner.score(parameters, unseen), learner.sql(parameters)
    assert tuple(sql) == learner.outputs
    numbered = frame(spark, np.column_stack([np.arange(len(unseen)), unseen]), ("row", *FEATURES))
    piped = reloaded.transform(numbered)
    sparks = piped.orderBy("row").select(*(of_pipeline(name, piped.columns) for name in learner.outputs)).collect()
    compiled = numbered.orderBy("row").selectExpr(*sql.values()).collect()
    for place, name in enumerate(learner.outputs):
        for theirs in (sparks, compiled):
            np.testing.assert_allclose(ours[name], [row[place] for row in theirs], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_sql_is_null_where_the_scorer_refuses_and_reads_any_numeric_type(kind: str, spark: Any, fitted: Fit) -> None:
    learner, sql = LEARNERS[kind], LEARNERS[kind].sql(fitted(kind).parameters)
    bad = [None, float("nan"), float("inf"), -float("inf")]
    given = [tuple(value if place == i else 1.0 for i in range(3)) for value in bad for place in range(3)]
    refused = spark.createDataFrame(given, ", ".join(f"{name} double" for name in FEATURES)).selectExpr(*sql.values())
    assert {value for row in refused.collect() for value in row} == {None}
    typed = ["CAST(1 AS INT) AS recency", "CAST(1 AS DECIMAL(9, 2)) AS frequency", "true AS monetary"]
    (row,) = spark.range(1).selectExpr(*typed).selectExpr(*sql.values()).collect()
    ours = learner.score(fitted(kind).parameters, np.ones((1, 3)))
    np.testing.assert_allclose([ours[name][0] for name in learner.outputs], list(row), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_score_changes_neither_inputs_nor_parameters(kind: str, fitted: Fit) -> None:
    parameters, values = fitted(kind).parameters, rows(kind)
    before = copy.deepcopy(parameters)
    LEARNERS[kind].score(parameters, values)
    assert parameters == before
    np.testing.assert_array_equal(values, rows(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_survive_json(kind: str, fitted: Fit) -> None:
    parameters = fitted(kind).parameters
    again = json.loads(json.dumps(parameters, allow_nan=False))
    assert again == parameters
    ours, theirs = (LEARNERS[kind].score(p, rows(kind, seed=3)) for p in (parameters, again))
    for name in LEARNERS[kind].outputs:
        np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_and_description_are_json(kind: str, fitted: Fit) -> None:
    assert json.loads(json.dumps(fitted(kind).metrics, allow_nan=False)) == fitted(kind).metrics
    assert json.loads(json.dumps(LEARNERS[kind].describe())) == LEARNERS[kind].describe()
    assert LEARNERS[kind].describe()["kind"] == LEARNERS[kind].kind


@pytest.mark.parametrize("kind", EACH)
def test_same_seed_same_model_whatever_the_order_of_rows_and_columns(kind: str, spark: Any, fitted: Fit) -> None:
    mixed = np.random.default_rng(9).permutation(samples(kind))[:, ::-1]
    shuffled = frame(spark, mixed, columns(kind)[::-1]).repartition(5)
    again = LEARNERS[kind].fit(shuffled, columns(kind), None)
    assert again.parameters == fitted(kind).parameters


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_scored_alike_alone_and_among_others(kind: str, fitted: Fit) -> None:
    together = LEARNERS[kind].score(fitted(kind).parameters, rows(kind))
    for place in (0, 1, 2, 59):
        alone = LEARNERS[kind].score(fitted(kind).parameters, rows(kind)[place : place + 1])
        for name in LEARNERS[kind].outputs:
            assert alone[name].dtype == together[name].dtype
            np.testing.assert_array_equal(alone[name], together[name][place : place + 1])


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_give_no_outputs_of_the_same_types(kind: str, fitted: Fit) -> None:
    learner = LEARNERS[kind]
    some, none = (learner.score(fitted(kind).parameters, rows(kind)[:n]) for n in (2, 0))
    assert tuple(none) == learner.outputs
    assert [(len(none[n]), none[n].dtype) for n in none] == [(0, some[n].dtype) for n in some]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_score_refuses_what_is_not_finite_by_name(kind: str, fitted: Fit, bad: float) -> None:
    values = rows(kind)
    values[7, 1] = bad
    with pytest.raises(InputError, match="'frequency'"):
        LEARNERS[kind].score(fitted(kind).parameters, values)


@pytest.mark.parametrize("kind", OF_ENTITIES)
@pytest.mark.parametrize("bad", [None, float("nan"), float("inf")])
def test_fit_refuses_what_is_not_finite_by_name(kind: str, spark: Any, bad: float | None) -> None:
    given = spark.createDataFrame(
        [(1.0, 2.0, 3.0), (4.0, 5.0, bad)], "recency double, frequency double, monetary double"
    )
    with pytest.raises(InputError, match=r"'monetary'.*found 1 of 2 rows"):
        LEARNERS[kind].fit(given, FEATURES, None)


@pytest.mark.parametrize("kind", EACH)
def test_fit_refuses_no_rows(kind: str, spark: Any) -> None:
    with pytest.raises(InputError, match="no rows"):
        LEARNERS[kind].fit(frame(spark, samples(kind), columns(kind)).limit(0), columns(kind), None)


@pytest.mark.parametrize("kind", EACH)
def test_fit_names_a_column_that_is_no_number(kind: str, spark: Any) -> None:
    given = frame(spark, samples(kind), columns(kind)).withColumn("frequency", F.lit("many"))
    with pytest.raises(DefinitionError, match=r"'frequency'.*found string"):
        LEARNERS[kind].fit(given, columns(kind), None)


@pytest.mark.parametrize("kind", [kind for kind in EACH if kind in OF_EVENTS])
def test_samples_that_are_not_usable_are_left_out_and_counted_in_both_layers(
    kind: str, spark: Any, fitted: Fit
) -> None:
    learner, wide = LEARNERS[kind], len(columns(kind))
    bad = np.full((4, wide), 1.0)
    bad[0, 0], bad[1, 1], bad[2, wide - 1], bad[3, 0] = np.nan, np.inf, -np.inf, 1e300
    whole = learner.fit(frame(spark, np.vstack([samples(kind), bad[:3]]), columns(kind)), columns(kind), None)
    assert whole.metrics["skipped"] == 3
    state = {**fitted(kind).parameters["contribution"], "skipped": 3}
    assert whole.parameters == {**fitted(kind).parameters, "contribution": state}
    assert learner.contribution(fitted(kind).parameters, bad) == {
        **learner.empty(fitted(kind).parameters),
        "skipped": 4,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_an_archived_learner_comes_back_equal(kind: str) -> None:
    assert learner_from(LEARNERS[kind].describe()) == LEARNERS[kind]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_contributions_add_up_to_the_same_bits_however_samples_are_split(
    kind: str, fitted: Fit, data: st.DataObject
) -> None:
    learner, parameters = LEARNERS[kind], fitted(kind).parameters
    odd = st.one_of(st.floats(-1e5, 1e5), st.floats(allow_nan=True), st.sampled_from([0.0, 1e9, -1e12]))
    numbers = st.one_of(st.integers(0, 2).map(float), odd)
    wide = len(columns(kind))
    some = np.array(data.draw(st.lists(st.lists(numbers, min_size=wide, max_size=wide), max_size=12))).reshape(-1, wide)
    whole = learner.contribution(parameters, some)
    order = data.draw(st.permutations(range(len(some))))
    ends = sorted(data.draw(st.lists(st.integers(0, len(some)), max_size=4)))
    parts = [
        learner.contribution(parameters, some[order[start:end]])
        for start, end in zip([0, *ends], [*ends, len(some)], strict=True)
    ]
    before = copy.deepcopy(parts)
    assert reduce(learner.merge, parts) == whole
    assert reduce(lambda a, b: learner.merge(b, a), parts, learner.empty(parameters)) == whole
    assert parts == before
    assert json.loads(json.dumps(whole)) == whole


@pytest.mark.parametrize("kind", EACH)
def test_spark_adds_up_what_plain_python_does(kind: str, spark: Any, fitted: Fit) -> None:
    learner, parameters = LEARNERS[kind], fitted(kind).parameters
    some = samples(kind, seed=5, count=500)
    given = frame(spark, some, columns(kind)).repartition(7)
    assert contributed(learner, parameters, given, columns(kind)) == learner.contribution(parameters, some)


@pytest.mark.parametrize("kind", KINDS)
def test_no_samples_since_training_leave_the_parameters(kind: str, fitted: Fit) -> None:
    parameters = fitted(kind).parameters
    assert LEARNERS[kind].live(parameters, LEARNERS[kind].empty(parameters)) == parameters
