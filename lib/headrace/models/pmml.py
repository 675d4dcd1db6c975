"""Fitted models as PMML 4.4, which tools of others score: the elements that learners share, and the document.

Scaling and scores are written out as arithmetic, in the scorer's order, and not left to an evaluator's NormContinuous
and predictors: so digits are lost nowhere, and the class of equal scores is the scorer's. An input that is missing, not
finite or not what the learner takes gives an invalid result, as the scorer refuses it.

Source: Data Mining Group, PMML 4.4 (http://dmg.org/pmml/v4-4/GeneralStructure.html).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from functools import partial, reduce
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

VERSION = "4.4"
_NAMESPACE = f"http://www.dmg.org/PMML-{VERSION.replace('.', '_')}"
# Beyond it a scaled coordinate's square may be no double. All centres are equally far from there, so that held to it
# the coordinate has the same nearest centre, the first.
_FARTHEST = 1e150


@dataclass(frozen=True)
class Document:
    """A model and the fields it reads."""

    fields: tuple[Element, ...]
    model: Element

    def to_bytes(self, name: str, generation: int, code_version: str, created_at: datetime) -> bytes:
        """The document in UTF-8, the same bytes of the same generation; without a DTD."""
        root = Element("PMML", {"xmlns": _NAMESPACE, "version": VERSION})
        described = {"description": f"generation {generation} of {name}", "modelVersion": str(generation)}
        header = SubElement(root, "Header", described)
        SubElement(header, "Application", {"name": "headrace", "version": code_version})
        SubElement(header, "Timestamp").text = created_at.isoformat()
        dictionary = SubElement(root, "DataDictionary", {"numberOfFields": str(len(self.fields))})
        dictionary.extend(self.fields)
        model = Element(self.model.tag, {"modelName": name, **self.model.attrib})
        model.extend(self.model)
        root.append(model)
        root = deepcopy(root)  # `indent` changes it
        indent(root, space=" ")
        written: bytes = tostring(root, encoding="UTF-8", xml_declaration=True)
        return written + b"\n"


def ref(field: str) -> Element:
    """A field's value."""
    return Element("FieldRef", {"field": field})


def constant(value: float) -> Element:
    """A number, to the bit.

    >>> constant(0.1).text
    '0.1'
    """
    made = Element("Constant", {"dataType": "double"})
    made.text = repr(float(value))
    return made


def apply(function: str, *arguments: Element) -> Element:
    """A built-in function of expressions."""
    return _with("Apply", {"function": function}, arguments)


def away(field: str, centre: float, scale: float) -> Element:
    """How far a field is from the centre, in units of the scale."""
    return apply("/", apply("-", ref(field), constant(centre)), constant(scale))


def product(field: str, weight: float) -> Element:
    """A field times its weight."""
    return apply("*", ref(field), constant(weight))


def added(start: float, terms: Iterable[Element]) -> Element:
    """The number and the terms, each added in its turn; nothing where one is infinity times 0, which `sum` ignores."""
    return reduce(partial(apply, "+"), terms, constant(start))


def looked_up(field: str, numbers: Mapping[float, float]) -> Element:
    """The number that a field's value stands for."""
    made = Element("MapValues", {"outputColumn": "output", "dataType": "double"})
    SubElement(made, "FieldColumnPair", {"field": field, "column": "input"})
    table = SubElement(made, "InlineTable")
    for value, number in numbers.items():
        row = SubElement(table, "row")
        SubElement(row, "input").text = repr(float(value))
        SubElement(row, "output").text = repr(float(number))
    return made


def named(word: str, expressions: Mapping[str, Element], fields: Iterable[Element]) -> dict[str, Element]:
    """Derived fields by name: the word and the key, under another word where a field's name begins with it.

    >>> list(named("scaled_", {"wind": ref("wind")}, [finite("wind"), finite("scaled_wind")]))
    ['_scaled_wind']
    """
    taken = [field.attrib["name"] for field in fields]
    while any(name.startswith(word) for name in taken):
        word = f"_{word}"
    return {
        word + key: _with("DerivedField", {"name": word + key, "optype": "continuous", "dataType": "double"}, [made])
        for key, made in expressions.items()
    }


