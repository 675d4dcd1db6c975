"""Cut-offs at the mean and k standard deviations: what is beyond them is an anomaly. Without a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from headrace.errors import DefinitionError
from headrace.models.expressions import column, literal, number, where_usable
from headrace.models.learner import Contribution, Fitted, declared, require_finite
from headrace.models.moments import centred, no_products, products, rows_counted
from headrace.models.pmml import Document, away, finite, flagged
from headrace.models.samples import in_order
from headrace.models.scaling import constant, scaled, scaling
from headrace.models.totals import merged

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_NAME = "a cut-off"


@dataclass(frozen=True)
class CutOffs:
    """Entities of which a feature is more than k standard deviations above the mean of all entities.

    features: those to look at, each on its own. k: greater than 0.

    Outputs: `<feature>_deviations`, how many standard deviations (over n, not n - 1) above the mean it is, negative
    below it, and `is_anomaly`, whether any is more than k.
    Against a full recomputation: live means and standard deviations are equal to 1e-9 of the generation's standard
    deviation. Entities with a null or a number that is not finite are refused in training and when scored; live, they
    and those 2**20 or more standard deviations away are not counted, and `skipped` says how many.

    Parameters: features; mean and scale (of each, over the training rows: what later sums are centred and divided
    by); center and spread (the mean and standard deviation to score by).
    """

    features: tuple[str, ...]
    k: float = 3.0

    kind: ClassVar[str] = "cutoffs"
    sample: ClassVar[Literal["entity"]] = "entity"

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        if not 0 < len(set(self.features)) == len(self.features):
            raise DefinitionError(
                f"{_NAME} cannot read these features", found=list(self.features), expected="distinct ones, at least one"
            )
        if not (np.isfinite(self.k) and self.k > 0):
            raise DefinitionError(f"{_NAME} has no such k", found=self.k, expected="a number above 0, such as 3")

    @property
    def outputs(self) -> tuple[str, ...]:
        return (*(f"{name}_deviations" for name in self.features), "is_anomaly")

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "features": list(self.features), "k": self.k}

    def inputs(self, features: tuple[str, ...]) -> tuple[str, ...]:
        return declared(_NAME, self.features, features)

    def fit(
        self,
        samples: DataFrame,
        features: tuple[str, ...],
        base: Mapping[str, Any] | None,  # noqa: ARG002 - there are no labels to keep
    ) -> Fitted:
        """Fit on finished features, one row an entity: an aggregation, as Spark ML has no such estimator.

        Reads the samples twice: persist them. Metrics: rows, anomalies (rows with one), cutoffs (of each feature).
        Raises InputError when there is no row, a null or a number that is not finite in one, or a feature that never
        changes.
        """
        from pyspark.ml import PipelineModel
        from pyspark.ml.feature import SQLTransformer

        numbers = in_order(samples, self.inputs(features), _NAME).persist()
        try:
            means, scales = scaling(numbers, self.features, _NAME)
            found = {"mean": means, "scale": scales, "center": means, "spread": scales}
            parameters: dict[str, Any] = {"features": list(self.features), **found}
            made = ", ".join(f"{told} AS {column(name)}" for name, told in self.sql(parameters).items())
            scorer = SQLTransformer(statement=f"SELECT *, {made} FROM __THIS__")  # noqa: S608 - own numbers
            seen = scorer.transform(numbers).selectExpr("count(1)", "count_if(is_anomaly)").first()
        finally:
            numbers.unpersist(blocking=True)
        assert seen is not None  # noqa: S101 - an aggregate without keys has one row
        beyond = {name: mean + self.k * scale for name, mean, scale in zip(self.features, means, scales, strict=True)}
        metrics = {"rows": seen[0], "anomalies": seen[1], "cutoffs": beyond}
        return Fitted(parameters, PipelineModel([scorer]), metrics)

    def score(self, parameters: Mapping[str, Any], inputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Deviations of each row, float64, and whether one is an anomaly, boolean.

        Raises InputError for a number that is not finite.
        """
        rows = np.asarray(inputs, dtype=np.float64)
        require_finite(_NAME, parameters["features"], rows)
        away = (rows - np.array(parameters["center"])) / np.array(parameters["spread"])
        *names, anomaly = self.outputs
        return {**{name: away[:, i] for i, name in enumerate(names)}, anomaly: (away > self.k).any(axis=1)}

    def sql(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        away = [
            f"({number(name)} - {literal(center)}) / {literal(spread)}"
            for name, center, spread in zip(self.features, parameters["center"], parameters["spread"], strict=True)
        ]
        beyond = " OR ".join(f"{each} > {literal(self.k)}" for each in away)
        told = [where_usable(self.features, each) for each in (*away, beyond)]
        return dict(zip(self.outputs, told, strict=True))

    def pmml(self, parameters: Mapping[str, Any]) -> Document:
        each = zip(self.features, parameters["center"], parameters["spread"], strict=True)
        deviations = {name: away(name, center, spread) for name, center, spread in each}
        return flagged([finite(name) for name in self.features], deviations, self.k, self.outputs)

    def empty(self, parameters: Mapping[str, Any]) -> Contribution:  # noqa: ARG002
        return {"products": [no_products(1) for _ in self.features], "skipped": 0}

    def contribution(self, parameters: Mapping[str, Any], samples: npt.NDArray[Any]) -> Contribution:
        """For each feature the exact count, sum and sum of squares in scaled units."""
        rows = scaled(parameters, samples)
        counted = rows_counted(rows)
        rows = rows[counted]
        each = [products(rows[:, [place]]) for place in range(len(self.features))]
        return {"products": each, "skipped": int(len(counted) - counted.sum())}

    def merge(self, left: Contribution, right: Contribution) -> Contribution:
        return merged(left, right)

    def live(self, parameters: Mapping[str, Any], since: Contribution) -> dict[str, Any]:
        """The mean and standard deviation of all entities; the fitted ones where there are none.

        Raises InputError, naming it, for a feature that is the same of all entities.
        """
        center, spread = list(parameters["center"]), list(parameters["spread"])
        for place, totals in enumerate(since["products"]):
            n, mean, covariance = centred(totals, 1)
            if n and covariance[0, 0] == 0:
                raise constant(_NAME, self.features[place])
            if n:
                scale = parameters["scale"][place]
                center[place] = parameters["mean"][place] + float(mean[0]) * scale
                spread[place] = float(np.sqrt(covariance[0, 0])) * scale
        return {**parameters, "center": center, "spread": spread}
