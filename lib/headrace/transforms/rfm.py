"""Quintile scores of recency, frequency and monetary value, and the segment they name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from headrace.errors import InputError
from headrace.transforms.derivation import Columns, Derivation

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

Floats = npt.NDArray[np.float64]

# The inner edges of quintiles, by the very arithmetic of pandas.qcut(x, 5), which divides percents.
_QUINTILES = np.linspace(0, 1, 6)[1:-1] * 100 / 100

# (recency score, frequency score) -> segment, the first match wins. Source: the published walkthrough.
_NAMES = (
    ("[1-2][1-2]", "Hibernating"),
    ("[1-2][3-4]", "At Risk"),
    ("[1-2]5", "Can't Lose"),
    ("3[1-2]", "About to Sleep"),
    ("33", "Need Attention"),
    ("[3-4][4-5]", "Loyal Customers"),
    ("41", "Promising"),
    ("51", "New Customers"),
    ("[4-5][2-3]", "Potential Loyalists"),
    ("5[4-5]", "Champions"),
)
_SEGMENTS = np.array(
    [
        [next(name for pattern, name in _NAMES if re.fullmatch(pattern, f"{r}{f}")) for f in range(1, 6)]
        for r in range(1, 6)
    ],
    dtype=object,
)


def fit(features: DataFrame) -> dict[str, Any]:
    """The quintile edges of all entities, exactly as pandas.qcut with linear interpolation finds them.

    In: entity string, recency, frequency and monetary numbers, one row an entity. Read twice: persist it.
    Out: `recency` and `monetary`: the four inner edges, monetary's on its integer part (truncated toward zero);
    `frequency`: four pairs (frequency, entity), the last of each quintile in the order of (frequency, entity), which
    is rank(method="first") then qcut. Where edges coincide, because there are fewer than five entities or many
    equal values, pandas raises; here a value has the lowest score whose edge it does not exceed.
    Raises InputError when there is no entity, or one whose value is null or not finite.
    """
    around = _around_the_edges(features)
    entities = around["recency"][0].entities
    edges = {name: _edges(around[name], entities) for name in ("recency", "monetary")}
    # The ranks 1, 2, ... have their own number as value, so their edges need no look-up.
    place = (entities - 1) * _QUINTILES
    ranks = _interpolated(1 + np.floor(place), np.minimum(2 + np.floor(place), entities), place % 1)
    return {**edges, "frequency": _pairs(features, around["frequency"], [int(rank) for rank in np.floor(ranks)])}


def apply(columns: Columns, parameters: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Scores 1 to 5 as int32 (5 is the most recent, frequent, valuable), their digits and the named segment.

    A value beyond those seen in `fit` has the score of the nearest end. Raises InputError for a null.
    """
    recency, frequency, monetary = (_finite(name, columns[name]) for name in ("recency", "frequency", "monetary"))
    r = 5 - np.searchsorted(parameters["recency"], recency, side="left")
    m = 1 + np.searchsorted(parameters["monetary"], np.trunc(monetary), side="left")
    f = np.ones(len(frequency), dtype=np.int64)
    for last_frequency, last_entity in parameters["frequency"]:
        f += frequency > last_frequency
        tied = np.flatnonzero(frequency == last_frequency)
        f[tied] += np.fromiter((entity > last_entity for entity in columns["entity"][tied]), np.bool_, len(tied))
    return {
        "segment": _SEGMENTS[r - 1, f - 1],
        "r_score": r.astype(np.int32),
        "f_score": f.astype(np.int32),
        "m_score": m.astype(np.int32),
        "rfm_score": (100 * r + 10 * f + m).astype(str).astype(object),
    }


def _around_the_edges(features: DataFrame) -> dict[str, list[Row]]:
    """For each feature the distinct values on both sides of each edge.

    Rows of (value, below: how many entities have less, upto: how many have that or less, entities: how many).
    """
    counts = (
        # A double's integer part by remainder, for values beyond any integer type too.
        features.selectExpr("recency", "frequency", "double(monetary) - double(monetary) % 1 AS monetary")
        .selectExpr("stack(3, 'recency', double(recency), 'frequency', double(frequency), 'monetary', monetary)")
        .toDF("feature", "value")
        .groupBy("feature", "value")
        .count()
    )
    placed = counts.selectExpr(
        "feature",
        "value",
        "sum(count) OVER (PARTITION BY feature ORDER BY value) - count AS below",
        "sum(count) OVER (PARTITION BY feature ORDER BY value) AS upto",
        "sum(count) OVER (PARTITION BY feature) AS entities",
    )
    # An edge lies at or after place floor((entities - 1) * q), counted from 0, and before the next but one.
    holds_an_edge = " OR ".join(
        f"floor((entities - 1) * {float(q)!r}D) BETWEEN below - 1 AND upto - 1" for q in _QUINTILES
    )
    unusable = "value IS NULL OR isnan(value) OR abs(value) = double('Infinity')"
    around: dict[str, list[Row]] = {}
    for row in placed.where(f"{unusable} OR {holds_an_edge}").collect():
        if row.value is None or not np.isfinite(row.value):
            raise InputError(
                f"{row.feature!r} cannot be scored", found=f"{row.value} for {row.upto - row.below} entities"
            )
        around.setdefault(row.feature, []).append(row)
    if not around:
        raise InputError("there are no entities to find quintiles of")
    return around


def _edges(around: list[Row], entities: int) -> list[float]:
    place = (entities - 1) * _QUINTILES
    before = np.floor(place)
    left = np.array([_holding(around, int(p)).value for p in before])
    right = np.array([_holding(around, min(int(p) + 1, entities - 1)).value for p in before])
    return [float(edge) for edge in _interpolated(left, right, place - before)]


def _interpolated(left: Floats, right: Floats, share: Floats) -> Floats:
    """As numpy.quantile does it, to the last bit."""
    return np.where(share >= 0.5, right - (right - left) * (1 - share), left + (right - left) * share)


def _holding(around: list[Row], place: int) -> Row:
    return next(row for row in around if row.below <= place < row.upto)


def _pairs(features: DataFrame, around: list[Row], ranks: list[int]) -> list[list[Any]]:
    """The (frequency, entity) at these ranks of the order by both; only entities that tie with one are sorted."""
    ties = [_holding(around, rank - 1) for rank in ranks]
    wanted = [(tie.value, rank - tie.below) for tie, rank in zip(ties, ranks, strict=True)]
    frequencies = ", ".join(sorted({f"{value!r}D" for value, _ in wanted}))
    is_wanted = " OR ".join(f"(frequency = {value!r}D AND nth = {n})" for value, n in wanted)
    sorted_ties = (
        features.where(f"frequency IN ({frequencies})")
        .selectExpr("frequency", "entity", "row_number() OVER (PARTITION BY frequency ORDER BY entity) AS nth")
        .where(is_wanted)
    )
    found = {(float(row.frequency), row.nth): [row.frequency, row.entity] for row in sorted_ties.collect()}
    return [found[pair] for pair in wanted]


def _finite(name: str, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise InputError(f"{name!r} cannot be scored", found="a null or a number that is not finite")
    return numbers


scores_and_segment = Derivation(fit, apply, ("segment", "r_score", "f_score", "m_score", "rfm_score"))
