"""How columns become the inputs of a linear model: filled in, one-hot, in quantile bins, crossed. Fitted in training.

What is fitted is JSON; NumPy and Spark SQL (`sql_encoding`) make the same numbers of it, to the bit. A category that is
a text stands there as its code (`texts`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from headrace.errors import DefinitionError
from headrace.models.expressions import column
from headrace.models.texts import MAX_CATEGORIES, Texts, require_few

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Floats = npt.NDArray[np.float64]
Impute = Literal["mean", "median"]


@dataclass(frozen=True)
class Number:
    """The number itself. impute: what stands for a null, from training; None: the row is not usable."""

    name: str
    impute: Impute | None = None


@dataclass(frozen=True)
class Bins:
    """Which of `count` quantile bins the number is in, a 0 or 1 for each but the first."""

    name: str
    count: int = 10
    impute: Impute | None = None

    def __post_init__(self) -> None:
        if self.count < 2:
            raise DefinitionError(f"{self.name!r} needs at least two bins", found=self.count)


@dataclass(frozen=True)
class OneHot:
    """A 0 or 1 for each category, the most frequent of training apart, for which all are 0. They are numbers or texts.

    most: so many categories at most, the most frequent; the others count as that one, and so does an unseen one.
    """

    name: str
    most: int = 50


@dataclass(frozen=True)
class Cross:
    """A 0 or 1 for each pair of categories that two columns have together, as `OneHot` has one for each category."""

    name: str
    other: str
    most: int = 60


Encoding = Number | Bins | OneHot | Cross
_HOW: Mapping[str, type[Encoding]] = {"number": Number, "bins": Bins, "one_hot": OneHot, "cross": Cross}


def described(encoding: Encoding) -> dict[str, Any]:
    """A JSON value of an encoding; `encoding_from` reads it.

    >>> encoding_from(described(Bins("wind", 4))) == Bins("wind", 4)
    True
    """
    how = next(how for how, made in _HOW.items() if isinstance(encoding, made))
    return {"how": how, **asdict(encoding)}


def encoding_from(told: Encoding | Mapping[str, Any]) -> Encoding:
    """The encoding that is described, or that it is already."""
    if not isinstance(told, Mapping):
        return told
    return _HOW[told["how"]](**{name: value for name, value in told.items() if name != "how"})


def columns_of(encodings: Sequence[Encoding]) -> tuple[str, ...]:
    """The columns that they read, each once."""
    read = (name for each in encodings for name in (each.name, *((each.other,) if isinstance(each, Cross) else ())))
    return tuple(dict.fromkeys(read))


def optional_columns(encodings: Sequence[Encoding]) -> tuple[str, ...]:
    """The columns whose nulls are filled in wherever they are read.

    >>> optional_columns([Number("a", "mean"), Number("b"), OneHot("a")])
    ()
    """
    filled = {each.name for each in encodings if isinstance(each, Number | Bins) and each.impute}
    bare = set(columns_of([each for each in encodings if not (isinstance(each, Number | Bins) and each.impute)]))
    return tuple(name for name in columns_of(encodings) if name in filled - bare)


def text_columns(encodings: Sequence[Encoding], types: Mapping[str, str]) -> tuple[str, ...]:
    """The columns that are texts and may be: read as categories alone.

    >>> text_columns([OneHot("day"), Cross("day", "at"), Bins("at")], {"day": "string", "at": "string"})
    ('day',)
    """
    as_numbers = set(columns_of([each for each in encodings if isinstance(each, Number | Bins)]))
    return tuple(name for name in columns_of(encodings) if types.get(name) == "string" and name not in as_numbers)


def fitted_encodings(
    encodings: Sequence[Encoding], samples: DataFrame, texts: Texts | None = None, taken: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """What training says of each: what stands for nulls, edges of bins, categories in order.

    samples: the columns as doubles, and as they are where `texts` has theirs. taken: names that no input may have. Out,
    each: how, names (read), inputs (made) and fill, edges or categories with the `known` ones. Reads the samples once
    or twice an encoding: persist them.
    """
    made = [_fitted(each, samples, texts or {}) for each in encodings]
    names = _distinct((name for one in made for name in one["inputs"]), taken)
    return [{**one, "inputs": [next(names) for _ in one["inputs"]]} for one in made]


def _distinct(names: Iterable[str], taken: Iterable[str]) -> Iterator[str]:
    """The names as Spark can tell them apart, to which MO is mo and __THIS__ is a table.

    >>> list(_distinct(["day__MO", "day__mo", "a__THIS__b"], ["day"]))
    ['day__MO', 'day__mo__2', 'a__this__b']
    """
    held = {name.lower() for name in taken}
    for name in names:
        plain = name.replace("__THIS__", "__this__")
        free = next(one for one in chain([plain], (f"{plain}__{n}" for n in count(2))) if one.lower() not in held)
        held.add(free.lower())
        yield free


def _fitted(encoding: Encoding, samples: DataFrame, texts: Texts) -> dict[str, Any]:
    how = described(encoding)["how"]
    if isinstance(encoding, Number | Bins):
        fill = _fill(encoding.name, encoding.impute, samples)
        made: dict[str, Any] = {"how": how, "names": [encoding.name], "fill": fill}
        if isinstance(encoding, Number):
            return {**made, "inputs": [f"{encoding.name}__number"]}
        edges = _edges(encoding, samples)
        return {**made, "edges": edges, "inputs": [f"{encoding.name}__bin{n}" for n in range(1, len(edges) + 1)]}
    from pyspark.sql import functions as F

    names = list(columns_of([encoding]))
    codes = [{text: float(code) for code, text in enumerate(texts.get(name, ()))} for name in names]
    known = samples.dropna(subset=names).groupBy(*names).count().orderBy(F.col("count").desc(), *names)
    found = [tuple(row)[: len(names)] for row in (known.limit(MAX_CATEGORIES + 1) if any(codes) else known).collect()]
    if any(codes):
        require_few(len(found), *names)
    rows = [[of[one] if of else float(one) for of, one in zip(codes, row, strict=True)] for row in found]
    shown = ["__".join(map(_shown, names, row)) for row in found]
    return {
        "how": how,
        "names": names,
        "known": sorted(rows),
        "categories": rows[1 : encoding.most],
        "inputs": shown[1 : encoding.most],
    }


def _shown(name: str, value: float | str) -> str:
    """A part of an input's name; a dot in it would be a field's, and only some letters have one other case.

    >>> _shown("city", "St. Louis"), _shown("hour", 8.0)
    ('city__St_ Louis', 'hour__8')
    """
    shown = value if isinstance(value, str) else f"{float(value):g}"
    return f"{name}__" + re.sub(r"[^\w +-]", "_", shown, flags=re.ASCII)


def _fill(name: str, impute: Impute | None, numbers: DataFrame) -> float | None:
    if impute is None:
        return None
    from pyspark.sql import functions as F

    made = F.avg(name) if impute == "mean" else F.percentile(name, F.lit(0.5))
    found = numbers.where(f"NOT isnan({column(name)})").agg(made).first()
    return float(found[0]) if found is not None and found[0] is not None else 0.0


def _edges(encoding: Bins, numbers: DataFrame) -> list[float]:
    from pyspark.sql import functions as F

    shares = F.array(*(F.lit(each / encoding.count) for each in range(1, encoding.count)))
    found = numbers.where(f"NOT isnan({column(encoding.name)})").agg(
        F.percentile(encoding.name, shares).alias("edges"), F.min(encoding.name).alias("least")
    )
    row = found.first()
    # The first bin has rows of its own, and equal edges are one.
    held = sorted(set(row["edges"])) if row is not None and row["edges"] else []
    return [edge for edge in held if edge > row["least"]] if row is not None else []


def encoded(fitted: Sequence[Mapping[str, Any]], names: Sequence[str], rows: Floats) -> Floats:
    """rows x columns named `names` -> rows x inputs; not a number where a column that is needed is null.

    >>> bins = {"how": "bins", "names": ["wind"], "fill": None, "edges": [2.0, 5.0], "inputs": ["b1", "b2"]}
    >>> encoded([bins], ["wind"], np.array([[1.0], [2.0], [9.0], [np.nan]])).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [nan, nan]]
    """
    places = {name: place for place, name in enumerate(names)}
    return np.column_stack([_made(one, rows[:, [places[name] for name in one["names"]]]) for one in fitted])


def _made(one: Mapping[str, Any], values: Floats) -> Floats:
    missing = ~np.isfinite(values).all(axis=1)
    if one["how"] in ("number", "bins"):
        plain = values[:, 0]
        if one["fill"] is not None:
            plain = np.where(np.isnan(plain), one["fill"], plain)
        if one["how"] == "number":
            return np.asarray(plain[:, None], dtype=np.float64)
        missing = ~np.isfinite(plain)
        place = np.searchsorted(np.array(one["edges"]), plain, side="right")
        made: Floats = (place[:, None] == np.arange(1, len(one["edges"]) + 1)).astype(np.float64)
    else:
        categories = np.array(one["categories"]).reshape(-1, values.shape[1])
        made = (values[:, None, :] == categories[None, :, :]).all(axis=2).astype(np.float64)
    made[missing] = np.nan
    return made


def unseen_categories(
    fitted: Sequence[Mapping[str, Any]], names: Sequence[str], rows: Floats
) -> dict[int, tuple[str, ...]]:
    """By row, the columns of the first category that no sample of training had; nulls are none."""
    places = {name: place for place, name in enumerate(names)}
    found: dict[int, tuple[str, ...]] = {}
    for one in fitted:
        if "known" not in one:
            continue
        known = {tuple(row) for row in one["known"]}
        for row, values in enumerate(rows[:, [places[name] for name in one["names"]]].tolist()):
            if row not in found and np.isfinite(values).all() and tuple(values) not in known:
                found[row] = tuple(one["names"])
    return found
