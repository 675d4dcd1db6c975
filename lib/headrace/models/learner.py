"""The contract of a learner: fitted by Spark ML, scored without Spark from JSON parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy.typing as npt

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Fitted:
    """A fitted learner: JSON parameters for the scorer, the Spark ML pipeline that agrees with them, metrics."""

    parameters: dict[str, Any]
    pipeline: PipelineModel
    metrics: dict[str, Any] = field(default_factory=dict)


class Learner(Protocol):
    """A frozen dataclass whose fields are its whole meaning."""

    @property
    def kind(self) -> str:
        """A stable name, such as `kmeans`."""

    @property
    def sample(self) -> Literal["entity", "event"]:
        """What one training row is."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the columns `score` returns, in order."""

    def inputs(self, features: tuple[str, ...]) -> tuple[str, ...]:
        """The features it reads, of those there are."""

    def fit(self, samples: DataFrame, features: tuple[str, ...], base: Mapping[str, Any] | None) -> Fitted:
        """Fit on a frame of finished features; `base` are the champion's parameters, to keep its labels by."""

    def score(self, parameters: Mapping[str, Any], inputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """rows x inputs -> output columns, without Spark, equal to the pipeline to 1e-9."""

    def describe(self) -> dict[str, Any]:
        """A JSON value of the learner and its settings, part of the definition's hash."""
