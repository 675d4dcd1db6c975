"""Contributions as what they are, whole numbers in JSON, and their sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(left: Any, right: Any) -> Any:
    """Two trees of totals added up: lists place by place, objects key by key, a key that one lacks as it is.

    >>> merged({"n": 2, "sums": [1, 0]}, {"n": 1, "sums": [5, 5], "days": {"mon": 1}})
    {'n': 3, 'sums': [6, 5], 'days': {'mon': 1}}
    """
    if isinstance(left, Mapping):
        both = {key: merged(value, right[key]) if key in right else value for key, value in left.items()}
        return both | {key: value for key, value in right.items() if key not in left}
    if isinstance(left, list):
        return [merged(a, b) for a, b in zip(left, right, strict=True)]
    return left + right
