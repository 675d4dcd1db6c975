"""Texts among a learner's inputs: the known ones of each column, and their codes, which are their places.

Parameters tell them under `texts`, sorted, by column; what they do not name is a number. Rows that hold texts are an
array of objects, `str` where the column is a text; what cannot be told from a null is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from headrace.errors import DefinitionError, InputError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

Texts = Mapping[str, Sequence[str]]

# Of one column, or of two together. Readers get them in one item of the store, which holds 400 KB.
MAX_CATEGORIES = 2_000
UNSEEN = -1.0


def known_texts(parameters: Mapping[str, Any]) -> Texts:
    """The known texts by column, from a learner's parameters; none of a learner that reads numbers alone.

    >>> known_texts({"features": ["hour"]})
    {}
    """
    texts: Texts = parameters.get("texts", {})
    return texts


def found_texts(samples: DataFrame, names: Iterable[str]) -> dict[str, list[str]]:
    """Every text of each column, sorted. Raises DefinitionError for a column that has too many to be categories."""
    found = {}
    for name in names:
        rows = samples.select(name).distinct().limit(MAX_CATEGORIES + 1).collect()
        require_few(len(rows), name)
        found[name] = sorted(row[0] for row in rows)
    return found


def require_few(count: int, *names: str) -> None:
    """DefinitionError where columns, of which one is a text, have more categories than can be kept."""
    if count > MAX_CATEGORIES:
        raise DefinitionError(
            f"{' and '.join(map(repr, names))} cannot be told apart by category",
            found=f"more than {MAX_CATEGORIES:,} of them",
            expected=f"at most {MAX_CATEGORIES:,}",
            do="make fewer of them in `prepare`, such as a group of them or a prefix",
        )


def coded(texts: Texts, names: Sequence[str], rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """rows x columns named `names` as doubles: a known text is its code, another -1, what is null or no text NaN.

    >>> rows = np.array([["MO", 1.0], ["XX", 2.0], [None, None]], dtype=object)
    >>> coded({"weekday": ["FR", "MO"]}, ["weekday", "hour"], rows).tolist()
    [[1.0, 1.0], [-1.0, 2.0], [nan, nan]]
    """
    if not texts:
        return np.asarray(rows, dtype=np.float64)
    made = np.empty(rows.shape, dtype=np.float64)
    for place, name in enumerate(names):
        if name in texts:
            codes = {text: float(code) for code, text in enumerate(texts[name])}
            values = rows[:, place].tolist()
            made[:, place] = [codes.get(one, UNSEEN) if isinstance(one, str) else math.nan for one in values]
        else:
            made[:, place] = rows[:, place]
    return made


def as_rows(columns: Iterable[pa.Array]) -> npt.NDArray[Any]:
    """Columns side by side: doubles, or objects where one of them holds texts."""
    made = np.column_stack([column.to_numpy(zero_copy_only=False) for column in columns])
    return made if made.dtype == object else made.astype(np.float64, copy=False)


def require_texts(learner: str, texts: Texts, names: Sequence[str], codes: npt.NDArray[np.float64]) -> None:
    """InputError, naming the first column of texts that has one, for a null or what is no text."""
    for place, name in enumerate(names):
        if name in texts and np.isnan(codes[:, place]).any():
            raise InputError(
                f"{learner} input {name!r} is not usable",
                found="a null or what is no text",
                expected="texts",
                do="let `prepare` drop such events, or give them a text of their own",
            )
