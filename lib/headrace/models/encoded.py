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
    Floats,
    columns_of,
    described,
    encoded,
    encoding_from,
    fitted_encodings,
    optional_columns,
    text_columns,
    unseen_categories,
)
from headrace.models.expressions import column, number, where
from headrace.models.learner import Contribution, Fitted, require_finite
from headrace.models.linear import LinearRegression
from headrace.models.logistic import LogisticRegression
from headrace.models.pmml import Document
from headrace.models.pmml_encoding import over_columns
from headrace.models.samples import as_numbers, usable
from headrace.models.sql_encoding import encoding_sql, known_sql
from headrace.models.texts import coded, found_texts, known_texts, require_texts
from headrace.schemas.lake import FOUND

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_NAME = "encoded regression"


@dataclass(frozen=True)
class Encoded:
    """A regression whose inputs are made of an event's columns as `columns` say; a sample is an event.

    columns: `Number`, `Bins`, `OneHot` and `Cross` of columns of the prepared events. Categories are numbers or texts,
    as the column is in training; all else is numbers.
    model: `linear` tells a number, `logistic` one of `classes`. ridge, lasso: as those have them, in scaled units.
    unseen: what becomes of a row to be scored with a category that no sample of training had: `keep` takes it for the
    most frequent one, `fail` refuses all rows by name, `quarantine` sets this one aside with its reason.

    Encodings are fitted in training and stay for the generation; live parameters and their bounds are those of the
    model under them: exact to 1e-8 for `linear`, one Newton step for `logistic`, and with a lasso the generation's own.

    Parameters: features (the columns), target, texts (of those that are, the known ones; left out where none is),
    encodings, model (what the regression has) and its contribution.
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

        Raises as the regression does, which names the inputs that the encodings make, and DefinitionError for texts
        that are read as numbers or are too many to be categories.
        """
        from pyspark.ml import PipelineModel
        from pyspark.ml.feature import SQLTransformer

        of_text = text_columns(self.columns, dict(samples.dtypes))
        numbers = as_numbers(samples, columns, of_text).persist()
        try:
            known = usable(numbers, columns, self.optional, of_text)
            texts = found_texts(known, of_text)
            fitted = fitted_encodings(self.columns, known, texts, taken=columns)
            made = encoding_sql(fitted, texts)
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
            **({"texts": texts} if texts else {}),
            "encodings": fitted,
            "contribution": model.pop("contribution"),
            "model": model,
        }
        return Fitted(parameters, PipelineModel(stages), {**learned.metrics, "inputs": len(made)})

    def _regression(self, fitted: list[dict[str, Any]]) -> LinearRegression | LogisticRegression:
        return self.regression(tuple(name for one in fitted for name in one["inputs"]))

    def score(self, parameters: Mapping[str, Any], inputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """The regression's outputs. Raises InputError for a number that is not finite, and as `unseen` says."""
        features, texts = parameters["features"], known_texts(parameters)
        rows = coded(texts, features, inputs)
        require_texts(_NAME, texts, features, rows)
        filled = np.isnan(rows) & np.array([name in self.optional for name in features])
        require_finite(_NAME, features, np.where(filled, 0.0, rows))
        if self.unseen != "keep":
            for names, values in self._unseen(parameters, rows, inputs).values():
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
        rows = coded(known_texts(parameters), parameters["features"], inputs)
        reasons = self._unseen(parameters, rows, inputs).items()
        shown = {row: (names, values[0] if len(values) == 1 else values) for row, (names, values) in reasons}
        return {row: f"{names} is no category of training{FOUND}{value!r}" for row, (names, value) in shown.items()}

    def _unseen(
        self, parameters: Mapping[str, Any], rows: Floats, inputs: npt.NDArray[Any]
    ) -> dict[int, tuple[str, list[float | str]]]:
        """By row, the columns and values of its first category that no sample of training had."""
        texts = known_texts(parameters)
        places = {name: place for place, name in enumerate(parameters["features"])}
        unseen = unseen_categories(parameters["encodings"], parameters["features"], rows).items()

        def value(row: int, name: str) -> float | str:
            place = places[name]
            return str(inputs[row, place]) if name in texts else float(rows[row, place])

        return {row: (" and ".join(names), [value(row, name) for name in names]) for row, names in unseen}

    def sql(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        fitted = parameters["encodings"]
        texts = known_texts(parameters)
        made = encoding_sql(fitted, texts)

        def over_columns(text: str) -> str:
            # The regression reads an input as `number` spells it, and nowhere else.
            return reduce(lambda told, one: told.replace(number(one[0]), f"({one[1]})"), made.items(), text)

        told = self._regression(fitted).sql(parameters["model"])
        known = known_sql(fitted, texts) if self.unseen != "keep" else []
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
            texts=known_texts(parameters),
            refuses_unseen=self.unseen != "keep",
        )

    def empty(self, parameters: Mapping[str, Any]) -> Contribution:
        return self._regression(parameters["encodings"]).empty(parameters["model"])

    def contribution(self, parameters: Mapping[str, Any], samples: npt.NDArray[Any]) -> Contribution:
        features = parameters["features"]
        made = encoded(parameters["encodings"], features, coded(known_texts(parameters), features, samples[:, :-1]))
        inner = self._regression(parameters["encodings"])
        return inner.contribution(parameters["model"], np.column_stack([made, samples[:, -1].astype(np.float64)]))

    def merge(self, left: Contribution, right: Contribution) -> Contribution:
        return self.regression(("any",)).merge(left, right)

    def live(self, parameters: Mapping[str, Any], since: Contribution) -> dict[str, Any]:
        """The regression's live parameters under the generation's encodings."""
        inner = self._regression(parameters["encodings"])
        held = inner.live({**parameters["model"], "contribution": parameters["contribution"]}, since)
        return {**parameters, "model": {name: value for name, value in held.items() if name != "contribution"}}
