"""k-means on min-max scaled features: Spark ML fits, NumPy scores, means of the members keep it live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from headrace.errors import DefinitionError, InputError
from headrace.models.expressions import literal, number, where_usable
from headrace.models.learner import Contribution, Fitted, declared, require_finite
from headrace.models.moments import Floats, centred, no_products, products, rows_counted
from headrace.models.pmml import Document, away, clustered, constant, finite
from headrace.models.samples import in_order
from headrace.models.totals import merged

if TYPE_CHECKING:
    from pyspark.ml.clustering import KMeans as SparkKMeans
    from pyspark.ml.clustering import KMeansModel
    from pyspark.ml.feature import MinMaxScalerModel, VectorAssembler
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class KMeans:
    """Clusters of entities by Euclidean distance after each feature is scaled to [0, 1]; Spark ML's k-means||.

    k: clusters, at least 2; where there are fewer distinct points, as many clusters as points.
    scale: `min-max`; a feature that is constant in training is 0.5, as in Spark ML's MinMaxScaler.
    seed, max_iterations, init_steps: Spark ML's. features: those to read, all of the definition's if None.

    Parameters: features; min, max (of each, over the training rows); centers (rows of scaled coordinates);
    labels (the cluster number of each centre).
    """

    k: int
    scale: Literal["min-max"] = "min-max"
    seed: int = 7
    features: tuple[str, ...] | None = None
    max_iterations: int = 20
    init_steps: int = 2

    kind: ClassVar[str] = "kmeans"
    sample: ClassVar[Literal["entity"]] = "entity"
    outputs: ClassVar[tuple[str, ...]] = ("cluster",)

    def __post_init__(self) -> None:
        if self.features is not None:
            object.__setattr__(self, "features", tuple(self.features))
        if self.k < 2:
            raise DefinitionError("k-means needs at least two clusters", found=f"k={self.k}")
        if self.scale != "min-max":
            raise DefinitionError("k-means has no such scale", found=repr(self.scale), expected="'min-max'")

    def describe(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "k": self.k,
            "scale": self.scale,
            "seed": self.seed,
            "features": None if self.features is None else list(self.features),
            "max_iterations": self.max_iterations,
            "init_steps": self.init_steps,
        }

    def inputs(self, features: tuple[str, ...]) -> tuple[str, ...]:
        return declared("k-means", self.features or features, features)

    def fit(self, samples: DataFrame, features: tuple[str, ...], base: Mapping[str, Any] | None) -> Fitted:
        """Fit on finished features, one row an entity; `base` gives clusters the numbers of its nearest centres.

        Reads the samples twice: persist them. Up to 250,000 rows the result depends on their values and the
        seed alone, bit for bit; beyond, sums of partitions are added in the order in which they arrive.
        Metrics: inertia (sum of squared scaled distances to the nearest centre), iterations, rows, and sizes
        (rows of each cluster number).
        Raises InputError when there is no row, a null or a number that is not finite in one, or a range of a feature
        that no double holds.
        """
        from pyspark.ml import PipelineModel
        from pyspark.ml.feature import SQLTransformer

        names = self.inputs(features)
        with _scaled(samples, names) as (assembler, scaler, scaled):
            model = self._estimator().fit(scaled)
        parameters = {
            "features": list(names),
            "min": scaler.originalMin.toArray().tolist(),
            "max": scaler.originalMax.toArray().tolist(),
            "centers": [centre.tolist() for centre in model.clusterCenters()],
        }
        labels = labels_by_nearest(parameters, base)
        number = f"element_at(array({', '.join(map(str, labels))}), centre + 1)"
        named = SQLTransformer(statement=f"SELECT *, {number} AS cluster FROM __THIS__")  # noqa: S608 - own integers
        return Fitted(
            {**parameters, "labels": labels},
            PipelineModel([assembler, scaler, model, named]),
            _metrics(model, labels),
        )

    def _estimator(self) -> SparkKMeans:
        from pyspark.ml.clustering import KMeans as SparkKMeans

        return SparkKMeans(
            k=self.k,
            seed=self.seed,
            featuresCol="scaled",
            predictionCol="centre",
            maxIter=self.max_iterations,
            initSteps=self.init_steps,
        )

    def score(self, parameters: Mapping[str, Any], inputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """The cluster number of each row, int32; of centres equally near, the first, as in Spark ML."""
        nearest_centre, _ = _nearest(parameters, _usable_unit(parameters, inputs))
        return {"cluster": np.array(parameters["labels"], dtype=np.int32)[nearest_centre]}

    def sql(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        names, ends = parameters["features"], zip(parameters["min"], parameters["max"], strict=True)
        scaled = [
            f"({number(name)} - {literal(low)}) / {literal(high - low)}" if high > low else "0.5D"
            for name, (low, high) in zip(names, ends, strict=True)
        ]

        def distance(centre: Sequence[float]) -> str:
            apart = (f"({x} - {literal(c)})" for x, c in zip(scaled, centre, strict=True))
            return where_usable(names, " + ".join(f"{each} * {each}" for each in apart))

        # `least` takes two or more: the first distance once more changes nothing.
        distances = ", ".join(distance(centre) for centre in [*parameters["centers"], parameters["centers"][0]])
        first = f"CAST(array_position(array({distances}), least({distances})) AS INT)"
        # Not element_at: Spark 4.1 takes a null index for one that is there when the array is constant.
        return {"cluster": f"get(array({', '.join(map(str, parameters['labels']))}), {first} - 1)"}

    def pmml(self, parameters: Mapping[str, Any]) -> Document:
        ends = zip(parameters["features"], parameters["min"], parameters["max"], strict=True)
        scaled = {name: away(name, low, high - low) if high > low else constant(0.5) for name, low, high in ends}
        return clustered([finite(name) for name in scaled], scaled, parameters["centers"], parameters["labels"])

    def empty(self, parameters: Mapping[str, Any]) -> Contribution:
        width = len(parameters["features"])
        return {"products": [no_products(width) for _ in parameters["centers"]], "skipped": 0}

    def contribution(self, parameters: Mapping[str, Any], samples: npt.NDArray[Any]) -> Contribution:
        """For each centre the exact count, sums and sums of products of the scaled entities nearest to it."""
        scaled = _to_unit(parameters, np.asarray(samples, dtype=np.float64))
        counted = rows_counted(scaled)
        scaled = scaled[counted]
        nearest_centre, _ = _nearest(parameters, scaled)
        each = [products(scaled[nearest_centre == centre]) for centre in range(len(parameters["centers"]))]
        return {"products": each, "skipped": int(len(counted) - counted.sum())}

    def merge(self, left: Contribution, right: Contribution) -> Contribution:
        return merged(left, right)

    def live(self, parameters: Mapping[str, Any], since: Contribution) -> dict[str, Any]:
        """Each centre moved to the mean of all entities nearest to it, their labels kept: one step of Lloyd's.

        Approximate: a retrain would go on until nothing moves. A centre without entities stays where it is.
        """
        width = len(parameters["features"])
        centers = []
        for fitted, totals in zip(parameters["centers"], since["products"], strict=True):
            n, means, _ = centred(totals, width)
            centers.append(means.tolist() if n else fitted)
        return {**parameters, "centers": centers}

    def distances(self, parameters: Mapping[str, Any], inputs: npt.NDArray[Any]) -> Floats:
        """The distance of each row to its nearest centre, in scaled coordinates."""
        return _nearest(parameters, _usable_unit(parameters, inputs))[1]


@contextmanager
def _scaled(samples: DataFrame, names: Sequence[str]) -> Iterator[tuple[VectorAssembler, MinMaxScalerModel, DataFrame]]:
    """The stages up to the scaler, and the column `scaled` of what they make, kept in memory meanwhile."""
    from pyspark.ml.feature import MinMaxScaler, VectorAssembler

    assembler = VectorAssembler(inputCols=list(names), outputCol="inputs", handleInvalid="error")
    assembled = assembler.transform(in_order(samples, names, "k-means")).select("inputs").persist()
    try:
        scaler = MinMaxScaler(inputCol="inputs", outputCol="scaled").fit(assembled)
        _require_ranges(names, scaler)
        yield assembler, scaler, scaler.transform(assembled).select("scaled")
    finally:
        assembled.unpersist(blocking=True)


def _require_ranges(names: Sequence[str], scaler: MinMaxScalerModel) -> None:
    """InputError, naming the first, for a feature whose range no double holds, as nothing can be scaled to it."""
    with np.errstate(over="ignore"):
        widths = scaler.originalMax.toArray() - scaler.originalMin.toArray()
    for name, width in zip(names, widths, strict=True):
        if not np.isfinite(width):
            raise InputError(
                f"k-means cannot read {name!r}",
                found="values too far apart for their range to be a double",
                expected="values below 1e150",
                do="let `prepare` drop such events or take the logarithm",
            )


def labels_by_nearest(parameters: Mapping[str, Any], base: Mapping[str, Any] | None) -> list[int]:
    """The number of each centre: that of the base's centre it is matched to, closest pairs first.

    Distances are taken over the features of both, each scaled to the range that the two training sets have
    together. A centre without a match has the least number that the base does not use. Without a base, or without a
    feature in common, numbers are 0, 1, ...
    """
    count = len(parameters["centers"])
    labels: dict[int, int] = {}
    used: set[int] = set()
    shared = [name for name in parameters["features"] if base is not None and name in base["features"]]
    if base is not None and shared:
        used.update(base["labels"])
        ours, low, high = _unscaled(parameters, shared)
        theirs, base_low, base_high = _unscaled(base, shared)
        width = np.maximum(high, base_high) - np.minimum(low, base_low)
        width[width == 0] = 1
        distance = (((ours[:, None] - theirs) / width) ** 2).sum(axis=2)
        taken: set[int] = set()
        for pair in np.argsort(distance, axis=None, kind="stable"):
            centre, other = divmod(int(pair), len(theirs))
            if centre not in labels and other not in taken:
                labels[centre] = base["labels"][other]
                taken.add(other)
    free = (number for number in range(count + len(used)) if number not in used)
    return [labels[centre] if centre in labels else next(free) for centre in range(count)]


def _unscaled(parameters: Mapping[str, Any], names: Sequence[str]) -> tuple[Floats, Floats, Floats]:
    """Centres in the features' own units, and the features' least and greatest values."""
    at = [parameters["features"].index(name) for name in names]
    low, high = (np.array(parameters[end], dtype=np.float64)[at] for end in ("min", "max"))
    return low + np.array(parameters["centers"], dtype=np.float64)[:, at] * (high - low), low, high


def _nearest(parameters: Mapping[str, Any], scaled: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """Index of the centre nearest to each scaled row, the first of equally near ones, and the distance to it."""
    best = np.zeros(len(scaled), dtype=np.intp)
    least = np.full(len(scaled), np.inf)
    # One centre at a time: rows x centres x features at once need not fit in memory.
    for index, centre in enumerate(parameters["centers"]):
        squared = reduce(add, ((scaled[:, i] - c) ** 2 for i, c in enumerate(centre)))
        nearer = squared < least
        best[nearer], least[nearer] = index, squared[nearer]
    return best, np.sqrt(least)


def _usable_unit(parameters: Mapping[str, Any], inputs: npt.NDArray[Any]) -> Floats:
    """The rows scaled; InputError for a number that is not finite."""
    rows = np.asarray(inputs, dtype=np.float64)
    require_finite("k-means", parameters["features"], rows)
    return _to_unit(parameters, rows)


def _to_unit(parameters: Mapping[str, Any], rows: Floats) -> Floats:
    """Features scaled to [0, 1] over the training rows; 0.5 for one that was constant there."""
    low, high = np.array(parameters["min"]), np.array(parameters["max"])
    width = high - low
    return np.where(width > 0, (rows - low) / np.where(width > 0, width, 1), 0.5)


def _metrics(model: KMeansModel, labels: list[int]) -> dict[str, Any]:
    summary = model.summary
    sizes = summary.clusterSizes
    return {
        "inertia": summary.trainingCost,
        "iterations": summary.numIter,
        "rows": sum(sizes),
        "sizes": {str(label): size for label, size in sorted(zip(labels, sizes, strict=False))},
    }


def inertia_by_k(samples: DataFrame, features: tuple[str, ...], ks: Sequence[int], seed: int = 7) -> dict[int, float]:
    """The inertia of one fit for each k, for the curve that shows where further clusters stop paying.

    In: finished features, as for `KMeans.fit`; a bounded sample is enough.
    """
    with _scaled(samples, KMeans(2).inputs(features)) as (_, _, scaled):
        return {k: KMeans(k, seed=seed)._estimator().fit(scaled).summary.trainingCost for k in ks}
