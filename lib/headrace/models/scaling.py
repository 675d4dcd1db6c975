"""Features of one spread: centred on their mean in training and divided by their standard deviation there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from headrace.errors import InputError
from headrace.models.expressions import column, literal
from headrace.models.moments import Floats

if TYPE_CHECKING:
    from pyspark.ml import Transformer
    from pyspark.sql import DataFrame

# Of inputs scaled to one spread; beyond it a solution in doubles is not good to 1e-8: 16 digits less 8.
MAX_CONDITION = 1e8


def scaling(
    numbers: DataFrame, names: Sequence[str], learner: str, target: str | None = None
) -> tuple[list[float], list[float]]:
    """The mean and the standard deviation (over n) of each column.

    numbers: finite doubles, at least one row. Raises InputError, for `learner`, for a column of one value, and for
    one whose squares no double holds.
    """
    from pyspark.sql import functions as F

    seen = numbers.agg(*(F.avg(name) for name in names), *(F.stddev_pop(name) for name in names)).first()
    assert seen is not None  # noqa: S101 - an aggregate without keys has one row
    means, scales = list(seen[: len(names)]), list(seen[len(names) :])
    for name, mean, scale in zip(names, means, scales, strict=True):
        if scale == 0:
            raise constant(learner, name, target)
        if not (np.isfinite(mean) and np.isfinite(scale)):
            raise InputError(
                f"{learner} cannot read {name!r}",
                found="values too large for their standard deviation to be a double",
                expected="values below 1e150",
                do="let `prepare` drop such events or take the logarithm",
            )
    return means, scales


def constant(learner: str, name: str, target: str | None = None) -> InputError:
    """The refusal of a column of which no deviation can be told."""
    return InputError(
        f"{learner} cannot read {name!r}",
        found="one value in every sample",
        expected="a target that changes" if name == target else "a feature that changes",
        do="leave it out of the learner's `features`" if name != target else "choose another target",
    )


def scaled(parameters: Mapping[str, Any], rows: npt.NDArray[Any]) -> Floats:
    """The features, rows x features, in scaled units."""
    values: Floats = (np.asarray(rows, dtype=np.float64) - np.array(parameters["mean"])) / np.array(parameters["scale"])
    return values


def weighted_sum(rows: Floats, weights: Sequence[float], constant: float) -> Floats:
    """The constant and the weighted columns of each row, the same bits for a row alone and among others."""
    # Column by column: BLAS adds in another order for one row than for many.
    terms = (rows[:, i] * weight for i, weight in enumerate(weights))
    return reduce(add, terms, np.full(len(rows), float(constant)))


def scaling_stages(parameters: Mapping[str, Any]) -> list[Transformer]:
    """The stages of a Spark ML pipeline that make the features the vector `scaled`."""
    from pyspark.ml.feature import SQLTransformer, VectorAssembler

    names = parameters["features"]
    made = ", ".join(
        f"({column(name)} - {literal(mean)}) / {literal(scale)} AS {column(f'{name}__scaled')}"
        for name, mean, scale in zip(names, parameters["mean"], parameters["scale"], strict=True)
    )
    return [
        SQLTransformer(statement=f"SELECT *, {made} FROM __THIS__"),  # noqa: S608 - own numbers
        VectorAssembler(inputCols=[f"{name}__scaled" for name in names], outputCol="scaled", handleInvalid="error"),
    ]


def conditioned(products: Floats, names: Sequence[str], learner: str) -> tuple[Floats, Floats]:
    """The matrix with ones on its diagonal, and what its rows and columns were divided by.

    products: of every two features, a ridge already added. How far one is spread is no matter.
    Raises InputError, for `learner` and naming the features, when one is all but a sum of others.
    """
    size = np.sqrt(np.diag(products))
    normal: Floats = products / np.outer(size, size)
    values, vectors = np.linalg.eigh(normal)
    if values[0] * MAX_CONDITION >= values[-1]:
        return normal, size
    together = [name for name, share in zip(names, np.abs(vectors[:, 0]), strict=True) if share > 0.1]
    raise InputError(
        f"inputs of {learner} are collinear",
        found=f"{together}, a condition number of {values[-1] / max(values[0], 1e-300):.1e}",
        expected=f"at most {MAX_CONDITION:.0e}",
        do="leave one of them out, or declare a ridge",
    )
