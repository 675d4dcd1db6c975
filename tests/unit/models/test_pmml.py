"""PMML says what the scorer says, to another tool, on every row; and is made as the standard has it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element, fromstring
from xml.parsers import expat

import numpy as np
import pytest
from pmml_evaluator import MADE, differences, evaluated, table

from headrace.models.cutoffs import CutOffs
from headrace.models.encoded import Encoded
from headrace.models.encoding import Bins, Cross, Number, OneHot
from headrace.models.kmeans import KMeans
from headrace.models.linear import LinearRegression
from headrace.models.logistic import LogisticRegression
from headrace.models.naive_bayes import NaiveBayes
from headrace.models.tokens import tables, weights

# Names that a document must escape, and those that it would like to have for itself.
NAMES = ("scaled_a", "a", "b <&\"' é", "score_0", "greatest")
NAMESPACE = "{http://www.dmg.org/PMML-4_4}"

Made = tuple[Any, dict[str, Any]]


def events(features: tuple[str, ...], random: np.random.Generator, **more: Any) -> dict[str, Any]:
    wide = len(features)
    spread = {"mean": random.normal(0, 1e3, wide).tolist(), "scale": (10 ** random.uniform(-3, 6, wide)).tolist()}
    return {"features": list(features), "target": "lead_0", **spread, **more}


def linear(random: np.random.Generator, features: tuple[str, ...] = NAMES) -> Made:
    more = {"coefficients": random.normal(0, 1, len(features)).tolist(), "intercept": float(random.normal())}
    return LinearRegression(features), events(features, random, target_mean=189.5, target_scale=181.4, **more)


def logistic(random: np.random.Generator, classes: int = 2, features: tuple[str, ...] = NAMES[:3]) -> Made:
    rows = 1 if classes == 2 else classes
    more = {
        "coefficients": random.normal(0, 1, (rows, len(features))).tolist(),
        "intercepts": random.normal(0, 1, rows).tolist(),
    }
    return LogisticRegression(features, classes=classes), events(features, random, classes=classes, **more)


def clusters(random: np.random.Generator, k: int = 6) -> Made:
    ends = [0.0, 1.0, -5.0, 1e-9, 7.0], [373.0, 210.0, -4.5, 2e-9, 7.0]
    centers = random.uniform(0, 1, (k, len(NAMES))).tolist()
    made = {"features": list(NAMES), "min": ends[0], "max": ends[1], "centers": centers}
    return KMeans(k), {**made, "labels": [*reversed(range(3, 3 + k))]}


def cutoffs(random: np.random.Generator, features: tuple[str, ...] = NAMES) -> Made:
    found = events(features, random)
    return CutOffs(features, k=1.5), found | {"center": found["mean"], "spread": found["scale"]}


def counted(random: np.random.Generator, model: str, features: tuple[str, ...] = NAMES, **rule: Any) -> Made:
    learner = NaiveBayes(features, model=model, classes=3, categories=40, **rule)
    samples = random.integers(0, 2 if model == "bernoulli" else 9, (60, len(features) + 1)).astype(float)
    samples[:, -1] %= 3
    counts = learner.contribution({}, samples)
    solved = tables(counts, features, 3, 1.0) if model == "categorical" else weights(counts, features, 3, 1.0, model)
    return learner, {"features": list(features), "target": "score_1", "classes": 3, **solved}


def encodings(random: np.random.Generator, model: str = "linear", **rule: Any) -> Made:
    """A number filled in and one that must be there, bins, categories and pairs of them."""
    columns = (Number("score_0", "mean"), Number("b"), Bins("b", 4), Bins("score_0", 3, "median"))
    learner = Encoded((*columns, OneHot("c"), Cross("c", "e")), model, **rule)
    fitted: list[dict[str, Any]] = [
        {"how": "number", "names": ["score_0"], "fill": 0.25, "inputs": ["n0"]},
        {"how": "number", "names": ["b"], "fill": None, "inputs": ["n1"]},
        {"how": "bins", "names": ["b"], "fill": None, "edges": [-0.5, 0.0, 2.0], "inputs": ["b1", "b2", "b3"]},
        {"how": "bins", "names": ["score_0"], "fill": -0.5, "edges": [0.0], "inputs": ["b4"]},
        {
            "how": "one_hot",
            "names": ["c"],
            "known": [[0.0], [1.0], [2.5]],
            "categories": [[0.0], [2.5]],
            "inputs": ["c1", "c2"],
        },
        {
            "how": "cross",
            "names": ["c", "e"],
            "known": [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [2.5, 0.0]],
            "categories": [[0.0, 1.0]],
            "inputs": ["x1"],
        },
    ]
    inputs = tuple(name for one in fitted for name in one["inputs"])
    _, inner = linear(random, inputs) if model == "linear" else logistic(random, features=inputs)
    inner |= {"mean": [0.5] * len(inputs), "scale": [2.0] * len(inputs)}
    read = {"features": ["score_0", "b", "c", "e"], "target": inner["target"]}
    return learner, {**read, "encodings": fitted, "model": inner}


def texts(random: np.random.Generator, **rule: Any) -> Made:
    """Categories that are texts, a pair of one with a number, and a number."""
    fitted: list[dict[str, Any]] = [
        {"how": "one_hot", "names": ["c"], "known": [[0.0], [1.0], [2.0]], "categories": [[0.0], [2.0]]},
        {
            "how": "cross",
            "names": ["c", "e"],
            "known": [[0.0, 1.0], [1.0, 0.5], [2.0, 0.5]],
            "categories": [[1.0, 0.5]],
        },
        {"how": "number", "names": ["score_0"], "fill": 0.25},
    ]
    for one in fitted:
        one["inputs"] = [f"{'_'.join(one['names'])}{n}" for n in range(len(one.get("categories", [0])))]
    _, inner = linear(random, tuple(name for one in fitted for name in one["inputs"]))
    learner = Encoded((OneHot("c"), Cross("c", "e"), Number("score_0", "mean")), **rule)
    known = {"c": ["", "R&D", "b <&\"' é"]}
    read = {"features": ["c", "e", "score_0"], "target": inner["target"], "texts": known}
    return learner, {**read, "encodings": fitted, "model": inner}


EVERY: dict[str, Callable[[np.random.Generator], Made]] = {
    "linear": linear,
    "linear of one": lambda random: linear(random, ("a",)),
    "logistic": logistic,
    "logistic of one": lambda random: logistic(random, features=("a",)),
    "multinomial logistic": lambda random: logistic(random, 7),
    "encoded": encodings,
    "encoded, fail": lambda random: encodings(random, unseen="fail"),
    "encoded, quarantine": lambda random: encodings(random, "logistic", unseen="quarantine"),
    "encoded texts": texts,
    "encoded texts, fail": lambda random: texts(random, unseen="fail"),
    "kmeans": clusters,
    "cutoffs": cutoffs,
    "cutoffs of one": lambda random: cutoffs(random, ("a",)),
    "multinomial": lambda random: counted(random, "multinomial"),
    "multinomial of one": lambda random: counted(random, "multinomial", ("a",)),
    "bernoulli": lambda random: counted(random, "bernoulli"),
    "keep": lambda random: counted(random, "categorical"),
    "fail": lambda random: counted(random, "categorical", unseen="fail"),
    "quarantine": lambda random: counted(random, "categorical", unseen="quarantine"),
}


def document(kind: str) -> bytes:
    learner, parameters = EVERY[kind](np.random.default_rng(1))
    return bytes(learner.pmml(parameters).to_bytes("mine <&>", 7, "0.1.0", MADE))


@pytest.mark.parametrize("kind", EVERY)
def test_every_row_is_answered_as_the_scorer_does(kind: str) -> None:
    random = np.random.default_rng(3)
    learner, parameters = EVERY[kind](random)
    wide = len(parameters["features"])
    held = {0: [None, "other", *parameters["texts"]["c"]]} if "texts" in parameters else {}
    if isinstance(learner, NaiveBayes):
        ordinary = random.integers(0, 2 if learner.model == "bernoulli" else 12, (500, wide)).astype(float)
    elif isinstance(learner, Encoded):
        ordinary = random.choice([-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 2.5, 7.0], (500, wide)).astype(object)
        for place, some in held.items():
            ordinary[:, place] = random.choice(np.array(some, dtype=object), 500)
    elif isinstance(learner, KMeans):
        ordinary = random.uniform(-0.5, 1.5, (500, wide)) * (np.array(parameters["max"]) - parameters["min"])
        ordinary += parameters["min"]
    else:
        ordinary = parameters["mean"] + random.normal(0, 3, (500, wide)) * parameters["scale"]
    assert differences(learner, parameters, table(4, wide, 1_000, ordinary, held)) == []


def test_of_classes_equally_likely_and_of_centres_equally_near_the_first_is_told() -> None:
    random = np.random.default_rng(5)
    learner, parameters = logistic(random, 4)
    parameters |= {"coefficients": [[0.0] * 3] * 4, "intercepts": [1.0, 2.0, 2.0, 1.0]}
    nearly = {**parameters, "intercepts": [0.0, 0.0, 1e-300, 0.0]}  # whose probabilities are equal
    rows = [[0.0, 1.0, 2.0]]
    assert differences(learner, parameters, rows) == differences(learner, nearly, rows) == []
    predictions = [
        evaluated(learner.pmml(each).to_bytes("mine", 1, "0", MADE), rows)[0]["prediction"]
        for each in (parameters, nearly)
    ]
    assert predictions == [1, 2]
    learner, parameters = clusters(random)
    parameters["centers"] = [parameters["centers"][at] for at in (0, 1, 1, 0, 0, 1)]
    assert differences(learner, parameters, random.uniform(-2, 2, (100, 5)).tolist()) == []


def test_a_far_mean_takes_no_digits() -> None:
    learner, parameters = linear(np.random.default_rng(6), ("a",))
    parameters |= {"mean": [1.7e9], "scale": [1e-3]}
    assert differences(learner, parameters, [[1.7e9 + place * 2**-20] for place in range(50)]) == []


def test_numbers_are_written_to_the_bit() -> None:
    learner, parameters = clusters(np.random.default_rng(7))
    parameters["centers"][0][:2] = [0.1 + 0.2, 5e-324]
    root = fromstring(learner.pmml(parameters).to_bytes("mine", 1, "0", MADE))
    read = [[float(each) for each in (array.text or "").split()] for array in root.iter(f"{NAMESPACE}Array")]
    assert read == parameters["centers"]


@pytest.mark.parametrize("kind", EVERY)
def test_a_document_is_the_same_bytes_says_whose_it_is_and_has_no_dtd(kind: str) -> None:
    written = document(kind)
    learner, parameters = EVERY[kind](np.random.default_rng(1))
    made = learner.pmml(parameters)
    assert made.to_bytes("mine <&>", 7, "0.1.0", MADE) == made.to_bytes("mine <&>", 7, "0.1.0", MADE) == written
    assert b"<!" not in written
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = lambda *_: pytest.fail("there is a DTD")
    parser.Parse(written, True)
    root = fromstring(written)
    header, model = root[0], root[2]
    assert header.attrib == {"description": "generation 7 of mine <&>", "modelVersion": "7"}
    assert [each.attrib.get("version") or each.text for each in header] == ["0.1.0", MADE.isoformat()]
    assert model.get("modelName") == "mine <&>"
    outputs = [field.get("name") for field in model.iter(f"{NAMESPACE}OutputField")]
    assert tuple(outputs) == learner.outputs


# Of the elements in use: what their content is, in order, and which attributes they must have.
# Source: the schema fragments of the PMML 4.4 specification, http://dmg.org/pmml/v4-4/.
_EXPRESSION = "(Constant|FieldRef|Apply|MapValues|NormDiscrete)"
_MODEL = "MiningSchema Output (Targets )?LocalTransformations "
GRAMMAR = {
    "PMML": ("Header DataDictionary (TreeModel|ClusteringModel|RegressionModel) ", "version"),
    "Header": ("Application Timestamp ", ""),
    "Application": ("", "name"),
    "Timestamp": ("", ""),
    "DataDictionary": ("(DataField )+", ""),
    "DataField": ("(Interval )*(Value )*", "name optype dataType"),
    "Interval": ("", "closure"),
    "Value": ("", "value"),
    "RegressionModel": (f"{_MODEL}(RegressionTable )+", "functionName"),
    "ClusteringModel": (
        f"{_MODEL}ComparisonMeasure (ClusteringField )+(Cluster )+",
        "functionName modelClass numberOfClusters",
    ),
    "TreeModel": (f"{_MODEL}Node ", "functionName"),
    "MiningSchema": ("(MiningField )+", ""),
    "MiningField": ("", "name"),
    "Output": ("(OutputField )+", ""),
    "OutputField": (f"({_EXPRESSION} )?", "name dataType"),
    "Targets": ("(Target )+", ""),
    "Target": ("", ""),
    "LocalTransformations": ("(DerivedField )*", ""),
    "DerivedField": (f"{_EXPRESSION} ", "name optype dataType"),
    "Apply": (f"({_EXPRESSION} )+", "function"),
    "FieldRef": ("", "field"),
    "Constant": ("", ""),
    "NormDiscrete": ("", "field value"),
    "MapValues": ("(FieldColumnPair )+InlineTable ", "outputColumn"),
    "FieldColumnPair": ("", "field column"),
    "InlineTable": ("(row )*", ""),
    "row": ("input output ", ""),
    "input": ("", ""),
    "output": ("", ""),
    "RegressionTable": ("(NumericPredictor )*", "intercept"),
    "NumericPredictor": ("", "name coefficient"),
    "ComparisonMeasure": ("squaredEuclidean ", "kind"),
    "squaredEuclidean": ("", ""),
    "ClusteringField": ("", "field"),
    "Cluster": ("Array ", ""),
    "Array": ("", "type"),
    "Node": ("(SimplePredicate|CompoundPredicate|True) (Node )*", ""),
    "SimplePredicate": ("", "field operator"),
    "CompoundPredicate": ("SimplePredicate (SimplePredicate )+", "booleanOperator"),
    "True": ("", ""),
}


@pytest.mark.parametrize("kind", EVERY)
def test_elements_are_in_the_order_of_the_standard_and_names_are_declared(kind: str) -> None:
    root = fromstring(document(kind))

    def local(element: Element) -> str:
        assert element.tag.startswith(NAMESPACE)
        return element.tag.removeprefix(NAMESPACE)

    for element in root.iter():
        content, attributes = GRAMMAR[local(element)]
        found = "".join(f"{local(child)} " for child in element)
        assert re.fullmatch(content, found), (local(element), found)
        assert set(attributes.split()) <= {*element.attrib}, local(element)
    declared = [each.attrib["name"] for tag in ("DataField", "DerivedField") for each in root.iter(NAMESPACE + tag)]
    assert len(declared) == len({*declared})
    naming = ("FieldRef", "NormDiscrete", "ClusteringField", "SimplePredicate", "FieldColumnPair")
    used = {each.attrib["field"] for tag in naming for each in root.iter(NAMESPACE + tag)}
    used |= {each.attrib["name"] for each in root.iter(f"{NAMESPACE}NumericPredictor")}
    assert used <= {*declared}


def test_a_change_of_a_parameter_is_found() -> None:
    learner, parameters = linear(np.random.default_rng(8))
    rows = [[1.0] * len(NAMES)]
    theirs = learner.pmml({**parameters, "intercept": parameters["intercept"] + 1e-6})
    told = evaluated(theirs.to_bytes("mine", 1, "0", MADE), rows)[0]["prediction"]
    ours = learner.score(parameters, np.array(rows))["prediction"][0]
    assert told == pytest.approx(ours + 1e-6 * parameters["target_scale"], rel=1e-12)
