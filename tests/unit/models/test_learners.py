"""The check list that every learner passes; a new module of headrace.models is found by itself."""

from __future__ import annotations

import copy
import dataclasses
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
from declared_learners import (
    EACH,
    FEATURES,
    KINDS,
    LEARNERS,
    OF_ENTITIES,
    OF_EVENTS,
    TEXTS,
    WORDS,
    columns,
    frame,
    rows,
    samples,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pmml_evaluator import differences, table
from pyspark.ml import PipelineModel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

import headrace.models
from headrace.errors import DefinitionError, InputError
from headrace.models.contribution import contributed
from headrace.models.description import learner_from
from headrace.models.learner import Exportable, Fitted, OfCategories

pytestmark = pytest.mark.spark

Fit = Callable[[str], Fitted]
# Kinds of learners that no other tool can score, and why; docs/learners.md says so too.
WITHOUT_PMML: dict[str, str] = {}


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
        [rows(kind), rows(kind, seed=2, times=1 if counts else 1.7), rows(kind, times=1 if counts else -3)[:1]]
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
    is_text = [name in TEXTS.get(kind, ()) for name in FEATURES]
    usual = ["MO" if text else 1.0 for text in is_text]
    bad = [
        (place, value)
        for place in range(3)
        for value in ([None] if is_text[place] else [None, float("nan"), float("inf"), -float("inf")])
    ]
    given = [tuple(value if place == i else usual[i] for i in range(3)) for place, value in bad]
    types = (f"{name} {'string' if text else 'double'}" for name, text in zip(FEATURES, is_text, strict=True))
    refused = spark.createDataFrame(given, ", ".join(types)).selectExpr(*sql.values())
    assert {value for row in refused.collect() for value in row} == {None}
    typed = ["CAST(1 AS INT) AS recency", "CAST(1 AS DECIMAL(9, 2)) AS frequency", "true AS monetary"]
    typed = [f"'MO' AS {FEATURES[i]}" if is_text[i] else one for i, one in enumerate(typed)]
    (row,) = spark.range(1).selectExpr(*typed).selectExpr(*sql.values()).collect()
    ours = learner.score(fitted(kind).parameters, np.array([usual], dtype=object if any(is_text) else float))
    np.testing.assert_allclose([ours[name][0] for name in learner.outputs], list(row), rtol=1e-9, atol=1e-9)


def test_every_learner_is_exported_or_named_with_a_reason() -> None:
    exported = {learner.kind for learner in LEARNERS.values() if isinstance(learner, Exportable)}
    assert exported.isdisjoint(WITHOUT_PMML)
    assert exported | {*WITHOUT_PMML} == {learner.kind for learner in LEARNERS.values()}
    assert all(WITHOUT_PMML.values())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if LEARNERS[kind].kind not in WITHOUT_PMML])
def test_another_tool_scores_the_pmml_alike(kind: str, fitted: Fit) -> None:
    some = np.vstack([rows(kind), rows(kind, seed=2, times=1 if LEARNERS[kind].kind == "naive_bayes" else 1.7)])
    texts = {FEATURES.index(name): [None, *WORDS, "unseen", "NaN", "1e9"] for name in TEXTS.get(kind, ())}
    assert differences(LEARNERS[kind], fitted(kind).parameters, table(6, 3, 100, some, texts)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_score_changes_neither_inputs_nor_parameters(kind: str, fitted: Fit) -> None:
    parameters, values = fitted(kind).parameters, rows(kind)
    before = copy.deepcopy(parameters)
    LEARNERS[kind].score(parameters, values)
    assert parameters == before
    np.testing.assert_array_equal(values, rows(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_learning_changes_neither_samples_nor_parameters(kind: str, fitted: Fit) -> None:
    learner, parameters, some = LEARNERS[kind], fitted(kind).parameters, samples(kind, seed=4)
    before = copy.deepcopy(parameters)
    since = learner.contribution(parameters, some)
    kept = copy.deepcopy(since)
    learner.live(parameters, since)
    assert (parameters, since) == (before, kept)
    np.testing.assert_array_equal(some, samples(kind, seed=4))


@pytest.mark.parametrize("rule", ["keep", "fail", "quarantine"])
@pytest.mark.parametrize("kind", [k for k in KINDS if isinstance(LEARNERS[k], OfCategories) and k not in TEXTS])
def test_a_category_that_no_sample_had_by_each_rule(kind: str, rule: str, spark: Any, fitted: Fit) -> None:
    learner, parameters = dataclasses.replace(LEARNERS[kind], unseen=rule), fitted(kind).parameters
    odd = rows(kind)[:6]
    odd[1, 1], odd[2, 0], odd[3, 2], odd[4, 1] = 30, 0.5, -1, 1e300

    def refused(row: int) -> bool:
        try:
            learner.score(parameters, odd[row : row + 1])
        except InputError:
            return True
        return False

    left_out = [row for row in range(6) if refused(row)]
    assert (1 in left_out) == (learner.model == "bernoulli" or (learner.model == "categorical" and rule != "keep"))
    aside = learner.set_aside(parameters, odd)
    sets_aside = learner.model == "categorical" and rule == "quarantine"
    assert sorted(aside) == (left_out if sets_aside else [])
    if sets_aside:
        assert aside[1] == "frequency is not a category that a sample had; found 30.0"
        assert aside[2] == "recency is not a whole number from 0 up, below 40; found 0.5"
    numbered = frame(spark, np.column_stack([np.arange(6), odd]), ("row", *FEATURES))
    told = numbered.orderBy("row").selectExpr(*learner.sql(parameters).values()).collect()
    assert [row for row in range(6) if None in list(told[row])] == left_out
    kept = [row for row in range(6) if row not in left_out]
    ours = learner.score(parameters, odd[kept])
    theirs = np.array([told[row] for row in kept])
    np.testing.assert_allclose(np.column_stack([ours[name] for name in learner.outputs]), theirs, rtol=1e-9)


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
    texts, wide = TEXTS.get(kind, ()), len(columns(kind))
    words = st.one_of(st.sampled_from(WORDS), st.text(max_size=3), st.none())
    one = st.tuples(*(words if name in texts else numbers for name in columns(kind)))
    drawn = data.draw(st.lists(one, max_size=12))
    some = np.array(drawn, dtype=object if texts else float).reshape(-1, wide)
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
