"""Spark SQL text of fitted models: plain arithmetic on columns, which Spark compiles.

Parts that outputs share are repeated word for word: Spark evaluates equal parts of one projection once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence


def column(name: str) -> str:
    """A column, whatever its name.

    >>> column("a`b c")
    '`a``b c`'
    """
    return "`" + name.replace("`", "``") + "`"


def number(name: str) -> str:
    """A numeric column as a double.

    >>> number("wind")
    'CAST(`wind` AS DOUBLE)'
    """
    return f"CAST({column(name)} AS DOUBLE)"


def literal(value: float) -> str:
    """A finite double, to the bit.

    >>> literal(-1e-07)
    '-1e-07D'
    """
    return f"{float(value)!r}D"


def text_literal(text: str) -> str:
    """A text, whatever its characters; what a parser may read anything into is escaped.

    >>> text_literal("it's ${50} %")
    "'it\\\\u0027s \\\\u0024\\\\u007b50\\\\u007d %'"
    """
    # Spark replaces ${..} in any statement, and SQLTransformer replaces __THIS__.
    return "'" + re.sub(r"[^\w .,:;%/+-]|(?<=_)_", lambda found: _escaped(found[0]), text) + "'"


def _escaped(character: str) -> str:
    return "".join(f"\\u{unit:04x}" for unit in memoryview(character.encode("utf-16-le")).cast("H"))


def weighted(names: Sequence[str], centres: Sequence[float], weights: Sequence[float], constant: float) -> str:
    """The constant and each column's distance from its centre times its weight, added up in this order.

    >>> weighted(["wind"], [2.0], [0.5], 1.0)
    '(1.0D + (CAST(`wind` AS DOUBLE) - 2.0D) * 0.5D)'
    """
    # Centred first: a far centre's share in the constant would take digits from it.
    terms = (
        f"({number(name)} - {literal(centre)}) * {literal(weight)}"
        for name, centre, weight in zip(names, centres, weights, strict=True)
    )
    return f"({' + '.join([literal(constant), *terms])})"


def where(conditions: Sequence[str], expression: str) -> str:
    """The expression where all conditions hold, else null."""
    return f"CASE WHEN {' AND '.join(conditions)} THEN {expression} END"


def where_usable(names: Sequence[str], expression: str) -> str:
    """The expression where every column is a finite number, else null."""
    # In Spark NaN is greater than infinity.
    return where([f"abs({number(name)}) < CAST('Infinity' AS DOUBLE)" for name in names], expression)
