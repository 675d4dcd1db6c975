"""Ten million rows of ten features to probabilities, Parquet to Parquet: our SQL, Spark ML's transform, and DuckDB."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import Cost, Metric, compared, cpu, in_process, side_by_side
from bench.peers import PeerServer
from headrace import config
from headrace.models.logistic import LogisticRegression
from headrace.session import open_session

ROWS = 10_000_000
FITTED_ON = 200_000
FEATURES = tuple(f"x{place}" for place in range(10))
LEARNER = LogisticRegression(FEATURES)


def run(work: Path, _source: Path) -> Iterator[Metric]:
    """CPU seconds, warm. All three write id, both probabilities and the class, of one model; equal to 1e-12."""
    settings = config.load([f"home={work}", "spark.driver_memory=4g", "spark.jvm_flags="])
    spark = open_session(settings, "bench")
    rows, ours, ml, duck = (str(work / name) for name in ("rows", "ours", "ml", "duck"))
    _made(spark).write.parquet(rows)
    pipeline = _pipeline(spark, rows)
    parameters = _parameters(pipeline.stages[-1])
    told = LEARNER.sql(parameters)
    plan = work / "plan.json"
    plan.write_text(json.dumps(parameters))

    def compiled() -> None:
        columns = (f"{sql} AS {name}" for name, sql in told.items())
        spark.read.parquet(rows).selectExpr("id", *columns).write.mode("overwrite").parquet(ours)

    def transformed() -> None:
        done = pipeline.transform(spark.read.parquet(rows))
        done.select("id", "probability", "prediction").write.mode("overwrite").parquet(ml)

    def mine() -> Cost:
        return in_process(compiled)

    pairs = side_by_side(mine, lambda: in_process(transformed))
    _require_equal(spark, ours, ml)
    yield compared("scoring_10m_cpu_vs_spark_ml", *pairs, cpu, at_most=1 / 3.5, rows_a_cpu_second=_pace(pairs[0]))
    with PeerServer("duckdb_logistic", rows, str(plan), duck) as peer:
        pairs = side_by_side(mine, peer.measure)
    _require_equal(spark, ours, duck)
    yield compared("scoring_10m_cpu_vs_duckdb", *pairs, cpu, at_most=2, rows_a_cpu_second=_pace(pairs[0]))
    spark.stop()
    shutil.rmtree(rows)


def _made(spark: Any) -> Any:
    """id and ten features of quite different sizes, and a class that depends on them by chance."""
    columns = [f"randn({place}) * {2.0**place} + {3 * place} AS {name}" for place, name in enumerate(FEATURES)]
    score = " + ".join(
        f"(x{place} - {3 * place}) / {2.0**place} * {(-1) ** place * (place + 1) / 10}" for place in range(10)
    )
    made = spark.range(0, ROWS, 1, 8).selectExpr("id", *columns)
    return made.selectExpr("*", f"CAST(rand(99) < 1 / (1 + exp(-({score}))) AS INT) AS class")


def _pipeline(spark: Any, rows: str) -> Any:
    """What a user of Spark ML writes; its estimator scales by itself."""
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression as SparkLogisticRegression
    from pyspark.ml.feature import VectorAssembler

    stages = [
        VectorAssembler(inputCols=list(FEATURES), outputCol="features"),
        SparkLogisticRegression(labelCol="class", featuresCol="features"),
    ]
    return Pipeline(stages=stages).fit(spark.read.parquet(rows).limit(FITTED_ON))


def _parameters(model: Any) -> dict[str, Any]:
    """That model as our parameters: the same function, written around the features' centres."""
    coefficients = model.coefficients.toArray()
    mean, scale = np.array([3.0 * place for place in range(10)]), np.array([2.0**place for place in range(10)])
    return {
        "features": list(FEATURES),
        "classes": 2,
        "mean": mean.tolist(),
        "scale": scale.tolist(),
        "coefficients": [(coefficients * scale).tolist()],
        "intercepts": [float(model.intercept + coefficients @ mean)],
    }


def _require_equal(spark: Any, ours: str, theirs: str) -> None:
    """Every probability to 1e-12, and every class."""
    from pyspark.ml.functions import vector_to_array
    from pyspark.sql import functions as F

    peer = spark.read.parquet(theirs)
    if "probability" in peer.columns:
        both = vector_to_array("probability")
        peer = peer.select("id", both[0].alias("probability_0"), both[1].alias("probability_1"), "prediction")
    peer = peer.toDF("id", "p0", "p1", "class")
    apart = F.greatest(F.abs(F.col("probability_0") - F.col("p0")), F.abs(F.col("probability_1") - F.col("p1")))
    found = spark.read.parquet(ours).join(peer, "id").agg(
        F.count("*"), F.max(apart), F.count_if(F.col("prediction") != F.col("class"))
    )  # fmt: skip
    count, furthest, other = found.first()
    assert count == ROWS
    assert furthest <= 1e-12, furthest
    assert other == 0, other


def _pace(costs: list[Cost]) -> int:
    return round(ROWS / sorted(cost.cpu_s for cost in costs)[len(costs) // 2])
