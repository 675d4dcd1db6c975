"""PMML as another tool scores it, PMML4S, and as the learner's own scorer does."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np

from headrace.errors import InputError
from headrace.local.java import find_java
from headrace.models.learner import OfCategories

Row = Sequence[float | str | None]
MADE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_LARGEST = 1.7976931348623157e308
# Of every kind that can go wrong: signs of zero, the smallest and the largest, what no double's square holds, what is
# no number, whole numbers and just not, the ends of what naive Bayes takes.
EXTREMES: list[float | None] = [
    None, float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 5e-324, -1e-300, 0.5, 1 + 2**-52, -1.0, 39.0, 40.0, 1e9,
    -1e12, 2.0**31 - 1, 2.0**31, 1e16, 1e149, 1e151, 1.3e154, 1.4e154, -1e200, _LARGEST, -_LARGEST,
]  # fmt: skip


@cache
def _models() -> Any:
    """PMML4S in a JVM of its own, which ends with this process."""
    from pypmml import Model
    from pypmml.base import PMMLContext

    java = find_java(Path(gettempdir()) / "headrace-java")
    PMMLContext.getOrCreate(java_path=str(java.executable))
    return Model


def evaluated(document: bytes, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The outputs of each row by name; None for what has no result."""
    model = _models().fromString(document.decode())
    names = list(model.outputNames)
    # In JSON, all at once; but JSON has no numbers that are not finite, which it says are null.
    plain = [place for place, row in enumerate(rows) if all(map(_in_json, row))]
    asked = {"columns": list(model.inputNames), "data": [rows[place] for place in plain]}
    told = dict(zip(plain, json.loads(model.predict(json.dumps(asked)))["data"], strict=True))
    found = []
    for place, row in enumerate(rows):
        values = told[place] if None not in told.get(place, [None]) else model.predict([*row])
        found.append({name: None if _missing(value) else value for name, value in zip(names, values, strict=True)})
    return found


def differences(learner: Any, parameters: Mapping[str, Any], rows: Sequence[Row]) -> list[Any]:
    """The rows that PMML4S answers otherwise than the scorer: beyond 1e-9, or where one alone has a result."""
    document = learner.pmml(parameters).to_bytes("mine", 1, "0", MADE)
    found = []
    for row, told in zip(rows, evaluated(document, rows), strict=True):
        assert tuple(told) == learner.outputs
        ours = _scored(learner, parameters, row)
        if not all(_alike(ours[name], told[name]) for name in learner.outputs):
            found.append((row, ours, told))
    return found


def table(
    seed: int, width: int, count: int, ordinary: np.ndarray, texts: Mapping[int, Sequence[str | None]] | None = None
) -> list[Row]:
    """Ordinary rows, every extreme in every place of one, and so many rows drawn from both; `texts` by place."""
    random = np.random.default_rng(seed)
    rows: list[Row] = ordinary.tolist()
    held = texts or {}
    for place in range(width):
        rows += [[*rows[0][:place], value, *rows[0][place + 1 :]] for value in held.get(place, EXTREMES)]
    rows += [[rows[0][place] if place in held else value for place in range(width)] for value in EXTREMES]
    usual = [value for row in ordinary.tolist() for place, value in enumerate(row) if place not in held]
    pools = [held.get(place) or [*EXTREMES[4:], *usual] for place in range(width)]
    return rows + [[pool[random.integers(0, len(pool))] for pool in pools] for _ in range(count)]


def _scored(learner: Any, parameters: Mapping[str, Any], row: Row) -> dict[str, Any]:
    """The scorer's answer; nothing for a row that it refuses or sets aside, or of which nothing finite comes out."""
    has_text = any(isinstance(value, str) for value in row)
    inputs = np.array([[math.nan if value is None else value for value in row]], dtype=object if has_text else float)
    nothing = dict.fromkeys(learner.outputs)
    if isinstance(learner, OfCategories) and learner.set_aside(parameters, inputs):
        return nothing
    try:
        with np.errstate(all="ignore"):
            scored = learner.score(parameters, inputs)
    except InputError:
        return nothing
    told = {name: values[0].item() for name, values in scored.items()}
    return nothing if any(_missing(value) for value in told.values()) else told


def _alike(ours: Any, theirs: Any) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    if isinstance(ours, float):
        return math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-9)
    return bool((str(ours).lower() if isinstance(ours, bool) else ours) == theirs)


def _in_json(value: float | str | None) -> bool:
    return value is None or isinstance(value, str) or math.isfinite(value)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
