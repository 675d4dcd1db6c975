"""headrace: the lambda platform without a seam.

Everything a definition is written with is importable from here; Spark is imported only when work begins.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "headrace.algebra": (
        *("Count", "CountDistinct", "DaysSince", "Decay", "Last", "LastN", "Max", "Mean", "Min", "Ratio"),
        *("Sessions", "Sum", "Where", "Window"),
    ),
    "headrace.definitions": ("CUT", "READER", "Definition", "Stream", "Table", "fixed"),
    "headrace.evaluate.gate": ("Gate",),
    "headrace.evaluate.splitting": ("Splitting",),
    "headrace.models.cutoffs": ("CutOffs",),
    "headrace.models.encoded": ("Encoded",),
    "headrace.models.encoding": ("Bins", "Cross", "Number", "OneHot"),
    "headrace.models.kmeans": ("KMeans",),
    "headrace.models.linear": ("LinearRegression",),
    "headrace.models.logistic": ("LogisticRegression",),
    "headrace.models.naive_bayes": ("NaiveBayes",),
    "headrace.serving.client": ("AsyncClient", "Client"),
    "headrace.schemas": ("Field", "Schema", "Vector"),
    "headrace.transforms.derivation": ("Derivation",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME_OF]  # noqa: PLE0604 - the table above is the list


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'headrace' has no attribute {name!r}")
