"""Texts as categories: equal in Spark ML, Spark SQL, NumPy and PMML, whatever their characters, unseen or null."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pmml_evaluator import MADE, differences
from pyspark.ml import PipelineModel

from headrace.errors import DefinitionError, InputError
from headrace.models import texts as bounds
from headrace.models.contribution import contributed
from headrace.models.each import score_each
from headrace.models.encoded import Encoded
from headrace.models.encoding import Bins, Cross, Number, OneHot, encoded
from headrace.models.expressions import text_literal
from headrace.models.learner import Fitted
from headrace.models.samples import as_numbers
from headrace.models.texts import as_rows, coded

# What parsers of SQL, XML, JSON and statements read something into, texts that look like numbers, and one in two cases.
ODD = [
    "MO", "mo", "", " MO", "it's", '"', "`x`", "a\\b", "a\\u0041", "${spark.app.name}", "__THIS__", "{0}", "%_",
    "a;b--c", "St. Louis", "Zürich", "\U0001f6b2", "<&>]]>", "two\nlines", "1", "1.0", "NaN", "null", "-1", "e\u0301",
]  # fmt: skip
COLUMNS = (OneHot("day"), Cross("state", "day", most=9), Number("wind", "mean"), OneHot("hour"))
NAMES = ("day", "state", "wind", "hour")
LEARNER = Encoded(COLUMNS, ridge=0.01)
FEW = Encoded((OneHot("state"), Cross("day", "state", most=4), Number("wind", "mean"), OneHot("hour")), ridge=0.01)
FEW_NAMES = ("state", "day", "wind", "hour")
TYPES = "day string, state string, wind double, hour double, target double"
FEW_TYPES = "state string, day string, wind double, hour double, target double"


def drawn(seed: int, count: int = 400) -> np.ndarray:
    """Rows of the inputs: two texts, a number that may be missing, and a category that is a number."""
    random = np.random.default_rng(seed)
    made = np.empty((count, 4), dtype=object)
    made[:, 0] = [ODD[at] for at in random.integers(0, len(ODD), count)]
    made[:, 1] = [("BE", "ZH", "GE")[at] for at in random.integers(0, 3, count)]
    made[:, 2] = np.where(random.random(count) < 0.1, math.nan, random.normal(5, 2, count))
    made[:, 3] = random.integers(0, 3, count).astype(float)
    return made


def with_target(rows: np.ndarray, classes: int = 0) -> np.ndarray:
    words = np.array([len(day) + 2 * (state == "ZH") for day, state, *_ in rows], dtype=float)
    told = words + np.nan_to_num(rows[:, 2].astype(float)) - rows[:, 3].astype(float) ** 2
    return np.column_stack([rows, told // 4 % classes if classes else told + np.sin(7 * told)])


def frame(spark: Any, rows: np.ndarray, types: str = TYPES) -> Any:
    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and math.isnan(value) else value

    return spark.createDataFrame([tuple(map(plain, row)) for row in rows.tolist()], types)


@pytest.fixture(scope="module")
def fitted(spark: Any) -> Fitted:
    return LEARNER.fit(frame(spark, with_target(drawn(1))), (*NAMES, "target"), None)


@pytest.fixture(scope="module")
def few(spark: Any) -> dict[str, Any]:
    """Parameters of few inputs, for what is fitted more than once."""
    return FEW.fit(frame(spark, few_of(with_target(drawn(1))), FEW_TYPES), (*FEW_NAMES, "target"), None).parameters


def few_of(rows: np.ndarray) -> np.ndarray:
    """The columns in the order in which FEW reads them."""
    return rows[:, [1, 0, 2, 3, 4]]


@pytest.mark.spark
def test_what_is_known_is_in_the_parameters_and_inputs_have_names_that_differ(fitted: Fitted) -> None:
    assert fitted.parameters["texts"] == {"day": sorted(ODD), "state": ["BE", "GE", "ZH"]}
    assert json.loads(json.dumps(fitted.parameters)) == fitted.parameters
    day, pairs, _, hour = fitted.parameters["encodings"]
    assert [code for (code,) in day["known"]] == [float(code) for code in range(len(ODD))]
    assert len(day["categories"]) == len(ODD) - 1
    assert len(pairs["categories"]) == 8
    named = [name for one in fitted.parameters["encodings"] for name in one["inputs"]]
    assert len({name.lower() for name in named}) == len(named)
    assert {"day__MO", "day__mo"} & {*named}
    assert all(name.startswith("hour__") for name in hour["inputs"])


@pytest.mark.spark
def test_scorer_sql_and_the_saved_pipeline_are_equal_whatever_the_characters(
    spark: Any, fitted: Fitted, tmp_path: Path
) -> None:
    others = [["unseen", "ZH", 1.0, 0.0], ["MO", "zh", 1.0, 0.0], ["MO", "ZH", 1.0, 9.0]]
    rows = np.vstack([drawn(2, 100), np.array(others, dtype=object)])
    numbered = np.column_stack([np.arange(len(rows)), rows])
    given = frame(spark, numbered, f"n long, {TYPES.rpartition(',')[0]}").orderBy("n")
    fitted.pipeline.write().save(str(tmp_path / "model"))
    piped = PipelineModel.load(str(tmp_path / "model")).transform(given).select("prediction").collect()
    compiled = given.selectExpr(LEARNER.sql(fitted.parameters)["prediction"]).collect()
    ours = LEARNER.score(fitted.parameters, rows)["prediction"]
    for theirs in (piped, compiled):
        np.testing.assert_allclose(ours, [row[0] for row in theirs], rtol=1e-9, atol=1e-9)
    assert ours[-3] != ours[-2], "each row is told by its own texts"


@pytest.mark.spark
def test_it_is_the_regression_on_numbers_by_hand(spark: Any, few: dict[str, Any]) -> None:
    # The oracle: what `prepare` had to do before, a number for each text in the order of the texts.
    rows = few_of(with_target(drawn(1)))
    codes = coded(few["texts"], FEW_NAMES, rows[:, :-1])
    by_hand = np.column_stack([codes, rows[:, -1].astype(float)])
    numeric = FEW.fit(frame(spark, by_hand, FEW_TYPES.replace("string", "double")), (*FEW_NAMES, "target"), None)
    assert "texts" not in numeric.parameters
    theirs, ours = numeric.parameters, few
    for name in ("mean", "scale", "coefficients", "intercept", "target_mean", "target_scale"):
        assert ours["model"][name] == theirs["model"][name]
    assert ours["contribution"] == theirs["contribution"]
    told = FEW.score(theirs, codes)["prediction"].tolist()
    assert FEW.score(ours, rows[:, :-1])["prediction"].tolist() == told


@pytest.mark.spark
@pytest.mark.parametrize("rule", ["keep", "fail", "quarantine"])
def test_another_tool_scores_every_row_alike(rule: str, fitted: Fitted) -> None:
    learner = dataclasses.replace(LEARNER, unseen=rule)  # type: ignore[arg-type]  # one of three
    odd = [["unseen", "ZH", 1.0, 0.0], ["MO", "zh", 1.0, 0.0], [None, "ZH", 1.0, 0.0], ["MO", "ZH", None, 0.0]]
    rows = [[value if value == value else None for value in row] for row in drawn(3, 150).tolist()]
    assert differences(learner, fitted.parameters, [*rows, *odd]) == []


@pytest.mark.spark
def test_what_xml_does_not_hold_is_not_exported(fitted: Fitted) -> None:
    known = [*fitted.parameters["texts"]["day"][:-1], "bell\x07"]
    parameters = {**fitted.parameters, "texts": {**fitted.parameters["texts"], "day": known}}
    with pytest.raises(InputError, match=r"a text of 'day' cannot be exported as PMML; found 'bell\\x07'"):
        LEARNER.pmml(parameters).to_bytes("mine", 1, "0", MADE)


@pytest.mark.spark
def test_an_unseen_text_is_kept_refused_or_set_aside_by_its_name(spark: Any, fitted: Fitted) -> None:
    rows = np.array(
        [["MO", "ZH", 1.0, 0.0], ["XX", "ZH", 1.0, 0.0], ["MO", "ZH", 1.0, 9.0], ["MO", "it's", 1.0, 0.0]], dtype=object
    )
    parameters = fitted.parameters
    kept, refused = score_each(LEARNER, parameters, rows, NAMES)
    assert refused == {}
    assert np.isfinite(kept["prediction"]).all()
    fails, aside = (dataclasses.replace(LEARNER, unseen=rule) for rule in ("fail", "quarantine"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"day has a category that no sample of training had; found \['XX'\]"):
        score_each(fails, parameters, rows, NAMES)
    told, refused = score_each(aside, parameters, rows, NAMES)
    assert refused == {
        1: "day is no category of training; found 'XX'",
        2: "hour is no category of training; found 9.0",
        3: """state and day is no category of training; found ["it's", 'MO']""",
    }
    assert told["prediction"][0] == kept["prediction"][0]
    given = frame(spark, rows, TYPES.rpartition(",")[0])
    for learner, nulls in ((LEARNER, []), (fails, [1, 2, 3]), (aside, [1, 2, 3])):
        compiled = given.selectExpr(learner.sql(parameters)["prediction"]).collect()
        assert [row for row, (value,) in enumerate(compiled) if value is None] == nulls


@pytest.mark.spark
def test_a_null_is_no_text_and_neither_is_a_number(fitted: Fitted) -> None:
    for bad in (None, math.nan, 3.0):
        rows = np.array([["MO", "ZH", 1.0, 0.0], ["MO", bad, 1.0, 0.0]], dtype=object)
        assert score_each(LEARNER, fitted.parameters, rows, NAMES)[1] == {1: "state is null or no text"}
        with pytest.raises(InputError, match=r"'state' is not usable; found a null or what is no text; expected texts"):
            LEARNER.score(fitted.parameters, rows)


@pytest.mark.spark
def test_a_sample_with_a_null_is_left_out_in_both_layers(spark: Any, few: dict[str, Any]) -> None:
    some = few_of(with_target(drawn(1)))
    more = np.vstack([some, np.array([[None, "MO", 1.0, 0.0, 1.0], ["ZH", None, 1.0, 0.0, 1.0]], dtype=object)])
    again = FEW.fit(frame(spark, more, FEW_TYPES), (*FEW_NAMES, "target"), None)
    assert again.metrics["skipped"] == 2
    assert (again.parameters["model"], again.parameters["texts"]) == (few["model"], few["texts"])
    assert FEW.contribution(few, more[-2:]) == {**FEW.empty(few), "skipped": 2}


@pytest.mark.spark
@pytest.mark.parametrize("model", ["linear", "logistic"])
def test_contributions_add_up_and_live_parameters_are_those_of_all_samples(spark: Any, model: Any) -> None:
    learner, classes = dataclasses.replace(FEW, model=model), 2 if model == "logistic" else 0
    early, late = (few_of(with_target(rows, classes)) for rows in (drawn(1), drawn(5, 200)))
    late[0, 1] = "unseen"
    columns = (*FEW_NAMES, "target")
    fitted = learner.fit(frame(spark, early, FEW_TYPES), columns, None).parameters
    since = learner.contribution(fitted, late)
    assert contributed(learner, fitted, frame(spark, late, FEW_TYPES).repartition(3), columns) == since
    parts = [learner.contribution(fitted, late[start : start + 60]) for start in (120, 0, 180, 60)]
    assert reduce(learner.merge, parts, learner.empty(fitted)) == since
    assert learner.live(fitted, learner.empty(fitted)) == fitted
    live = learner.live(fitted, since)
    assert live["texts"] == fitted["texts"]
    if model == "linear":
        # The oracle: the encodings of the generation as plain columns, and a regression fitted anew on all samples.
        rows = np.vstack([early, late])
        inputs = encoded(fitted["encodings"], FEW_NAMES, coded(fitted["texts"], FEW_NAMES, rows[:, :-1]))
        target = rows[:, -1].astype(float)
        held = fitted["model"]
        unit = (inputs - held["mean"]) / held["scale"]
        apart, told = unit - unit.mean(axis=0), (target - target.mean()) / held["target_scale"]
        normal = apart.T @ apart / len(rows) + learner.ridge * np.eye(unit.shape[1])
        np.testing.assert_allclose(
            live["model"]["coefficients"], np.linalg.solve(normal, apart.T @ told / len(rows)), rtol=1e-8, atol=1e-10
        )


@pytest.mark.spark
def test_of_many_texts_the_most_frequent_are_told_apart(spark: Any) -> None:
    stations = [f"station {n:03}" for n in range(300)]
    rows = [(stations[n % 300], float(n % 7)) for n in range(600)] + [(stations[n], float(n)) for n in range(5)] * 3
    learner = Encoded((OneHot("at", most=5),), ridge=0.01, unseen="quarantine")
    fitted = learner.fit(spark.createDataFrame(rows, "at string, target double"), ("at", "target"), None).parameters
    assert len(fitted["texts"]["at"]) == 300
    assert fitted["encodings"][0]["inputs"] == [f"at__station {n:03}" for n in range(1, 5)]
    given = np.array([["station 000"], ["station 299"], ["station 001"]], dtype=object)
    told = learner.score(fitted, given)["prediction"]
    assert told[0] == told[1] != told[2]
    assert learner.set_aside(fitted, np.array([["station 300"]], dtype=object)) == {
        0: "at is no category of training; found 'station 300'"
    }


@pytest.mark.spark
def test_what_is_no_category_is_refused_by_name(spark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = frame(spark, with_target(drawn(1, 60)))
    for made in (Number("day"), Bins("day"), (Number("day"), OneHot("day"))):
        learner = Encoded(made if isinstance(made, tuple) else (made,))
        with pytest.raises(DefinitionError, match=r"cannot read column 'day'; found string; expected a numeric column"):
            learner.fit(rows, ("day", "target"), None)
    dated = rows.selectExpr("current_date() AS day", "target")
    with pytest.raises(DefinitionError, match=r"cannot read column 'day'; found date"):
        Encoded((OneHot("day"),)).fit(dated, ("day", "target"), None)
    with pytest.raises(DefinitionError, match=r"column 'day' is a text to the learner.*found double.*train again"):
        as_numbers(rows.selectExpr("wind AS day"), ("day",), {"day": ["MO"]})
    monkeypatch.setattr(bounds, "MAX_CATEGORIES", 10)
    with pytest.raises(DefinitionError, match=r"'day' cannot be told apart by category; found more than 10 of them"):
        Encoded((OneHot("day"),)).fit(rows, ("day", "target"), None)


@pytest.mark.spark
@pytest.mark.parametrize("text", ODD)
def test_a_literal_is_the_text_and_nothing_is_read_into_it(text: str, spark: Any) -> None:
    assert spark.sql(f"SELECT {text_literal(text)}").first()[0] == text


def test_numbers_alone_are_no_objects() -> None:
    import pyarrow as pa

    plain = as_rows([pa.array([1, None]), pa.array([0.5, 2.0])])
    assert plain.dtype == np.float64
    assert coded({}, ("a", "b"), plain) is plain
    assert as_rows([pa.array(["MO", None]), pa.array([0.5, 2.0])]).tolist() == [["MO", 0.5], [None, 2.0]]
