"""The batch prediction of the `sales` case: 30,382 records with gzip CSV and RMSE, on warm Spark and as a command.

Warm it is held against the minute that was published for as many records by Amazon Machine Learning, a figure of
another machine; cold against a bare PySpark script that loads the same generation's Spark ML pipeline.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.measure import Cost, Metric, command, compared, in_process, side_by_side, wall
from bench.peers import ROOT
from bench.starting import HEADRACE
from headrace import config
from headrace.batch.evaluate import evaluate
from headrace.batch.ingest import ingest
from headrace.batch.prediction import predict_events
from headrace.batch.train import train
from headrace.definitions.sales import sales
from headrace.local.engines import running
from headrace.local.postgres import DATABASE, USER, data_folder, password_of
from headrace.registry import Registry
from headrace.registry.generations import MODEL
from headrace.session import open_session
from headrace.sources.postgres import Server, query_to_parquet
from headrace.sources.tickit.query import QUERY
from headrace.sources.tickit.stage import SCHEMA, load

PUBLISHED_S, RECORDS, ROUNDS = 60.0, 30_382, 14


def run(work: Path, _source: Path) -> Iterator[Metric]:
    settings = config.load([f"home={work}"])
    source = work / "sales.parquet"
    with running("postgres", work) as engine:
        host, _, port = str(engine.endpoint).rpartition(":")
        server = Server(host, int(port), DATABASE, USER, password_of(work / "postgres"))
        load(server)
        query_to_parquet(server, QUERY.format(schema=SCHEMA), source)
    shutil.rmtree(data_folder((work / "postgres").resolve()))
    spark = open_session(settings, "bench")
    ingest(spark, settings, sales, source, now=datetime.now(UTC))
    generation = train(spark, settings, sales, now=datetime.now(UTC)).generation.manifest.generation
    found = evaluate(spark, settings, sales, generation).found

    def ours() -> None:
        done = predict_events(spark, settings, sales, work / "out", generation=generation, single=True, replace=True)
        assert done.seen == RECORDS
        assert done.rmse is not None
        assert math.isclose(done.rmse, found["rmse"], rel_tol=1e-9)

    ours()
    costs = [in_process(ours) for _ in range(ROUNDS)]
    published = [Cost(PUBLISHED_S, PUBLISHED_S, 0.0)] * ROUNDS
    yield compared(
        "sales_30382_warm_wall",
        costs,
        published,
        wall,
        at_most=1 / 30,
        cpu_s=round(statistics.median(cost.cpu_s for cost in costs), 2),
        rmse=found["rmse"],
        rmse_of_mean=found["rmse_of_mean"],
    )
    spark.stop()
    model = Registry(settings.registry).load(sales.name, generation).path / MODEL
    yield _cold(work, source, model, found["rmse"])


def _cold(work: Path, source: Path, model: Path, rmse: float) -> Metric:
    """The command from start to exit, against a script of the same work from start to exit."""
    target, home = work / "cold", {"HEADRACE_HOME": str(work)}
    ours = [HEADRACE, "batch-predict", sales.name, "--single", "--replace", "--json", "--to", str(work / "ours")]
    bare = [sys.executable, "-m", "bench.bare_sales", str(source), str(model), str(target)]

    def check(arguments: list[str]) -> None:
        shutil.rmtree(target, ignore_errors=True)
        done = subprocess.run(
            arguments, cwd=ROOT, env={**os.environ, **home}, check=True, capture_output=True, text=True
        )
        found = json.loads(done.stdout)
        assert found["records_seen"] == RECORDS
        assert math.isclose(found["rmse"], rmse, rel_tol=1e-9)

    check(ours)
    check(bare)

    def script() -> Cost:
        shutil.rmtree(target, ignore_errors=True)
        return command(bare, cwd=ROOT)

    mine, theirs = side_by_side(lambda: command(ours, cwd=ROOT, env=home), script, rounds=3)
    return compared("sales_30382_cold_wall_vs_bare_pyspark", mine, theirs, wall, at_most=1.1)
