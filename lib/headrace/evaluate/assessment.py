"""What held-out samples show beyond single numbers: where a learner misses, how sure it is, where to cut.

All of it is counted where the samples are; what comes back has a fixed size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.errors import DefinitionError
from headrace.evaluate.metrics import Metric, classes_of, f1_by_class, metrics_of, of_classes, of_numbers, teller
from headrace.models.learner import Learner
from headrace.models.linear import LinearRegression
from headrace.models.logistic import LogisticRegression
from headrace.models.naive_bayes import NaiveBayes

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

RESIDUAL_BINS = 40
_SPREADS = 4.0  # residuals beyond so many rmse are in the outermost bins
CALIBRATION_BINS = 10
CUTS = 100


def assessed(learner: Learner, rows: DataFrame) -> dict[str, Any]:
    """The metrics of the learner's kind, the baseline, and what its kind has beside.

    In: actual: double; the learner's outputs. Numbers: `residuals`. Two classes: `calibration`, `cuts`, `best_cut`.
    Classes: `by_class`. Reads the rows up to six times: persist them. Raises InputError as the metrics do, and
    DefinitionError for a learner of another kind.
    """
    match teller(learner):
        case LinearRegression():
            found = of_numbers(rows.selectExpr("actual", "prediction AS told"))
            return {**found, "residuals": residuals(rows, found["rmse"])}
        case LogisticRegression() | NaiveBayes():
            found = of_classes(rows, classes_of(learner))
            found["by_class"] = by_class(found["confusion"])
            found["log_loss_of_shares"] = _entropy(found["confusion"])
            if classes_of(learner) == 2:
                found |= {"calibration": calibration(rows), **cuts(rows)}
            return found
    raise DefinitionError(
        f"what a learner of kind {learner.kind!r} tells is not assessed", expected="a learner of numbers or classes"
    )


def residuals(rows: DataFrame, rmse: float) -> dict[str, Any]:
    """actual - prediction in bins of equal width up to four rmse either way; the outermost hold what is beyond.

    Out: edges, counts, mean, and the shares told too low and too high.
    """
    from pyspark.sql import functions as F

    reach = _SPREADS * rmse or 1.0
    width = 2 * reach / RESIDUAL_BINS
    missed = F.col("actual") - F.col("prediction")
    place = F.least(F.greatest(F.floor((missed + reach) / width), F.lit(0)), F.lit(RESIDUAL_BINS - 1))
    held = {row["bin"]: row["count"] for row in rows.groupBy(place.alias("bin")).count().collect()}
    seen = rows.agg(
        F.avg(missed).alias("mean"),
        F.avg((missed > 0).cast("double")).alias("too_low"),
        F.avg((missed < 0).cast("double")).alias("too_high"),
    ).first()
    assert seen is not None  # noqa: S101 - an aggregate without keys has one row
    edges = [-reach + width * each for each in range(RESIDUAL_BINS + 1)]
    return {"edges": edges, "counts": [held.get(each, 0) for each in range(RESIDUAL_BINS)], **seen.asDict()}


def calibration(rows: DataFrame) -> dict[str, Any]:
    """How often class 1 is the case where it is told to be so likely, in tenths.

    Out: bins (rows, mean probability, share of class 1; those without a row left out), brier (the mean squared
    distance of probability and class) and expected_error (the mean over rows of |probability - share| of their bin).
    Source: M. Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, 2015.
    """
    from pyspark.sql import functions as F

    likely, actual = F.col("probability_1"), F.col("actual")
    place = F.least(F.floor(likely * CALIBRATION_BINS), F.lit(CALIBRATION_BINS - 1))
    found = (
        rows.groupBy(place.alias("bin"))
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.avg(likely).alias("probability"),
            F.avg(actual).alias("share"),
            F.sum((likely - actual) * (likely - actual)).alias("squared"),
        )
        .orderBy("bin")
        .collect()
    )
    total = sum(row["rows"] for row in found)
    bins = [{name: row[name] for name in ("rows", "probability", "share")} for row in found]
    return {
        "bins": bins,
        "brier": sum(row["squared"] for row in found) / total,
        "expected_error": sum(one["rows"] * abs(one["probability"] - one["share"]) for one in bins) / total,
    }


def cuts(rows: DataFrame) -> dict[str, Any]:
    """What telling class 1 from a probability on gives, for every hundredth, and the best cut by F1 and by accuracy.

    Out: cuts (cut, confusion as actual down and told across, precision, recall, f1, accuracy), best_cut by metric; of
    equally good ones the least.
    """
    from pyspark.sql import functions as F

    at = [each / CUTS for each in range(CUTS + 1)]
    reached = F.size(F.filter(F.array(*map(F.lit, at)), lambda cut: cut <= F.col("probability_1"))).alias("reached")
    counts = {
        (int(row["actual"]), row["reached"]): row["count"] for row in rows.groupBy("actual", reached).count().collect()
    }
    of_class = [sum(count for (actual, _), count in counts.items() if actual == each) for each in (0, 1)]
    told = []
    for number, cut in enumerate(at):
        ones = [
            sum(count for (actual, passed), count in counts.items() if actual == each and passed > number)
            for each in (0, 1)
        ]
        told.append({"cut": cut, **_at_cut([[of_class[each] - ones[each], ones[each]] for each in (0, 1)])})
    best = {name: max(told, key=lambda one: (one[name], -one["cut"]))["cut"] for name in ("f1", "accuracy")}
    return {"cuts": told, "best_cut": best}


def by_class(confusion: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and rows of each class; 0 where nothing was told or nothing is the case.

    >>> by_class([[2, 1], [1, 0]])[0]
    {'rows': 3, 'precision': 0.6666666666666666, 'recall': 0.6666666666666666, 'f1': 0.6666666666666666}
    """
    made = []
    for each, (row, f1) in enumerate(zip(confusion, f1_by_class(confusion), strict=True)):
        told, held = sum(other[each] for other in confusion), sum(row)
        precision, recall = (row[each] / whole if whole else 0.0 for whole in (told, held))
        made.append({"rows": held, "precision": precision, "recall": recall, "f1": f1})
    return made


@dataclass(frozen=True)
class Against:
    """One metric of two generations on the same samples."""

    metric: Metric
    found: float
    other: float

    @property
    def better(self) -> bool | None:
        """Whether the first one is; None where they are equal."""
        if self.found == self.other:
            return None
        return (self.found > self.other) == self.metric.greater_is_better

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric.name,
            "found": self.found,
            "other": self.other,
            "difference": self.found - self.other,
            "better": self.better,
        }


def against(learner: Learner, found: Mapping[str, Any], other: Mapping[str, Any]) -> list[Against]:
    """Every metric of the learner's kind, of two assessments over the same samples."""
    return [Against(metric, found[metric.name], other[metric.name]) for metric in metrics_of(learner)]


def _at_cut(confusion: list[list[int]]) -> dict[str, Any]:
    one = by_class(confusion)[1]
    rows = sum(map(sum, confusion))
    found = {name: one[name] for name in ("precision", "recall", "f1")}
    return {"confusion": confusion, **found, "accuracy": (confusion[0][0] + confusion[1][1]) / rows}


def _entropy(confusion: Sequence[Sequence[int]]) -> float:
    """The log loss of always answering the classes' own shares."""
    from math import log

    held = [sum(row) for row in confusion]
    return -sum(n / sum(held) * log(n / sum(held)) for n in held if n)
