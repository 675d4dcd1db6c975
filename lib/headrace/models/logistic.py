"""Logistic regression of two or more classes: Spark ML fits, NumPy scores, and one Newton step keeps it live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from headrace.errors import DefinitionError
from headrace.models.classes import (
    class_outputs,
    fit_metrics,
    is_class,
    is_class_sql,
    probabilities,
    require_every_class,
    told,
    told_sql,
)
from headrace.models.contribution import contributed
from headrace.models.expressions import weighted, where_usable
from headrace.models.learner import Contribution, Fitted, require_finite
from headrace.models.moments import Floats, averages, gram, rows_counted, squared, sums
from headrace.models.penalties import lasso_share, require_penalties
from headrace.models.pmml import Document, added, classified, product, scaled_fields
from headrace.models.samples import in_order, usable
from headrace.models.scaling import MAX_CONDITION, conditioned, scaled, scaling, scaling_stages, weighted_sum
from headrace.models.totals import merged

if TYPE_CHECKING:
    from pyspark.ml.classification import LogisticRegressionModel
    from pyspark.sql import DataFrame

_NAME = "logistic regression"
# As many as linear regression adds up of its most inputs: what an item of the store may hold.
MAX_SUMS = 7_503
# The log-odds of a sample one standard deviation away are moved by no more: beyond, the curvature that a Newton step
# trusts is another one (by up to e to that; F. Bach, Self-concordant analysis for logistic regression, 2010).
MAX_STEP = 1.0
_TOLERANCE = 1e-12  # of Spark's L-BFGS: it ends where the loss falls by less, relatively


@dataclass(frozen=True)
class LogisticRegression:
    """The probability of each class of an event by its columns; a sample is an event.

    features: numeric columns of the prepared events, centred on their mean and divided by their standard deviation
    in training. classes: how many there are; the target holds their numbers, 0 and up. ridge: the penalty, in scaled
    units, on half the sum of squared coefficients beside the mean log loss (0: none); intercepts are free.
    max_iterations: Spark ML's. lasso: the penalty on their absolute sum; live parameters stay as fitted with one.

    Outputs: `probability_0`, ... of the classes, and `prediction`, the number of the likeliest.
    Samples with a null, a number that is not finite, one of 2**20 or more standard deviations, or a target that is
    none of the classes are not counted, neither in batch nor in the stream; `skipped` says how many.
    Against a full recomputation: approximate, the divergence to be shown. Live coefficients are one Newton step away
    from the generation's, over training and later samples together, no longer than 1 in scaled units. What samples
    contribute is exact: the same bits in any order and split.
    Inputs whose correlation matrix has a condition number beyond 1e8 are refused by name.

    Parameters: features, target, classes, mean and scale (of each feature), coefficients (a row of scaled units for
    class 1 of two, or for every class of more), intercepts, contribution (what the training samples add up to).
    """

    features: tuple[str, ...]
    ridge: float = 0.0
    classes: int = 2
    max_iterations: int = 100
    lasso: float = 0.0

    kind: ClassVar[str] = "logistic"
    sample: ClassVar[Literal["event"]] = "event"

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        if self.classes < 2:
            raise DefinitionError(f"{_NAME} needs at least two classes", found=f"classes={self.classes}")
        require_penalties(_NAME, self.ridge, self.lasso)
        wide, rows = len(self.features) + 1, self._rows
        added_up = rows * wide + rows * (rows + 1) // 2 * (wide * (wide + 1) // 2)
        if not 0 < len(set(self.features)) == len(self.features) or added_up > MAX_SUMS:
            raise DefinitionError(
                f"{_NAME} cannot read these features",
                found=f"{len(self.features)}, of which {len(set(self.features))} are distinct; {added_up} sums to keep",
                expected=f"distinct columns, at least one, and at most {MAX_SUMS} sums",
                do="name fewer features, or classes if there are more than two",
            )

    @property
    def outputs(self) -> tuple[str, ...]:
        return class_outputs(self.classes)

    @property
    def _rows(self) -> int:
        """Rows of coefficients: of two classes one is told by the other."""
        return 1 if self.classes == 2 else self.classes

    def describe(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "features": list(self.features),
            "ridge": self.ridge,
            "classes": self.classes,
            "max_iterations": self.max_iterations,
            **({"lasso": self.lasso} if self.lasso else {}),
        }

    def inputs(self, features: tuple[str, ...]) -> tuple[str, ...]:  # noqa: ARG002 - it reads events
        return self.features

    def fit(
        self,
        samples: DataFrame,
        columns: tuple[str, ...],
        base: Mapping[str, Any] | None,  # noqa: ARG002 - classes have their own numbers
    ) -> Fitted:
        """Fit on prepared events; `columns` are the features and the target after them.

        The pipeline gives Spark ML's columns: `probability`, a vector, and `prediction`.
        Reads the samples three times: persist them. Metrics: rows, skipped, classes (samples of each), log_loss,
        log_loss_of_shares (of always answering the classes' shares), accuracy.
        Raises InputError when there is no usable sample, a class has none, or inputs are collinear.
        """
        from pyspark.ml import PipelineModel

        target = columns[-1]
        known = usable(samples, columns).where(is_class_sql(target, self.classes))
        numbers = in_order(known, columns, _NAME).persist()
        try:
            start = self._start(numbers, samples, columns)
            stages = scaling_stages(start)
            model = self._estimated(PipelineModel(stages).transform(numbers).select("scaled", target), target)
            parameters = start | {
                "coefficients": model.coefficientMatrix.toArray().tolist(),
                "intercepts": model.interceptVector.toArray().tolist(),
            }
            metrics = fit_metrics(self.sql(parameters), target, self.classes)
            told_right = numbers.selectExpr(*(f"{made} AS {name}" for name, made in metrics.items())).first()
        finally:
            numbers.unpersist(blocking=True)
        state = contributed(self, parameters, samples, columns)
        assert told_right is not None  # noqa: S101 - an aggregate without keys has one row
        shares = np.array(state["counts"]) / sum(state["counts"])
        return Fitted(
            {**parameters, "contribution": state},
            PipelineModel([*stages, model]),
            {
                "rows": sum(state["counts"]),
                "skipped": state["skipped"],
                "classes": state["counts"],
                **told_right.asDict(),
                "log_loss_of_shares": float(-(shares * np.log(shares)).sum()),
            },
        )

    def _start(self, numbers: DataFrame, samples: DataFrame, columns: tuple[str, ...]) -> dict[str, Any]:
        """Parameters that tell nothing yet, of samples that have been looked at."""
        means, scales = scaling(numbers.select(*self.features), self.features, _NAME)
        start: dict[str, Any] = {
            "features": list(self.features),
            "target": columns[-1],
            "classes": self.classes,
            "mean": means,
            "scale": scales,
            "coefficients": [[0.0] * len(self.features)] * self._rows,
            "intercepts": [0.0] * self._rows,
        }
        looked_at = contributed(self, start, samples, columns)
        require_every_class(_NAME, columns[-1], looked_at["counts"])
        # Without coefficients every sample weighs the same: this is the covariance of the centred features.
        alike = squared(looked_at["curvature"][0], len(columns), sum(looked_at["counts"]))
        covariance = alike[1:, 1:] / alike[0, 0]
        conditioned(covariance + self.ridge * np.eye(len(self.features)), self.features, _NAME)
        return start

    def _estimated(self, rows: DataFrame, target: str) -> LogisticRegressionModel:
        from pyspark.ml.classification import LogisticRegression as SparkLogisticRegression

        made: LogisticRegressionModel = SparkLogisticRegression(
            featuresCol="scaled",
            labelCol=target,
            regParam=self.ridge + self.lasso,
            elasticNetParam=lasso_share(self.ridge, self.lasso),
            standardization=False,
            family="binomial" if self.classes == 2 else "multinomial",
            maxIter=self.max_iterations,
            tol=_TOLERANCE,
        ).fit(rows)
        return made

    def score(self, parameters: Mapping[str, Any], inputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Probabilities of each row, float64, and the likeliest class, int32, the first of equally likely ones.

        Raises InputError for a number that is not finite.
        """
        rows = np.asarray(inputs, dtype=np.float64)
        require_finite(_NAME, parameters["features"], rows)
        return told(_scores(parameters, scaled(parameters, rows)))

    def sql(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        coefficients, intercepts = _by_class(parameters)

        def difference(one: int, other: int) -> str:
            weights = (coefficients[one] - coefficients[other]) / np.array(parameters["scale"])
            constant = float(intercepts[one] - intercepts[other])
            told_apart = weighted(self.features, parameters["mean"], weights.tolist(), constant)
            return where_usable(self.features, told_apart)

        return told_sql(self.classes, difference)

    def pmml(self, parameters: Mapping[str, Any]) -> Document:
        fields, units = scaled_fields(parameters)
        scores = [added(start, map(product, units, row)) for row, start in zip(*_by_class(parameters), strict=True)]
        return classified(fields, units, scores, parameters["target"])

    def empty(self, parameters: Mapping[str, Any]) -> Contribution:
        return self.contribution(parameters, np.empty((0, len(self.features) + 1)))

    def contribution(self, parameters: Mapping[str, Any], samples: npt.NDArray[Any]) -> Contribution:
        """Counts of the classes, and the log loss's gradient and curvature at the parameters' coefficients; exact.

        gradient: a row of sums, intercept first, for each row of coefficients. curvature: for each two rows of
        coefficients, the first not after the second, the sums of products of every two inputs, the constant first,
        weighted by p (1 - p) of a row's class with itself and by p q of two, which is to be taken negatively.
        """
        samples = np.asarray(samples, dtype=np.float64)
        rows, target = scaled(parameters, samples[:, :-1]), samples[:, -1]
        counted = rows_counted(rows) & is_class(target, self.classes)
        rows, target = rows[counted], target[counted].astype(np.int64)
        inputs = np.column_stack([np.ones(len(rows)), rows])
        likely = probabilities(_scores(parameters, rows))
        own = likely[:, -self._rows :]
        missed = own - (target[:, None] == np.arange(self.classes)[-self._rows :])
        gradient = [sums(missed[:, [row]] * inputs) for row in range(self._rows)]
        curvature = []
        for one, other in combinations_with_replacement(range(self._rows), 2):
            weight = own[:, one] * (1 - own[:, one] if one == other else own[:, other])
            curvature.append(gram(np.sqrt(weight)[:, None] * inputs))
        return {
            "counts": np.bincount(target, minlength=self.classes).tolist(),
            "gradient": gradient,
            "curvature": curvature,
            "skipped": int(len(counted) - counted.sum()),
        }

    def merge(self, left: Contribution, right: Contribution) -> Contribution:
        return merged(left, right)

    def live(self, parameters: Mapping[str, Any], since: Contribution) -> dict[str, Any]:
        """One bounded Newton step over training and later samples; the fitted ones, to the bit, without later ones.

        In a direction in which the samples tell next to nothing, such as along a line between separated classes,
        coefficients stay.
        """
        if self.lasso or not any(since["counts"]):
            return dict(parameters)
        whole = self.merge(parameters["contribution"], since)
        n = sum(whole["counts"])
        gradient = np.array([averages(totals, n) for totals in whole["gradient"]])
        standing = np.column_stack([parameters["intercepts"], parameters["coefficients"]])
        penalty: Floats = np.array([0.0, *[self.ridge] * len(self.features)])
        slope = (gradient + penalty * standing).ravel()
        values, vectors = np.linalg.eigh(self._curvature(whole, n, penalty))
        told_of = values * MAX_CONDITION > values[-1]
        along = vectors[:, told_of]
        step = -along @ ((along.T @ slope) / values[told_of])
        step *= min(1.0, MAX_STEP / max(float(np.linalg.norm(step)), 1e-300))
        moved = standing + step.reshape(standing.shape)
        return {**parameters, "coefficients": moved[:, 1:].tolist(), "intercepts": moved[:, 0].tolist()}

    def _curvature(self, whole: Contribution, n: int, penalty: Floats) -> Floats:
        """The mean log loss's second derivatives, the penalty's among them, by rows of coefficients."""
        wide = len(penalty)
        full = np.zeros((self._rows * wide, self._rows * wide))
        for (one, other), totals in zip(
            combinations_with_replacement(range(self._rows), 2), whole["curvature"], strict=True
        ):
            block = squared(totals, wide, n)
            at, across = slice(one * wide, (one + 1) * wide), slice(other * wide, (other + 1) * wide)
            if one == other:
                full[at, at] = block + np.diag(penalty)
            else:
                full[at, across] = full[across, at] = -block
        return full


def _by_class(parameters: Mapping[str, Any]) -> tuple[Floats, Floats]:
    """Coefficients and intercepts of every class; of two, those of class 0 are 0."""
    coefficients, intercepts = np.array(parameters["coefficients"]), np.array(parameters["intercepts"])
    if len(coefficients) == 1:
        return np.vstack([np.zeros_like(coefficients), coefficients]), np.array([0.0, *intercepts])
    return coefficients, intercepts


def _scores(parameters: Mapping[str, Any], rows: Floats) -> Floats:
    """samples x classes from scaled samples."""
    return np.column_stack([weighted_sum(rows, row, start) for row, start in zip(*_by_class(parameters), strict=True)])
