"""What is made of features and learner outputs: fitted once over all entities, then applied row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Columns = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Derivation:
    """Outputs computed from features under parameters that were fitted on every entity of a generation.

    fit: frame of (entity as text in column `entity`, features...) -> JSON parameters, part of theta.
    apply: pure and columnar, without Spark: columns (`entity`, features, learner outputs) and the fitted
    parameters -> output columns, each of the same length.
    outputs: names of what `apply` returns, in order.
    """

    fit: Callable[[DataFrame], dict[str, Any]]
    apply: Callable[[Columns, Mapping[str, Any]], dict[str, npt.NDArray[Any]]]
    outputs: tuple[str, ...]


def no_parameters(_features: DataFrame) -> dict[str, Any]:
    """The `fit` of a derivation that needs nothing but its own row."""
    return {}
