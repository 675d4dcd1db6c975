"""Records scored one by one: each with its outputs, or with the reason why it has none."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.errors import InputError
from headrace.models.learner import Learner, OfCategories
from headrace.models.texts import coded, known_texts

Floats = npt.NDArray[np.float64]


def score_each(
    learner: Learner, parameters: Mapping[str, Any], rows: npt.NDArray[Any], names: Sequence[str]
) -> tuple[dict[str, Floats], dict[int, str]]:
    """The outputs of the rows as doubles, not a number where there is none, and by row why there is none.

    rows: the learner's inputs, columns named `names`, as `score` takes them. The numbers are those of `Learner.score`,
    to the last bit, whichever rows stand beside one. Raises InputError where the learner's rule for unseen categories
    is `fail` and a row has one.
    """
    optional, texts = getattr(learner, "optional", ()), known_texts(parameters)
    numbers = coded(texts, names, rows)
    refused = _not_finite(numbers, [None if name in optional else name for name in names], texts)
    if isinstance(learner, OfCategories):
        kept = np.array([row for row in range(len(rows)) if row not in refused], dtype=np.int64)
        refused |= {int(kept[row]): why for row, why in learner.set_aside(parameters, rows[kept]).items()}
    kept = np.array([row for row in range(len(rows)) if row not in refused], dtype=np.int64)
    told = {name: np.full(len(rows), np.nan) for name in learner.outputs}
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # looked at below
            made = learner.score(parameters, rows[kept])
        for name, values in made.items():
            told[name][kept] = values
    except InputError:
        if getattr(learner, "unseen", None) == "fail":
            raise
        for row in kept.tolist():
            try:
                for name, values in learner.score(parameters, rows[row : row + 1]).items():
                    told[name][row] = values[0]
            except InputError as error:
                refused[row] = error.what
    for name, values in told.items():
        for row in np.flatnonzero(~np.isfinite(values)).tolist():
            refused.setdefault(row, f"no finite {name}")
    return told, refused


def _not_finite(rows: Floats, names: Sequence[str | None], texts: Container[str]) -> dict[int, str]:
    """By row the first column that is not finite; columns without a name may be not a number."""
    finite = np.isfinite(rows) | (np.isnan(rows) & np.array([name is None for name in names]))
    bad = np.flatnonzero(~finite.all(axis=1)).tolist()
    first = {row: names[int(np.argmin(finite[row]))] for row in bad}
    return {row: f"{name} is null or no {'text' if name in texts else 'finite number'}" for row, name in first.items()}
