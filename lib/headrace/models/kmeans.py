"""k-means on min-max scaled features: Spark ML fits, NumPy scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from headrace.errors import DefinitionError, InputError, nearest
from headrace.models.learner import Fitted

if TYPE_CHECKING:
    from pyspark.ml.clustering import KMeansModel
    from pyspark.sql import DataFrame

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class KMeans:
    """Clusters of entities by Euclidean distance after each feature is scaled to [0, 1].

    k: clusters, at least 2; where there are fewer distinct points, as many clusters as points.
    seed: of the k-means|| start. features: those to read, all of the definition's if None.
    """

    k: int
    scale: Literal["min-max"] = "min-max"
    seed: int = 7
    features: tuple[str, ...] | None = None
    max_iterations: int = 20
    init_steps: int = 2

    kind: ClassVar[str] = "kmeans"
    sample: ClassVar[Literal["entity"]] = "entity"
    outputs: ClassVar[tuple[str, ...]] = ("cluster",)

    def inputs(self, features: tuple[str, ...]) -> tuple[str, ...]:
        raise NotImplementedError

    def fit(self, samples: DataFrame, features: tuple[str, ...], base: Mapping[str, Any] | None) -> Fitted:
        raise NotImplementedError

    def score(self, parameters: Mapping[str, Any], inputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        raise NotImplementedError
