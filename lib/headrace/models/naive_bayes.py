"""Naive Bayes of two or more classes: counts by class and token, the same in training and live. Exact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from headrace.errors import DefinitionError, InputError
from headrace.models.classes import (
    class_outputs,
    fit_metrics,
    is_class,
    is_class_sql,
    require_every_class,
    told,
    told_sql,
)
from headrace.models.contribution import contributed
from headrace.models.expressions import column, literal, number, weighted, where
from headrace.models.learner import Contribution, Fitted, require_finite
from headrace.models.moments import Floats
from headrace.models.pmml import Document
from headrace.models.samples import in_order, usable
from headrace.models.scaling import weighted_sum
from headrace.models.tokens import (
    LIMITS,
    Model,
    by_class,
    categories_as_pmml,
    counts_as_pmml,
    of_categories,
    of_columns,
    tables,
    weights,
)
from headrace.models.totals import merged
from headrace.schemas.lake import FOUND

if TYPE_CHECKING:
    from pyspark.ml import Transformer
    from pyspark.sql import DataFrame

_NAME = "naive Bayes"
# Counts of a contribution, beyond which an item of the store may not hold it: 400 KB, up to 80 bytes a count.
MAX_COUNTS = 5_000


@dataclass(frozen=True)
class NaiveBayes:
    """The probability of each class of an event by its columns, each taken on its own; a sample is an event.

    features: columns of the prepared events that hold whole numbers. model: what they are.
    `multinomial`: counts of a token each, from 0 up, below 2**31; Spark ML's. `bernoulli`: 1 where a token is present,
    0 where it is absent; Spark ML's. `categorical`: the numbers of categories, from 0 up and below `categories`, a
    token for each that occurs; Spark ML has none, so its pipeline is the SQL.
    smoothing: what is added to every count, greater than 0. classes: how many; the target holds their numbers, 0 up.
    unseen: what becomes of a row to be scored that has a category which no sample had: `keep` gives it the
    smoothing's share alone, `fail` refuses all rows by name, `quarantine` sets this one aside with its reason, numbers
    that are no category too. As a sample it counts from then on, under each.

    Outputs: `probability_0`, ... of the classes, and `prediction`, the number of the likeliest.
    Samples with a null or a number that the model does not take, or a target that is none of the classes, are not
    counted, neither in batch nor in the stream; `skipped` says how many.
    Against a full recomputation: exact. Live parameters are those of a new fit on training and later samples together.

    Parameters: features, target, classes; constants (of each class) and weights (classes x features), or for
    categories constants, tables (of each feature, category -> the logarithm of its share in each class) and unseen
    (that of any other category); contribution (the counts of training).
    """

    features: tuple[str, ...]
    model: Model = "multinomial"
    smoothing: float = 1.0
    classes: int = 2
    categories: int = 100
    unseen: Literal["keep", "fail", "quarantine"] = "keep"

    kind: ClassVar[str] = "naive_bayes"
    sample: ClassVar[Literal["event"]] = "event"

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        if self.classes < 2:
            raise DefinitionError(f"{_NAME} needs at least two classes", found=f"classes={self.classes}")
        for what, found, among in (
            ("model", self.model, get_args(Model)),
            ("rule for the unseen", self.unseen, ("keep", "fail", "quarantine")),
        ):
            if found not in among:
                raise DefinitionError(f"{_NAME} has no such {what}", found=repr(found), expected=f"one of {among}")
        if not (np.isfinite(self.smoothing) and self.smoothing > 0):
            raise DefinitionError(f"{_NAME} has no such smoothing", found=self.smoothing, expected="a number above 0")
        tokens = self.categories if self.model == "categorical" else 1
        counts = self.classes * len(self.features) * tokens
        if not 0 < len(set(self.features)) == len(self.features) or not 0 < counts <= MAX_COUNTS:
            raise DefinitionError(
                f"{_NAME} cannot read these features",
                found=f"{len(self.features)}, of which {len(set(self.features))} are distinct; {counts} counts to keep",
                expected=f"distinct columns, at least one, and 1 to {MAX_COUNTS} counts",
                do="name fewer features, or fewer `categories` than they may have",
            )

    @property
    def outputs(self) -> tuple[str, ...]:
        return class_outputs(self.classes)

    @property
    def _limit(self) -> float:
        """The number that inputs are below."""
        return LIMITS.get(self.model, float(self.categories))

    def describe(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "features": list(self.features),
            "model": self.model,
            "smoothing": self.smoothing,
            "classes": self.classes,
            "categories": self.categories,
            "unseen": self.unseen,
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

        The pipeline gives Spark ML's columns, `probability`, a vector, and `prediction`; that of categories gives the
        outputs. Reads the samples twice: persist them. Metrics: rows, skipped, classes (samples of each), log_loss,
        accuracy.
        Raises InputError when there is no usable sample or a class has none.
        """
        from pyspark.ml import PipelineModel

        target = columns[-1]
        taken = [is_class_sql(target, self.classes), *(self._taken(name) for name in self.features)]
        numbers = in_order(usable(samples, columns).where(" AND ".join(taken)), columns, _NAME).persist()
        try:
            start = {"features": list(self.features), "target": target, "classes": self.classes}
            state = contributed(self, start, samples, columns)
            counts = [state["samples"].get(str(each), 0) for each in range(self.classes)]
            require_every_class(_NAME, target, counts)
            parameters = self._solved({**start, "contribution": state}, state)
            sql = self.sql(parameters)
            metrics = fit_metrics(sql, target, self.classes)
            told_right = numbers.selectExpr(*(f"{made} AS {name}" for name, made in metrics.items())).first()
            stages = self._stages(numbers, target, sql)
        finally:
            numbers.unpersist(blocking=True)
        assert told_right is not None  # noqa: S101 - an aggregate without keys has one row
        seen = {"rows": sum(counts), "skipped": state["skipped"], "classes": counts, **told_right.asDict()}
        return Fitted(parameters, PipelineModel(stages), seen)

    def _stages(self, numbers: DataFrame, target: str, sql: Mapping[str, str]) -> list[Transformer]:
        from pyspark.ml.classification import NaiveBayes as SparkNaiveBayes
        from pyspark.ml.feature import SQLTransformer, VectorAssembler

        if self.model == "categorical":
            made = ", ".join(f"{text} AS {column(name)}" for name, text in sql.items())
            return [SQLTransformer(statement=f"SELECT *, {made} FROM __THIS__")]  # noqa: S608 - own numbers
        inputs = VectorAssembler(inputCols=list(self.features), outputCol="inputs", handleInvalid="error")
        estimator = SparkNaiveBayes(
            featuresCol="inputs", labelCol=target, modelType=self.model, smoothing=self.smoothing
        )
        return [inputs, estimator.fit(inputs.transform(numbers))]

    def score(self, parameters: Mapping[str, Any], inputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Probabilities of each row, float64, and the likeliest class, int32, the first of equally likely ones.

        Raises InputError, naming the feature and the row, for a number that the model does not take.
        """
        rows = np.asarray(inputs, dtype=np.float64)
        require_finite(_NAME, parameters["features"], rows)
        for row, name, value, expected in self._refused(parameters, rows):
            raise InputError(
                f"{_NAME} input {name!r} is not usable",
                found=f"{value!r} in row {row}",
                expected=expected,
                do="let `prepare` drop such events, or leave the feature out of the learner's `features`",
            )
        return told(self._scores(parameters, rows))

    def set_aside(self, parameters: Mapping[str, Any], inputs: npt.NDArray[Any]) -> dict[int, str]:
        """Under `quarantine`, the rows with a number that is no category which a sample had, and what it is."""
        if self.model != "categorical" or self.unseen != "quarantine":
            return {}
        refused = self._refused(parameters, np.asarray(inputs, dtype=np.float64))
        reasons = ((row, f"{name} is not {expected}{FOUND}{value!r}") for row, name, value, expected in refused)
        return dict(reversed([*reasons]))  # the first feature's, as `score` names it

    def _refused(self, parameters: Mapping[str, Any], rows: Floats) -> Iterator[tuple[int, str, float, str]]:
        """Feature by feature the rows whose number is not taken, the number, and what is."""
        for place, name in enumerate(self.features):
            whole = is_class(rows[:, place], int(self._limit))
            taken = whole
            if self.model == "categorical" and self.unseen != "keep":
                taken = whole & np.isin(rows[:, place], [float(code) for code in parameters["tables"][place]])
            for row in np.flatnonzero(~taken).tolist():
                no_number = f"a whole number from 0 up, below {self._limit:.0f}"
                yield row, name, float(rows[row, place]), "a category that a sample had" if whole[row] else no_number

    def _scores(self, parameters: Mapping[str, Any], rows: Floats) -> Floats:
        made = []
        for each, constant in enumerate(parameters["constants"]):
            if self.model == "categorical":
                shares = np.empty_like(rows)
                for place, table in enumerate(parameters["tables"]):
                    looked_up = np.full(self.categories, parameters["unseen"][place][each])
                    looked_up[[int(code) for code in table]] = [told_of[each] for told_of in table.values()]
                    shares[:, place] = looked_up[rows[:, place].astype(np.int64)]
                made.append(weighted_sum(shares, [1.0] * len(self.features), constant))
            else:
                made.append(weighted_sum(rows, parameters["weights"][each], constant))
        return np.column_stack(made)

    def sql(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        conditions = [self._taken(name) for name in self.features]
        if self.model == "categorical" and self.unseen != "keep":
            conditions += [
                f"{number(name)} IN ({', '.join(literal(float(code)) for code in table)})"
                for name, table in zip(self.features, parameters["tables"], strict=True)
            ]

        def difference(one: int, other: int) -> str:
            constant = parameters["constants"][one] - parameters["constants"][other]
            if self.model != "categorical":
                apart = np.array(parameters["weights"][one]) - np.array(parameters["weights"][other])
                zeros = [0.0] * len(self.features)
                return where(conditions, weighted(self.features, zeros, apart.tolist(), constant))
            terms = [literal(constant)]
            for name, table, rest in zip(self.features, parameters["tables"], parameters["unseen"], strict=True):
                cases = " ".join(
                    f"WHEN {literal(float(code))} THEN {literal(told_of[one] - told_of[other])}"
                    for code, told_of in table.items()
                )
                terms.append(f"CASE {number(name)} {cases} ELSE {literal(rest[one] - rest[other])} END")
            return where(conditions, f"({' + '.join(terms)})")

        return told_sql(self.classes, difference)

    def pmml(self, parameters: Mapping[str, Any]) -> Document:
        if self.model == "categorical":
            return categories_as_pmml(parameters, self.categories if self.unseen == "keep" else None)
        return counts_as_pmml(parameters, self._limit)

    def _taken(self, name: str) -> str:
        """SQL: the column holds a number that the model takes. In Spark NaN is greater than any number."""
        value = number(name)
        return f"{value} >= 0.0D AND {value} < {literal(self._limit)} AND rint({value}) = {value}"

    def empty(self, parameters: Mapping[str, Any]) -> Contribution:  # noqa: ARG002
        return {"samples": {}, "tokens": {}, "skipped": 0}

    def contribution(self, parameters: Mapping[str, Any], samples: npt.NDArray[Any]) -> Contribution:  # noqa: ARG002
        """Samples by class, and by class and token what there is of it; no zeros. Keys are text, as in JSON."""
        samples = np.asarray(samples, dtype=np.float64)
        rows, target = samples[:, :-1], samples[:, -1]
        counted = is_class(rows, int(self._limit)).all(axis=1) & is_class(target, self.classes)
        whole, classes = rows[counted].astype(np.int64), target[counted].astype(np.int64)
        count = of_categories if self.model == "categorical" else of_columns
        return {**by_class(whole, classes, self.features, count), "skipped": int(len(counted) - counted.sum())}

    def merge(self, left: Contribution, right: Contribution) -> Contribution:
        return merged(left, right)

    def live(self, parameters: Mapping[str, Any], since: Contribution) -> dict[str, Any]:
        """What a new fit on training and later samples would give."""
        return self._solved(parameters, self.merge(parameters["contribution"], since))

    def _solved(self, parameters: Mapping[str, Any], counts: Contribution) -> dict[str, Any]:
        if self.model == "categorical":
            return {**parameters, **tables(counts, self.features, self.classes, self.smoothing)}
        return {**parameters, **weights(counts, self.features, self.classes, self.smoothing, self.model)}
