"""The batch prediction of the `sales` case, 30,382 records with gzip CSV and RMSE, on warm Spark.

Held against the minute that was published for as many records by Amazon Machine Learning: a figure of another machine.
"""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.measure import Cost, Metric, compared, in_process, wall
from headrace import config
from headrace.batch.evaluate import evaluate
from headrace.batch.ingest import ingest
from headrace.batch.prediction import predict_events
from headrace.batch.train import train
from headrace.definitions.sales import sales
from headrace.local.engines import running
from headrace.local.postgres import DATABASE, USER, data_folder, password_of
from headrace.session import open_session
from headrace.sources.postgres import Server, query_to_parquet
from headrace.sources.tickit.query import QUERY
from headrace.sources.tickit.stage import SCHEMA, load

PUBLISHED_S, RECORDS, ROUNDS = 60.0, 30_382, 7


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
