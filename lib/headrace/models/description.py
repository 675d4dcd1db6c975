"""Learners from their archived descriptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headrace.algebra.description import made_from
from headrace.models.cutoffs import CutOffs
from headrace.models.encoded import Encoded
from headrace.models.kmeans import KMeans
from headrace.models.learner import Learner
from headrace.models.linear import LinearRegression
from headrace.models.logistic import LogisticRegression
from headrace.models.naive_bayes import NaiveBayes

_LEARNERS = (CutOffs, Encoded, KMeans, LinearRegression, LogisticRegression, NaiveBayes)
_MAKERS: dict[str, Callable[..., Learner]] = {made.kind: made for made in _LEARNERS}


def learner_from(description: Mapping[str, Any]) -> Learner:
    """The learner whose `describe()` gave `description`; DefinitionError for what no version of this code wrote.

    >>> learner_from(KMeans(k=3).describe()) == KMeans(k=3)
    True
    """
    return made_from("learner", _MAKERS, description)
