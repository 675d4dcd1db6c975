"""Learners from their archived descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.errors import DefinitionError, nearest
from headrace.models.kmeans import KMeans
from headrace.models.learner import Learner
from headrace.models.linear import LinearRegression

_MAKERS: dict[str, type[Any]] = {made.kind: made for made in (KMeans, LinearRegression)}


def learner_from(description: Mapping[str, Any]) -> Learner:
    """The learner whose `describe()` gave `description`; DefinitionError for what no version of this code wrote.

    >>> learner_from(KMeans(k=3).describe()) == KMeans(k=3)
    True
    """
    kind = str(description.get("kind"))
    if kind not in _MAKERS:
        raise DefinitionError(
            "an archived learner is of no known kind",
            found=repr(kind),
            expected=f"one of {', '.join(_MAKERS)}",
            nearest=nearest(kind, _MAKERS),
        )
    fields = {name: value for name, value in description.items() if name != "kind"}
    try:
        made: Learner = _MAKERS[kind](**fields)
    except TypeError as error:
        raise DefinitionError(f"an archived learner of kind {kind!r} has other fields", found=sorted(fields)) from error
    return made
