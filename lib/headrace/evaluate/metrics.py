"""What samples show of a fitted learner: one function by kind of what it tells, computed where the samples are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.errors import DefinitionError, InputError, nearest
from headrace.models.classes import fit_metrics, is_class_sql
from headrace.models.encoded import Encoded
from headrace.models.expressions import column
from headrace.models.kmeans import KMeans
from headrace.models.learner import Fitted, Learner
from headrace.models.linear import LinearRegression
from headrace.models.logistic import LogisticRegression
from headrace.models.naive_bayes import NaiveBayes
from headrace.models.samples import usable
from headrace.models.texts import known_texts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Metric:
    """A number that says how good a learner is, and which of two is the better one."""

    name: str
    greater_is_better: bool = False


_NUMBERS = (Metric("rmse"), Metric("mae"), Metric("r2", greater_is_better=True))
_CLASSES = (Metric("log_loss"), *(Metric(name, greater_is_better=True) for name in ("accuracy", "macro_f1")))
_TWO_CLASSES = (*_CLASSES, Metric("auc", greater_is_better=True))
_CLUSTERS = (Metric("silhouette", greater_is_better=True), Metric("inertia"))


def metrics_of(learner: Learner) -> tuple[Metric, ...]:
    """The metrics of what the learner tells, the usual one first. DefinitionError where nothing measures that.

    >>> [metric.name for metric in metrics_of(KMeans(3))]
    ['silhouette', 'inertia']
    """
    match teller(learner):
        case LinearRegression():
            return _NUMBERS
        case LogisticRegression() | NaiveBayes():
            classes = classes_of(learner)
            own = tuple(Metric(f"f1_{each}", greater_is_better=True) for each in range(classes))
            return (*(_TWO_CLASSES if classes == 2 else _CLASSES), *own)
        case KMeans():
            return _CLUSTERS
    raise DefinitionError(
        f"nothing measures what a learner of kind {learner.kind!r} tells",
        expected="one of numbers, classes or clusters",
    )


def teller(learner: Learner) -> Learner:
    """What tells: the regression under the encodings, or the learner itself."""
    return learner.regression(("any",)) if isinstance(learner, Encoded) else learner


def classes_of(learner: Learner) -> int:
    """How many classes it tells, 0 for a learner of numbers."""
    return int(getattr(teller(learner), "classes", 0))


def metric_named(learner: Learner, name: str | None) -> Metric:
    """The metric of that name, None: the usual one. DefinitionError, with the nearest, for one it does not have."""
    known = {metric.name: metric for metric in metrics_of(learner)}
    if name is None:
        return next(iter(known.values()))
    if name not in known:
        raise DefinitionError(
            f"a learner of kind {learner.kind!r} has no such metric",
            found=repr(name),
            expected=f"one of {', '.join(known)}",
            nearest=nearest(name, known),
        )
    return known[name]


def measured(learner: Learner, fitted: Fitted, samples: DataFrame, columns: Sequence[str]) -> dict[str, Any]:
    """The metrics over samples, by the kind of what the learner tells, with `rows` and `skipped`.

    In: `columns`, as it was fitted on them: what the learner reads, and of an event the target after them. Rows that it
    does not score, or whose target is none of the classes, are `skipped`. Reads the samples up to four times: persist
    them.
    Raises InputError when no row is left, or a metric has no value.
    """
    asked = metrics_of(learner)
    optional, texts = getattr(learner, "optional", ()), known_texts(fitted.parameters)
    numbers, total = usable(samples, columns, optional, texts), samples.count()
    match teller(learner):
        case LinearRegression():
            told = numbers.selectExpr(column(columns[-1]), *_told(learner, fitted)).toDF("actual", "told")
            found = of_numbers(told)
        case LogisticRegression() | NaiveBayes():
            known = numbers.where(is_class_sql(columns[-1], classes_of(learner)))
            told = known.selectExpr(f"{column(columns[-1])} AS actual", *_told(learner, fitted))
            found = of_classes(told.where("prediction IS NOT NULL"), classes_of(learner))
        case _:
            found = of_clusters(fitted.pipeline.transform(numbers), fitted.parameters["centers"])
    for metric in asked:
        if not math.isfinite(found[metric.name]):
            raise InputError(f"samples cannot be measured: their {metric.name} is no number", found=found[metric.name])
    return {**found, "skipped": total - found["rows"]}


def of_numbers(rows: DataFrame) -> dict[str, Any]:
    """Of a number: rmse, mae, r2, and rmse_of_mean, of always answering the mean of these rows.

    In: actual, told: double. Where all actual ones are equal, r2 is 1 for telling them exactly, else 0.
    Source: r2 = 1 - sum of squared errors / sum of squared distances from the mean.
    """
    from pyspark.sql import functions as F

    missed = F.col("actual") - F.col("told")
    seen = rows.agg(
        F.count("told").alias("rows"),
        F.sqrt(F.avg(missed * missed)).alias("rmse"),
        F.avg(F.abs(missed)).alias("mae"),
        F.stddev_pop("actual").alias("rmse_of_mean"),
    ).first()
    assert seen is not None  # noqa: S101 - an aggregate without keys has one row
    found = _with_rows(seen.asDict())
    error, spread = found["rmse"], found["rmse_of_mean"]
    return {**found, "r2": 1 - (error / spread) ** 2 if spread else float(error == 0)}


def of_classes(rows: DataFrame, classes: int) -> dict[str, Any]:
    """Of a class: log_loss, accuracy, macro_f1, f1_0, ..., confusion (actual down, told across), auc of two classes.

    In: actual, prediction: the classes' numbers; probability_0, ...: double. No probability counts as less than 1e-15.
    Source: auc is the area under the curve of true by false positive rates over all cut-offs, by trapezoids, as Spark
    ML computes it; it needs rows of both classes.
    """
    counts = rows.groupBy("actual", "prediction").count().collect()
    confusion = [[0] * classes for _ in range(classes)]
    for row in counts:
        confusion[int(row["actual"])][int(row["prediction"])] += row["count"]
    names = [f"probability_{each}" for each in range(classes)]
    outputs = {name: column(name) for name in (*names, "prediction")}
    aggregates = fit_metrics(outputs, "actual", classes).items()
    seen = rows.selectExpr("count(*) AS rows", *(f"{made} AS {name}" for name, made in aggregates)).first()
    assert seen is not None  # noqa: S101 - an aggregate without keys has one row
    found = _with_rows(seen.asDict())
    own = f1_by_class(confusion)
    found |= {"macro_f1": sum(own) / classes, **{f"f1_{each}": value for each, value in enumerate(own)}}
    if classes == 2:
        found["auc"] = _area(rows, confusion)
    return {**found, "confusion": confusion}


def f1_by_class(confusion: Sequence[Sequence[int]]) -> list[float]:
    """The harmonic mean of precision and recall of each class; 0 for one that neither occurs nor is told.

    Source: F1 = 2 TP / (2 TP + FP + FN); N. Chinchor, MUC-4 Evaluation Metrics, 1992.

    >>> f1_by_class([[2, 1], [1, 0]])
    [0.6666666666666666, 0.0]
    """
    found = []
    for each, row in enumerate(confusion):
        of_both = sum(row) + sum(other[each] for other in confusion)
        found.append(2 * row[each] / of_both if of_both else 0.0)
    return found


def of_clusters(rows: DataFrame, centers: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Of clusters: silhouette, and inertia, the sum of squared scaled distances to the own centre.

    In: scaled: vector; centre: int, which of `centers` the row is nearest to. The silhouette is the mean over rows of
    (b - a) / max(a, b), where a is the mean squared distance to the rows of the own cluster, b that to the rows of the
    nearest other one; it needs rows of two clusters. Source: P. Rousseeuw, Silhouettes, 1987; Spark ML's
    ClusteringEvaluator with squared Euclidean distances.
    """
    from pyspark.ml.evaluation import ClusteringEvaluator
    from pyspark.ml.functions import vector_to_array
    from pyspark.sql import functions as F

    point, every = vector_to_array(F.col("scaled")), F.array(*(F.array(*map(F.lit, center)) for center in centers))
    apart = F.zip_with(point, F.get(every, F.col("centre")), lambda a, b: (a - b) * (a - b))
    squared = F.aggregate(apart, F.lit(0.0), lambda total, each: total + each)
    seen = rows.agg(
        F.count("centre").alias("rows"), F.sum(squared).alias("inertia"), F.count_distinct("centre").alias("clusters")
    ).first()
    assert seen is not None  # noqa: S101 - an aggregate without keys has one row
    found = _with_rows(seen.asDict())
    if found.pop("clusters") < 2:
        raise InputError("samples cannot be measured: they are all of one cluster", do="hold out more of them")
    silhouette = ClusteringEvaluator(featuresCol="scaled", predictionCol="centre").evaluate(rows)
    return {**found, "silhouette": silhouette}


def _told(learner: Learner, fitted: Fitted) -> list[str]:
    return [f"{sql} AS {name}" for name, sql in learner.sql(fitted.parameters).items()]


def _area(rows: DataFrame, confusion: Sequence[Sequence[int]]) -> float:
    from pyspark.ml.evaluation import BinaryClassificationEvaluator

    missing = [each for each, told in enumerate(confusion) if not sum(told)]
    if missing:
        raise InputError(
            f"samples cannot be measured: none is of class {missing[0]}",
            found=f"confusion {confusion}",
            do="hold out more of them",
        )
    # No bins: the curve over all cut-offs, whatever how many there are.
    asked = BinaryClassificationEvaluator(rawPredictionCol="probability_1", labelCol="actual", numBins=0)
    return asked.evaluate(rows)


def _with_rows(found: Mapping[str, Any]) -> dict[str, Any]:
    """The same as a dictionary. Raises InputError when there was no row."""
    if not found["rows"]:
        raise InputError(
            "samples cannot be measured: there are none that the learner scores",
            do="hold out more of them, or look at the drop reasons in the report",
        )
    return dict(found)