def scaled_fields(parameters: Mapping[str, Any]) -> tuple[list[Element], dict[str, Element]]:
    """The features, and of the fields in scaled units that are derived from them."""
    fields = [finite(name) for name in parameters["features"]]
    each = zip(parameters["features"], parameters["mean"], parameters["scale"], strict=True)
    return fields, named(
        "scaled_",
        {name: away(name, mean, scale) for name, mean, scale in each},
        [*fields, finite(parameters["target"])],
    )


def finite(name: str) -> Element:
    """A field of finite numbers."""
    return between(name, -sys.float_info.max, sys.float_info.max)


def between(name: str, least: float, most: float) -> Element:
    """A field of numbers from the least to the most."""
    margins = {"leftMargin": repr(least), "rightMargin": repr(most)}
    return _with(
        "DataField",
        {"name": name, "optype": "continuous", "dataType": "double"},
        [Element("Interval", {"closure": "closedClosed", **margins})],
    )


def among(name: str, values: Iterable[float], data_type: str = "double") -> Element:
    """A field of categories. Doubles, unless it is the target: an evaluator may make 0.5 the integer 0."""
    categories = [Element("Value", {"value": repr(value)}) for value in values]
    return _with("DataField", {"name": name, "optype": "categorical", "dataType": data_type}, categories)


def regressed(
    fields: Sequence[Element],
    derived: Mapping[str, Element],
    intercept: float,
    weights: Sequence[float],
    *,
    target: str,
    rescale: tuple[float, float],
) -> Document:
    """A number: the intercept and the weighted derived fields, times the first of `rescale` and plus the second."""
    factor, shift = map(repr, rescale)
    rescaled = Element("Target", {"field": target, "rescaleFactor": factor, "rescaleConstant": shift})
    return _document(
        Element("RegressionModel", {"functionName": "regression", "targetFieldName": target}),
        fields,
        [_output("prediction", "predictedValue")],
        [
            _with("Targets", {}, [rescaled]),
            _with("LocalTransformations", {}, derived.values()),
            _table(intercept, dict(zip(derived, weights, strict=True))),
        ],
        finite(target),
    )


def classified(
    fields: Sequence[Element], derived: Mapping[str, Element], scores: Sequence[Element], target: str
) -> Document:
    """Probabilities of classes, numbered from 0 up, and the likeliest one, the first of equal scores.

    scores: the logarithm of each class's probability, but for a constant that all share.
    """
    told = among(target, range(len(scores)), "integer")
    others = [*fields, told]
    own = named("score_", {str(each): score for each, score in enumerate(scores)}, others)
    (greatest,) = best = named("greatest", {"": apply("max", *map(ref, own))}, others)
    # None is above 0, so that no evaluator's exponential overflows, and one is 0.
    leads = named("lead_", {str(each): apply("-", ref(name), ref(greatest)) for each, name in enumerate(own)}, others)
    there = apply("and", *(apply("isNotMissing", ref(lead)) for lead in leads))
    # A class that does not lead is missing; `min` ignores what is missing.
    leading = (apply("greaterOrEqual", ref(lead), constant(0)) for lead in leads)
    likeliest = apply("min", *(apply("if", lead, constant(each)) for each, lead in enumerate(leading)))
    outputs = [_output(f"probability_{each}", "probability", value=str(each)) for each in range(len(scores))]
    outputs.append(_output("prediction", "transformedValue", [apply("if", there, likeliest)], optype="categorical"))
    tables = [_table(0.0, {lead: 1.0}, {"targetCategory": str(each)}) for each, lead in enumerate(leads)]
    attributes = {"functionName": "classification", "normalizationMethod": "softmax", "targetFieldName": target}
    return _document(
        Element("RegressionModel", attributes),
        fields,
        outputs,
        [
            _with("LocalTransformations", {}, [*derived.values(), *own.values(), *best.values(), *leads.values()]),
            *tables,
        ],
        told,
    )


