"""How far what is served has moved from what a generation was trained on: the population stability index."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

BINS = 10
# An empty bin would make the index infinite; a ten thousandth stands for it.
_LEAST = 1e-4
_CATEGORIES = 20
_OTHER = object()


def stability(expected: Sequence[Any], found: Sequence[Any]) -> float | None:
    """The population stability index of one column, 0 for the same shares; None where either side has no value.

    Sum over bins of (q - p) ln(q / p), p and q the shares of the expected and of the found values; nulls are a bin.
    Numbers fall into tenths of the expected ones, other values into the most frequent twenty of them and the rest.
    By custom below 0.1 is little, beyond 0.25 much. Source: N. Siddiqi, Credit Risk Scorecards (2006), chapter 9.

    >>> stability([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    0.0
    >>> round(stability(["a", "a", "b", "b"], ["a", "b", "b", "b"]), 4)
    0.2747
    """
    if not expected or not found:
        return None
    numeric = all(_is_number(value) or value is None for value in (*expected, *found))
    before, after = (_by_tenths if numeric else _by_category)(expected, found)
    index = 0.0
    for bin_ in before.keys() | after.keys():
        p = max(before[bin_] / len(expected), _LEAST)
        q = max(after[bin_] / len(found), _LEAST)
        index += (q - p) * math.log(q / p)
    return index


def drift(expected: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The index of each column of rows, the greatest first; columns that either side lacks, or lists, are left out.

    >>> drift([{"n": 1}, {"n": 2}], [{"n": 1}, {"n": 2}])
    {'n': 0.0}
    """
    names = [name for name in (expected[0] if expected else ()) if found and name in found[0]]
    indices = {}
    for name in names:
        sides = [[row.get(name) for row in rows] for rows in (expected, found)]
        if any(isinstance(value, list) for side in sides for value in side):
            continue
        index = stability(*sides)
        if index is not None:
            indices[name] = round(index, 6)
    return dict(sorted(indices.items(), key=lambda item: -item[1]))


def _by_tenths(expected: Sequence[Any], found: Sequence[Any]) -> tuple[Counter[Any], Counter[Any]]:
    known = np.array([value for value in expected if value is not None], dtype=np.float64)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if known.size else known

    def binned(values: Sequence[Any]) -> Counter[Any]:
        numbers = np.array([value for value in values if value is not None], dtype=np.float64)
        counts: Counter[Any] = Counter(np.searchsorted(edges, numbers, side="left").tolist())
        counts[None] = len(values) - numbers.size
        return counts

    return binned(expected), binned(found)


def _by_category(expected: Sequence[Any], found: Sequence[Any]) -> tuple[Counter[Any], Counter[Any]]:
    kept = {value for value, _ in Counter(expected).most_common(_CATEGORIES)}
    before, after = (Counter(value if value in kept else _OTHER for value in side) for side in (expected, found))
    return before, after


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
