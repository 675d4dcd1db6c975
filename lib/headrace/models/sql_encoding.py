"""Encoded columns in Spark SQL: what `encoding` makes of them, to the bit. A category that is a text is spelled out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.models.expressions import column, literal, number, text_literal, where
from headrace.models.texts import Texts


def encoding_sql(fitted: Sequence[Mapping[str, Any]], texts: Texts | None = None) -> dict[str, str]:
    """Spark SQL of each input, null where `encoded` gives not a number; `texts` as they were fitted with.

    >>> encoding_sql([{"how": "number", "names": ["wind"], "fill": 2.0, "inputs": ["wind__number"]}])
    {'wind__number': 'coalesce(nanvl(CAST(`wind` AS DOUBLE), 2.0D), 2.0D)'}
    """
    made: dict[str, str] = {}
    held = texts or {}
    for one in fitted:
        if one["how"] in ("number", "bins"):
            (value,) = map(number, one["names"])
            if one["fill"] is not None:
                value = f"coalesce(nanvl({value}, {literal(one['fill'])}), {literal(one['fill'])})"
            if one["how"] == "number":
                made[one["inputs"][0]] = value
                continue
            bounds = [*map(literal, one["edges"]), "CAST('Infinity' AS DOUBLE)"]
            for name, low, high in zip(one["inputs"], bounds[:-1], bounds[1:], strict=True):
                made[name] = where([_finite(value)], f"CAST({value} >= {low} AND {value} < {high} AS DOUBLE)")
            continue
        there = [f"{column(name)} IS NOT NULL" if name in held else _finite(number(name)) for name in one["names"]]
        for name, category in zip(one["inputs"], one["categories"], strict=True):
            made[name] = where(there, f"CAST({_is(one['names'], category, held)} AS DOUBLE)")
    return made


def known_sql(fitted: Sequence[Mapping[str, Any]], texts: Texts | None = None) -> list[str]:
    """Conditions, as SQL, that a row's categories are ones that a sample of training had.

    >>> known_sql([{"how": "one_hot", "names": ["day"], "known": [[1.0], [2.0]]}])
    ['(CAST(`day` AS DOUBLE) = 1.0D OR CAST(`day` AS DOUBLE) = 2.0D)']
    """
    rows = [[_is(one["names"], row, texts or {}) for row in one["known"]] for one in fitted if "known" in one]
    return [f"({' OR '.join(conditions)})" for conditions in rows]


def _is(names: Sequence[str], category: Sequence[float], texts: Texts) -> str:
    """That columns have the values of a category."""
    return " AND ".join(
        f"{column(name)} = {text_literal(texts[name][int(code)])}"
        if name in texts
        else f"{number(name)} = {literal(code)}"
        for name, code in zip(names, category, strict=True)
    )


def _finite(value: str) -> str:
    # In Spark NaN is greater than infinity.
    return f"abs({value}) < CAST('Infinity' AS DOUBLE)"
