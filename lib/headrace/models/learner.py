"""The contract of a learner: fitted by Spark ML, scored without Spark from JSON parameters, and kept live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from headrace.errors import DefinitionError, InputError, nearest

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import DataFrame

    from headrace.models.pmml import Document


@dataclass(frozen=True)
class Fitted:
    """A fitted learner: JSON parameters for the scorer, the Spark ML pipeline that agrees with them, metrics."""

    parameters: dict[str, Any]
    pipeline: PipelineModel
    metrics: dict[str, Any] = field(default_factory=dict)


# What samples add up to, a JSON value; never changed in place.
Contribution = Any


class Learner(Protocol):
    """A frozen dataclass whose fields are its whole meaning.

    Its parameters move with the samples: `live` gives those that the samples' contributions together make of the
    fitted ones. Contributions are exact, so that they are the same bits in any order and split; `merge` is
    associative and commutative and `empty` its identity.

    Inputs are numbers, or texts where the parameters have `texts` of them: rows are then objects, see `models.texts`.
    """

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
        """The columns it reads: of the features there are (sample: entity), or of the prepared events (event)."""

    def fit(self, samples: DataFrame, columns: tuple[str, ...], base: Mapping[str, Any] | None) -> Fitted:
        """Fit on finished features, or on prepared events whose target is the last of `columns`.

        `base` are the champion's parameters, to keep its labels by.
        """

    def score(self, parameters: Mapping[str, Any], inputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """rows x inputs -> output columns, without Spark, equal to the pipeline to 1e-9."""

    def sql(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Spark SQL of each output, equal to `score` to 1e-9, over columns named as the inputs.

        Null where `score` refuses the row, such as for a null or a number that is not finite.
        """

    def empty(self, parameters: Mapping[str, Any]) -> Contribution:
        """The contribution of no samples."""

    def contribution(self, parameters: Mapping[str, Any], samples: npt.NDArray[Any]) -> Contribution:
        """What samples add, one row each: the inputs, and of an event the target after them."""

    def merge(self, left: Contribution, right: Contribution) -> Contribution:
        """The contribution of both operands' samples together."""

    def live(self, parameters: Mapping[str, Any], since: Contribution) -> dict[str, Any]:
        """The parameters to score with, once samples have contributed `since` to the fitted ones."""

    def describe(self) -> dict[str, Any]:
        """A JSON value of the learner and its settings, part of the definition's hash."""


@runtime_checkable
class OfCategories(Learner, Protocol):
    """A learner whose inputs may be categories, with a rule for one that no sample had."""

    @property
    def unseen(self) -> Literal["keep", "fail", "quarantine"]:
        """What becomes of a row to be scored. As a sample it counts under each."""

    def set_aside(self, parameters: Mapping[str, Any], inputs: npt.NDArray[Any]) -> dict[int, str]:
        """The rows not to be scored, and why; none but under `quarantine`. `score` refuses them by name."""


@runtime_checkable
class Exportable(Learner, Protocol):
    """A learner that other tools can score by its parameters."""

    def pmml(self, parameters: Mapping[str, Any]) -> Document:
        """PMML of the outputs, equal to `score` to 1e-9, over fields named as the inputs.

        No result where `score` refuses the row, such as for a null or a number that is not finite.
        """


def declared(learner: str, names: tuple[str, ...], features: Sequence[str]) -> tuple[str, ...]:
    """The names; DefinitionError, with the nearest, for one that is no feature of the definition."""
    for name in names:
        if name not in features:
            raise DefinitionError(
                f"{learner} reads a feature that is not declared",
                found=repr(name),
                expected=f"one of {list(features)}",
                nearest=nearest(name, features),
            )
    return names


def require_finite(learner: str, features: Sequence[str], rows: npt.NDArray[np.float64]) -> None:
    """InputError, naming the first feature that has one, for a null or a number that is not finite."""
    finite = np.isfinite(rows).all(axis=0)
    if not finite.all():
        raise not_finite(learner, features[int(np.argmin(finite))], "a null or a number that is not finite")


def not_finite(learner: str, name: str, found: str) -> InputError:
    """The refusal of an input that no learner can read."""
    return InputError(
        f"{learner} input {name!r} is not usable",
        found=found,
        expected="finite numbers",
        do="let `prepare` drop such events, or leave the feature out of the learner's `features`",
    )
