"""Penalties on coefficients: ridge on half their squares, lasso on their absolute values, both together elastic net."""

from __future__ import annotations

import math

from headrace.errors import DefinitionError


def lasso_share(ridge: float, lasso: float) -> float:
    """The lasso's share of both penalties, Spark ML's `elasticNetParam`.

    >>> lasso_share(0.3, 0.1), lasso_share(0.0, 0.0)
    (0.25, 0.0)
    """
    return lasso / (ridge + lasso) if lasso else 0.0


def require_penalties(learner: str, ridge: float, lasso: float) -> None:
    """DefinitionError for a penalty that is none."""
    for name, found in (("ridge", ridge), ("lasso", lasso)):
        if not (math.isfinite(found) and found >= 0):
            raise DefinitionError(f"{learner} has no such {name}", found=found, expected="0 or more")
