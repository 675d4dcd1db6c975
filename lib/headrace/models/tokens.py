"""Counts of tokens by class, and the logarithms of their smoothed shares: what naive Bayes is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import Any, Literal
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from headrace.models.pmml import Document, among, apply, between, classified, constant, looked_up, product, ref

Model = Literal["multinomial", "bernoulli", "categorical"]
# The number that inputs of a model are below.
LIMITS: Mapping[str, float] = {"multinomial": 2.0**31, "bernoulli": 2.0}

Counts = dict[str, int]
_Whole = npt.NDArray[np.int64]


def of_columns(rows: _Whole, features: Sequence[str]) -> Counts:
    """The sum of each column under its own name.

    >>> of_columns(np.array([[2, 0], [1, 0]]), ["cat", "dog"])
    {'cat': 3}
    """
    return {name: int(total) for name, total in zip(features, rows.sum(axis=0), strict=True) if total}


def of_categories(rows: _Whole, features: Sequence[str]) -> Counts:
    """The rows in which each column holds each number.

    >>> of_categories(np.array([[2, 0], [1, 0]]), ["day", "hour"])
    {'day=1': 1, 'day=2': 1, 'hour=0': 2}
    """
    counts: Counts = {}
    for place, name in enumerate(features):
        found = np.unique(rows[:, place], return_counts=True)
        counts |= {f"{name}={code}": times for code, times in zip(*(part.tolist() for part in found), strict=True)}
    return counts


def by_class(
    rows: _Whole, classes: _Whole, features: Sequence[str], count: Callable[[_Whole, Sequence[str]], Counts]
) -> dict[str, Any]:
    """samples (class -> how many) and tokens (class -> token -> count), without zeros."""
    present = np.unique(classes).tolist()
    tokens = {str(each): count(rows[classes == each], features) for each in present}
    return {
        "samples": {str(each): int((classes == each).sum()) for each in present},
        "tokens": {each: counts for each, counts in tokens.items() if counts},
    }


def _priors(counts: Mapping[str, Any], classes: int, smoothing: float) -> list[float]:
    # Source: Spark ML, which smooths the shares of the classes as well.
    samples = [counts["samples"].get(str(each), 0) for each in range(classes)]
    whole = log(sum(samples) + classes * smoothing)
    return [log(found + smoothing) - whole for found in samples]


def weights(
    counts: Mapping[str, Any], features: Sequence[str], classes: int, smoothing: float, model: Model
) -> dict[str, Any]:
    """constants and weights, of which a class's score is the constant and the weighted counts.

    Source: C. Manning et al., Introduction to Information Retrieval (2008), sections 13.2 and 13.3, with `smoothing`
    for 1.
    """
    constants, rows = [], []
    for each, prior in enumerate(_priors(counts, classes, smoothing)):
        held, samples = counts["tokens"].get(str(each), {}), counts["samples"].get(str(each), 0)
        found = [held.get(name, 0) for name in features]
        if model == "bernoulli":
            present = [log(one + smoothing) for one in found]
            absent = [log(samples - one + smoothing) for one in found]
            whole = log(samples + 2 * smoothing)
            rows.append([one - other for one, other in zip(present, absent, strict=True)])
            constants.append(prior + sum(other - whole for other in absent))
        else:
            whole = log(sum(found) + len(features) * smoothing)
            rows.append([log(one + smoothing) - whole for one in found])
            constants.append(prior)
    return {"constants": constants, "weights": rows}


def tables(counts: Mapping[str, Any], features: Sequence[str], classes: int, smoothing: float) -> dict[str, Any]:
    """constants, tables and unseen, of which a class's score is the constant and one number a feature.

    A share is a category's count over the class's samples, each smoothed, over the categories that occurred.
    """
    by_feature, unseen = [], []
    for name in features:
        held = [counts["tokens"].get(str(each), {}) for each in range(classes)]
        tokens = (token.rpartition("=") for own in held for token in own)
        codes = sorted({int(code) for feature, _, code in tokens if feature == name})
        wholes = [log(counts["samples"].get(str(each), 0) + len(codes) * smoothing) for each in range(classes)]
        by_feature.append(
            {
                str(code): [log(h.get(f"{name}={code}", 0) + smoothing) - w for h, w in zip(held, wholes, strict=True)]
                for code in codes
            }
        )
        unseen.append([log(smoothing) - whole for whole in wholes])
    return {"constants": _priors(counts, classes, smoothing), "tables": by_feature, "unseen": unseen}


def counts_as_pmml(parameters: Mapping[str, Any], limit: float) -> Document:
    """Naive Bayes of `weights`: no result for what is not a whole number from 0 up, below the limit."""
    names = parameters["features"]

    def score(start: float, row: Sequence[float]) -> Element:
        whole = [apply("greaterOrEqual", apply("floor", ref(name)), ref(name)) for name in names]
        return apply(
            "if",
            apply("and", *whole) if len(whole) > 1 else whole[0],
            apply("sum", constant(start), *map(product, names, row)),
        )

    scores = list(map(score, parameters["constants"], parameters["weights"]))
    return classified([between(name, 0.0, limit - 1) for name in names], {}, scores, parameters["target"])


def categories_as_pmml(parameters: Mapping[str, Any], categories: int | None) -> Document:
    """Naive Bayes of `tables`. categories: how many there may be; None where the seen ones alone have a result.

    PMML's own NaiveBayesModel takes counts, whose zeros it replaces by a threshold instead of smoothing every count.
    """
    taken = [map(int, table) if categories is None else range(categories) for table in parameters["tables"]]
    shares = {
        name: {float(code): table.get(str(code), rest) for code in codes}
        for name, codes, table, rest in zip(
            parameters["features"], taken, parameters["tables"], parameters["unseen"], strict=True
        )
    }

    def score(place: int, start: float) -> Element:
        of_class = {name: {code: told[place] for code, told in table.items()} for name, table in shares.items()}
        return apply("sum", constant(start), *(looked_up(name, table) for name, table in of_class.items()))

    scores = [score(place, start) for place, start in enumerate(parameters["constants"])]
    return classified([among(name, table) for name, table in shares.items()], {}, scores, parameters["target"])