def clustered(
    fields: Sequence[Element],
    coordinates: Mapping[str, Element],
    centres: Sequence[Sequence[float]],
    labels: Sequence[int],
) -> Document:
    """The label of the centre nearest to the coordinates, the first of equally near ones."""
    near = {
        name: apply("max", apply("min", made, constant(_FARTHEST)), constant(-_FARTHEST))
        for name, made in coordinates.items()
    }
    derived = named("scaled_", near, fields)
    measure = _with(
        "ComparisonMeasure", {"kind": "distance", "compareFunction": "absDiff"}, [Element("squaredEuclidean")]
    )
    clusters = []
    for centre, label in zip(centres, labels, strict=True):
        cluster = Element("Cluster", {"id": str(label), "name": str(label)})
        SubElement(cluster, "Array", {"n": str(len(centre)), "type": "real"}).text = " ".join(map(repr, centre))
        clusters.append(cluster)
    attributes = {"functionName": "clustering", "modelClass": "centerBased", "numberOfClusters": str(len(centres))}
    return _document(
        Element("ClusteringModel", attributes),
        fields,
        [_output("cluster", "predictedValue", optype="categorical")],
        [
            _with("LocalTransformations", {}, derived.values()),
            measure,
            *(Element("ClusteringField", {"field": name}) for name in derived),
            *clusters,
        ],
    )


def flagged(
    fields: Sequence[Element], deviations: Mapping[str, Element], above: float, outputs: Sequence[str]
) -> Document:
    """Derived fields as all outputs but the last, which is "true" or "false": whether one is above the number."""
    derived = named("deviations_", deviations, fields)
    *names, flag = outputs
    beyond = [
        Element("SimplePredicate", {"field": name, "operator": "greaterThan", "value": repr(above)}) for name in derived
    ]
    either = beyond[0] if len(beyond) == 1 else _with("CompoundPredicate", {"booleanOperator": "or"}, beyond)
    leaves = [_with("Node", {"score": "true"}, [either]), _with("Node", {"score": "false"}, [Element("True")])]
    told = [_output(output, "transformedValue", [ref(name)]) for output, name in zip(names, derived, strict=True)]
    return _document(
        Element("TreeModel", {"functionName": "classification"}),
        fields,
        [*told, _output(flag, "predictedValue", optype="categorical", dataType="string")],
        [_with("LocalTransformations", {}, derived.values()), _with("Node", {}, [Element("True"), *leaves])],
    )


def _document(
    model: Element,
    fields: Sequence[Element],
    outputs: Sequence[Element],
    content: Iterable[Element],
    target: Element | None = None,
) -> Document:
    schema = SubElement(model, "MiningSchema")
    for field in fields:
        # What the scorer refuses by name has no result.
        treated = {"missingValueTreatment": "returnInvalid", "invalidValueTreatment": "returnInvalid"}
        SubElement(schema, "MiningField", {"name": field.attrib["name"], "usageType": "active", **treated})
    if target is not None:
        SubElement(schema, "MiningField", {"name": target.attrib["name"], "usageType": "target"})
    model.append(_with("Output", {}, outputs))
    model.extend(content)
    return Document((*fields, *([] if target is None else [target])), model)


def _output(name: str, feature: str, children: Iterable[Element] = (), **attributes: str) -> Element:
    """A double, or what `attributes` say: no integer or boolean, as an evaluator may have no missing ones of these."""
    told = {"name": name, "optype": "continuous", "dataType": "double", "feature": feature}
    return _with("OutputField", told | attributes, children)


def _table(intercept: float, weights: Mapping[str, float], attributes: Mapping[str, str] | None = None) -> Element:
    predictors = (
        Element("NumericPredictor", {"name": name, "coefficient": repr(weight)}) for name, weight in weights.items()
    )
    return _with("RegressionTable", {"intercept": repr(intercept), **(attributes or {})}, predictors)


def _with(tag: str, attributes: Mapping[str, str], children: Iterable[Element]) -> Element:
    made = Element(tag, dict(attributes))
    made.extend(children)
    return made
