"""Linear regression, with or without ridge: Spark ML fits, NumPy scores, and sums of products keep it live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from headrace.errors import DefinitionError
from headrace.models.contribution import contributed
from headrace.models.expressions import column, literal, weighted, where_usable
from headrace.models.learner import Contribution, Fitted, require_finite
from headrace.models.moments import Floats, centred, no_products, scaled_products
from headrace.models.penalties import lasso_share, require_penalties
from headrace.models.pmml import Document, regressed, scaled_fields
from headrace.models.samples import in_order, usable
from headrace.models.scaling import conditioned, scaled, scaling, scaling_stages, weighted_sum
from headrace.models.totals import merged

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_NAME = "linear regression"
# More inputs than this make a contribution that an item of the store may not hold: 400 KB, up to 30 bytes a product.
MAX_INPUTS = 120


@dataclass(frozen=True)
class LinearRegression:
    """The least squares of an event's target on its columns; a sample is an event.

    features: numeric columns of the prepared events, centred on their mean and divided by their standard deviation
    in training, as the target is. ridge: the penalty, in those units, on half the sum of squared coefficients beside
    half the mean squared error (0: none); the intercept is free. lasso: the penalty on their absolute sum, with which
    live parameters stay the generation's own: sums of products do not tell them.

    Samples with a null, a number that is not finite, or one of 2**20 or more standard deviations are not counted,
    neither in batch nor in the stream; `skipped` says how many.
    Against a full recomputation: live parameters are equal to 1e-8 under the generation's centring and scaling.
    Inputs whose correlation matrix has a condition number beyond 1e8 are refused by name.

    Parameters: features, target, mean and scale (of each feature), target_mean, target_scale, coefficients and
    intercept (in scaled units), contribution (what the training samples add up to).
    """

    features: tuple[str, ...]
    ridge: float = 0.0
    lasso: float = 0.0

    kind: ClassVar[str] = "linear"
    sample: ClassVar[Literal["event"]] = "event"
    outputs: ClassVar[tuple[str, ...]] = ("prediction",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        if not 0 < len(set(self.features)) == len(self.features) <= MAX_INPUTS:
            raise DefinitionError(
                "linear regression cannot read these features",
                found=f"{len(self.features)}, of which {len(set(self.features))} are distinct",
                expected=f"1 to {MAX_INPUTS} distinct columns",
            )
        require_penalties(_NAME, self.ridge, self.lasso)

    def describe(self) -> dict[str, Any]:
        own = {"lasso": self.lasso} if self.lasso else {}  # without: earlier generations keep their hash
        return {"kind": self.kind, "features": list(self.features), "ridge": self.ridge, **own}

    def inputs(self, features: tuple[str, ...]) -> tuple[str, ...]:  # noqa: ARG002 - it reads events
        return self.features

    def fit(
        self,
        samples: DataFrame,
        columns: tuple[str, ...],
        base: Mapping[str, Any] | None,  # noqa: ARG002 - coefficients have no labels to keep
    ) -> Fitted:
        """Fit on prepared events; `columns` are the features and the target after them.

        Reads the samples four times: persist them. Metrics: rows, skipped, rmse, rmse_of_mean (of always answering
        the mean), r2.
        Raises InputError when there is no usable sample, the target never changes, or inputs are collinear.
        """
        from pyspark.ml import PipelineModel
        from pyspark.ml.feature import SQLTransformer
        from pyspark.ml.regression import LinearRegression as SparkLinearRegression

        target = columns[-1]
        numbers = in_order(usable(samples, columns), columns, _NAME).persist()
        try:
            means, scales = scaling(numbers, columns, _NAME, target)
            parameters: dict[str, Any] = {
                "features": list(self.features),
                "target": target,
                "mean": means[:-1],
                "scale": scales[:-1],
                "target_mean": means[-1],
                "target_scale": scales[-1],
            }
            state = contributed(self, parameters, samples, columns)
            n, _, covariance = centred(state["products"], len(columns))
            self._normal(covariance[:-1, :-1])
            stages = scaling_stages(parameters)
            label = f"({column(target)} - {literal(means[-1])}) / {literal(scales[-1])}"
            rows = PipelineModel(stages).transform(numbers).selectExpr("scaled", f"{label} AS label")
            model = SparkLinearRegression(
                solver="normal",
                regParam=self.ridge + self.lasso,
                elasticNetParam=lasso_share(self.ridge, self.lasso),
                standardization=False,
                featuresCol="scaled",
            ).fit(rows)
        finally:
            numbers.unpersist(blocking=True)
        parameters |= {"coefficients": model.coefficients.toArray().tolist(), "intercept": float(model.intercept)}
        unscaled = f"prediction * {parameters['target_scale']!r}D + {parameters['target_mean']!r}D"
        named = SQLTransformer(statement=f"SELECT * EXCEPT (prediction), {unscaled} AS prediction FROM __THIS__")  # noqa: S608
        return Fitted(
            {**parameters, "contribution": state},
            PipelineModel([*stages, model, named]),
            _metrics(parameters, covariance, n, state["skipped"]),
        )

    def score(self, parameters: Mapping[str, Any], inputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """The expected target of each row, float64. Raises InputError for a number that is not finite."""
        rows = np.asarray(inputs, dtype=np.float64)
        require_finite(_NAME, parameters["features"], rows)
        expected = weighted_sum(scaled(parameters, rows), parameters["coefficients"], parameters["intercept"])
        return {"prediction": expected * parameters["target_scale"] + parameters["target_mean"]}

    def sql(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        spread = parameters["target_scale"]
        weights = [c / s * spread for c, s in zip(parameters["coefficients"], parameters["scale"], strict=True)]
        constant = parameters["intercept"] * spread + parameters["target_mean"]
        told = weighted(self.features, parameters["mean"], weights, constant)
        return {"prediction": where_usable(self.features, told)}

    def pmml(self, parameters: Mapping[str, Any]) -> Document:
        fields, units = scaled_fields(parameters)
        rescale, table = (parameters["target_scale"], parameters["target_mean"]), parameters["coefficients"]
        return regressed(fields, units, parameters["intercept"], table, target=parameters["target"], rescale=rescale)

    def empty(self, parameters: Mapping[str, Any]) -> Contribution:  # noqa: ARG002
        return {"products": no_products(len(self.features) + 1), "skipped": 0}

    def contribution(self, parameters: Mapping[str, Any], samples: npt.NDArray[Any]) -> Contribution:
        mean = np.array([*parameters["mean"], parameters["target_mean"]])
        scale = np.array([*parameters["scale"], parameters["target_scale"]])
        added, skipped = scaled_products(np.asarray(samples, dtype=np.float64), mean, scale)
        return {"products": added, "skipped": skipped}

    def merge(self, left: Contribution, right: Contribution) -> Contribution:
        return merged(left, right)

    def _normal(self, covariance: Floats) -> tuple[Floats, Floats]:
        """The matrix of the normal equations, and its scale: see `conditioned`."""
        return conditioned(covariance + self.ridge * np.eye(len(covariance)), self.features, _NAME)

    def live(self, parameters: Mapping[str, Any], since: Contribution) -> dict[str, Any]:
        """The solution over training and later samples; the fitted one, to the bit, while there are no later ones.

        Raises InputError when the samples together are collinear.
        """
        if since["products"][0] == 0 or self.lasso:
            return dict(parameters)
        whole = self.merge(parameters["contribution"], since)
        _, means, covariance = centred(whole["products"], len(self.features) + 1)
        # Source: the normal equations of ridge regression with a free intercept.
        normal, size = self._normal(covariance[:-1, :-1])
        coefficients = np.linalg.solve(normal, covariance[:-1, -1] / size) / size
        intercept = float(means[-1] - means[:-1] @ coefficients)
        return {**parameters, "coefficients": coefficients.tolist(), "intercept": intercept}


def _metrics(parameters: Mapping[str, Any], covariance: Floats, rows: int, skipped: int) -> dict[str, Any]:
    """Errors of the fitted parameters over the training samples, in the target's units."""
    weights = np.array([*parameters["coefficients"], -1.0])
    spread = float(covariance[-1, -1])
    squared = max(0.0, float(weights @ covariance @ weights))
    scale = parameters["target_scale"]
    return {
        "rows": rows,
        "skipped": skipped,
        "rmse": squared**0.5 * scale,
        "rmse_of_mean": spread**0.5 * scale,
        "r2": 1 - squared / spread,
    }
