"""Encoded columns in PMML: what `encoding` makes of them, under the document of the model that reads it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import reduce
from typing import Any
from xml.etree.ElementTree import Element

from headrace.errors import InputError
from headrace.models.pmml import Document, apply, constant, finite, named, ref
from headrace.models.texts import Texts

# Source: XML 1.0, Char (https://www.w3.org/TR/xml/#charsets).
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def over_columns(
    columns: Sequence[str],
    optional: Sequence[str],
    fitted: Sequence[Mapping[str, Any]],
    target: str,
    model: Callable[[tuple[str, ...]], Document],
    *,
    texts: Texts,
    refuses_unseen: bool,
) -> Document:
    """The document of a model whose inputs are made of the columns as the fitted encodings say.

    optional: the columns that may be missing. model: its document over inputs of these names. texts: the known ones of
    the columns that are texts. refuses_unseen: whether a category that no sample of training had gives no result, and
    not that of the most frequent one.
    Raises InputError for a text that XML does not hold.
    """
    fields = [_text_field(name) if name in texts else finite(name) for name in columns]
    others = [*fields, finite(target)]
    made = [expression for one in fitted for expression in _inputs(one, texts)]
    known = [_is_known(one, texts) for one in fitted if "known" in one] if refuses_unseen else []
    guards = named("known_", {"": apply("if", _all(known), constant(0))}, others) if known else {}
    for name in guards:
        # 0, or missing: then there is no result.
        made[0] = apply("+", made[0], ref(name))
    inputs = named("input_", {str(place): one for place, one in enumerate(made)}, others)
    inner = model(tuple(inputs))
    return _read(inner, fields, [*guards.values(), *inputs.values()], {*inputs}, {*optional})


def _inputs(one: Mapping[str, Any], texts: Texts) -> list[Element]:
    """The numbers that an encoding makes, in the order of its inputs."""
    if one["how"] not in ("number", "bins"):
        return [_flag(_all(_same(one["names"], category, texts))) for category in one["categories"]]
    (name,) = one["names"]

    def value() -> Element:
        if one["fill"] is None:
            return ref(name)
        return apply("if", apply("isMissing", ref(name)), constant(one["fill"]), ref(name))

    if one["how"] == "number":
        return [value()]
    at_least = [apply("greaterOrEqual", value(), constant(edge)) for edge in one["edges"]]
    below = [[apply("lessThan", value(), constant(edge))] for edge in one["edges"][1:]]
    return [_flag(_all([low, *high])) for low, high in zip(at_least, [*below, []], strict=True)]


def _is_known(one: Mapping[str, Any], texts: Texts) -> Element:
    return reduce(_or, (_all(_same(one["names"], category, texts)) for category in one["known"]))


def _same(names: Sequence[str], category: Sequence[float], texts: Texts) -> list[Element]:
    return [
        _is_text(name, texts[name][int(code)]) if name in texts else apply("equal", ref(name), constant(code))
        for name, code in zip(names, category, strict=True)
    ]


def _text_field(name: str) -> Element:
    # Without its values: an evaluator may take any other for invalid, and it is for `known_` to say.
    return Element("DataField", {"name": name, "optype": "categorical", "dataType": "string"})


def _is_text(name: str, text: str) -> Element:
    found = _NOT_IN_XML.search(text)
    if found:
        raise InputError(
            f"a text of {name!r} cannot be exported as PMML",
            found=f"{text!r}, with {found[0]!r}",
            expected="characters that XML holds",
            do="let `prepare` replace them",
        )
    # Not a constant: an evaluator may read one to its first escaped character.
    return apply("equal", Element("NormDiscrete", {"field": name, "value": text}), constant(1))


def _flag(condition: Element) -> Element:
    return apply("if", condition, constant(1), constant(0))


def _all(conditions: Sequence[Element]) -> Element:
    return conditions[0] if len(conditions) == 1 else apply("and", *conditions)


def _or(left: Element, right: Element) -> Element:
    """Either; one flat list of them, however many."""
    if left.attrib.get("function") == "or":
        left.append(right)
        return left
    return apply("or", left, right)


def _read(
    inner: Document, fields: Sequence[Element], derived: Iterable[Element], replaced: set[str], optional: set[str]
) -> Document:
    """The document with its fields derived from others."""
    model = deepcopy(inner.model)
    schema, derivations = model.find("MiningSchema"), model.find("LocalTransformations")
    assert schema is not None  # noqa: S101 - of our own making
    assert derivations is not None  # noqa: S101 - of our own making
    _renamed(model, {field.attrib["name"] for field in fields})
    for field in [one for one in schema if one.attrib["name"] in replaced]:
        schema.remove(field)
    for place, field in enumerate(fields):
        name = field.attrib["name"]
        treated = {"invalidValueTreatment": "returnInvalid"}
        if name not in optional:
            treated["missingValueTreatment"] = "returnInvalid"
        schema.insert(place, Element("MiningField", {"name": name, "usageType": "active", **treated}))
    for place, field in enumerate(derived):
        derivations.insert(place, field)
    told = [one for one in inner.fields if one.attrib["name"] not in replaced]
    return Document((*fields, *told), model)


def _renamed(model: Element, taken: set[str]) -> None:
    """Give the derived fields of a model other names than these, which it did not know."""
    names = {one.attrib["name"] for one in model.iter("DerivedField")}
    others = {}
    for name in names & taken:
        other = name
        while other in names | taken:
            other = f"_{other}"
        others[name] = other
    for element in model.iter():
        key = {"DerivedField": "name", "NumericPredictor": "name", "FieldRef": "field"}.get(element.tag, "")
        if element.get(key) in others:
            element.set(key, others[element.attrib[key]])
