"""A linear or logistic regression on encoded columns: the feature pipeline belongs to the model, and so to theta."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from headrace.errors import DefinitionError, InputError
from headrace.models.encoding import (
    Encoding,
    columns_of,
    described,
    encoded,
    encoding_from,
    encoding_sql,
    fitted_encodings,
    known_sql,
    optional_columns,
    unseen_categories,
)
from headrace.models.expressions import column, number, where
from headrace.models.learner import Contribution, Fitted, require_finite
from headrace.models.linear import LinearRegression
from headrace.models.logistic import LogisticRegression
from headrace.models.pmml import Document
from headrace.models.pmml_encoding import over_columns
from headrace.models.samples import as_numbers, usable
from headrace.schemas.lake import FOUND

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_NAME = "encoded regression"


@dataclass(frozen=True)
class Encoded:
    """A regression whose inputs are made of an event's columns as `columns` say; a sample is an event.

    columns: `Number`, `Bins`, `OneHot` and `Cross` of numeric columns of the prepared events; categories are numbers.
    model: `linear` tells a number, `logistic` one of `classes`. ridge, lasso: as those have them, in scaled units.
    unseen: what becomes of a row to be scored with a category that no sample of training had: `keep` takes it for the
    most frequent one, `fail` refuses all rows by name, `quarantine` sets this one aside with its reason.

    Encodings are fitted in training and stay for the generation; live parameters and their bounds are those of the
    model under them: exact to 1e-8 for `linear`, one Newton step for `logistic`, and with a lasso the generation's own.

    Parameters: features (the columns), target, encodings, model (what the regression has) and its contribution.
    """

    columns: tuple[Encoding, ...]
    model: Literal["linear", "logistic"] = "linear"
    ridge: float = 0.001
    lasso: float = 0.0
    classes: int = 2
    unseen: Literal["keep", "fail", "quarantine"] = "keep"

    kind: ClassVar[str] = "encoded"
    sample: ClassVar[Literal["event"]] = "event"

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(encoding_from(each) for each in self.columns))
        if not self.columns or len(set(self.columns)) < len(self.columns):
            raise DefinitionError("an encoded regression needs distinct columns", found=self.columns or "none")
        for what, found, among in (
            ("model", self.model, ("linear", "logistic")),
            ("rule for the unseen", self.unseen, ("keep", "fail", "quarantine")),
        ):
            if found not in among:
                raise DefinitionError(
                    f"an encoded regression has no such {what}", found=repr(found), expected=f"one of {among}"
                )
        self.regression(("any",))

    def regression(self, inputs: tuple[str, ...]) -> LinearRegression | LogisticRegression:
        """The model under the encodings. Raises DefinitionError for more inputs than it takes."""
        if self.model == "linear":
            return LinearRegression(inputs, ridge=self.ridge, lasso=self.lasso)
        return LogisticRegression(inputs, ridge=self.ridge, lasso=self.lasso, classes=self.classes)

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.regression(("any",)).outputs

    @property
    def optional(self) -> tuple[str, ...]:
        """The columns that may be null."""
        return optional_columns(self.columns)

    def describe(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "columns": [described(each) for each in self.columns],
            "model": self.model,
            "ridge": self.ridge,
            "lasso": self.lasso,
            "classes": self.classes,
            "unseen": self.unseen,
        }

    def inputs(self, features: tuple[str, ...]) -> tuple[str, ...]:  # noqa: ARG002 - it reads events
        return columns_of(self.columns)

    def fit(self, samples: DataFrame, columns: tuple[str, ...], base: Mapping[str, Any] | None) -> Fitted:
        """Fit the encodings, then the regression; `columns` are those it reads and the target after them.

        Raises as the regression does, which names the inputs that the encodings make.
        """
        from pyspark.ml import PipelineModel
        from pyspark.ml.feature import SQLTransformer

        numbers = as_numbers(samples, columns).persist()
        try:
            fitted = fitted_encodings(self.columns, usable(numbers, columns, self.optional))
            made = encoding_sql(fitted)
            inner = self._regression(fitted)
            target = columns[-1]
            rows = numbers.selectExpr(*(f"{sql} AS {column(name)}" for name, sql in made.items()), column(target))
            # Read several times, and made of many expressions.
            rows = rows.persist()
            try:
                learned = inner.fit(rows, (*made, target), base)
            finally:
                rows.unpersist(blocking=True)
        finally:
            numbers.unpersist(blocking=True)
        text = ", ".join(f"{sql} AS {column(name)}" for name, sql in made.items())
        stages = [SQLTransformer(statement=f"SELECT *, {text} FROM __THIS__"), *learned.pipeline.stages]  # noqa: S608
        model = dict(learned.parameters)
        parameters = {
            "features": list(self.inputs(())),
            "target": columns[-1],
            "encodings": fitted,
            "contribution": model.pop("contribution"),
            "model": model,
        }
        return Fitted(parameters, PipelineModel(stages), {**learned.metrics, "inputs": len(made)})

    def _regression(self, fitted: list[dict[str, Any]]) -> LinearRegression | LogisticRegression:
        return self.regression(tuple(name for one in fitted for name in one["inputs"]))

    def score(self, parameters: Mapping[str, Any], inputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """The regression's outputs. Raises InputError for a number that is not finite, and as `unseen` says."""
        rows = np.asarray(inputs, dtype=np.float64)
        features = parameters["features"]
        filled = np.isnan(rows) & np.array([name in self.optional for name in features])
        require_finite(_NAME, features, np.where(filled, 0.0, rows))
        if self.unseen != "keep":
            for names, values in self._unseen(parameters, rows).values():
                raise InputError(
                    f"{names} has a category that no sample of training had",
                    found=values,
                    do='train again, or declare what becomes of it: Encoded(unseen="quarantine")',
                )
        inner = self._regression(parameters["encodings"])
        return inner.score(parameters["model"], encoded(parameters["encodings"], features, rows))

    def set_aside(self, parameters: Mapping[str, Any], inputs: npt.NDArray[Any]) -> dict[int, str]:
        """Under `quarantine`, the rows with a category that no sample of training had, and which it is."""
        if self.unseen != "quarantine":
            return {}
        rows = np.asarray(inputs, dtype=np.float64)
        reasons = self._unseen(parameters, rows).items()
        return {row: f"{names} is no category of training{FOUND}{values}'" for row, (names, values) in reasons}

    def _unseen(self, parameters: Mapping[str, Any], rows: npt.NDArray[Any]) -> dict[int, tuple[str, list[float]]]:
        return unseen_categories(parameters["encodings"], parameters["features"], rows)

    def sql(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        fitted = parameters["encodings"]
        made = encoding_sql(fitted)

        def over_columns(text: str) -> str:
            # The regression reads an input as `number` spells it, and nowhere else.
            return reduce(lambda told, one: told.replace(number(one[0]), f"({one[1]})"), made.items(), text)

        told = self._regression(fitted).sql(parameters["model"])
        known = known_sql(fitted) if self.unseen != "keep" else []
        made_over = {name: over_columns(sql) for name, sql in told.items()}
        return {name: where(known, sql) for name, sql in made_over.items()} if known else made_over

    def pmml(self, parameters: Mapping[str, Any]) -> Document:
        def of_model(inputs: tuple[str, ...]) -> Document:
            return self.regression(inputs).pmml({**parameters["model"], "features": list(inputs)})

        return over_columns(
            parameters["features"],
            self.optional,
            parameters["encodings"],
            parameters["target"],
            of_model,
            refuses_unseen=self.unseen != "keep",
        )

    def empty(self, parameters: Mapping[str, Any]) -> Contribution:
        return self._regression(parameters["encodings"]).empty(parameters["model"])

    def contribution(self, parameters: Mapping[str, Any], samples: npt.NDArray[Any]) -> Contribution:
        rows = np.asarray(samples, dtype=np.float64)
        made = encoded(parameters["encodings"], parameters["features"], rows[:, :-1])
        inner = self._regression(parameters["encodings"])
        return inner.contribution(parameters["model"], np.column_stack([made, rows[:, -1]]))

    def merge(self, left: Contribution, right: Contribution) -> Contribution:
        return self.regression(("any",)).merge(left, right)

    def live(self, parameters: Mapping[str, Any], since: Contribution) -> dict[str, Any]:
        """The regression's live parameters under the generation's encodings."""
        inner = self._regression(parameters["encodings"])
        held = inner.live({**parameters["model"], "contribution": parameters["contribution"]}, since)
        return {**parameters, "model": {name: value for name, value in held.items() if name != "contribution"}}
