"""RFM, named segments and k-means on Online Retail: ours on warm Spark against pandas and scikit-learn.

And the features alone on the file thirty-seven times over (20 million rows): ours against DuckDB and pandas.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.measure import Cost, Metric, compared, cpu, in_process, side_by_side, wall
from bench.peers import PEER_PYTHON, PeerServer
from headrace import config
from headrace.algebra import states_by_entity
from headrace.batch.finished import features_of, finished
from headrace.batch.ingest import ingest
from headrace.batch.theta import fitted, unfitted
from headrace.batch.train import countable_states
from headrace.definitions.segments import segments
from headrace.session import open_session
from headrace.sources.lake import snapshot

COPIES = 37


def run(work: Path, source: Path) -> Iterator[Metric]:
    settings = config.load([f"home={work}", "spark.driver_memory=4g", "spark.jvm_flags="])
    spark = open_session(settings, "bench")
    ingest(spark, settings, segments, source, now=datetime.now(UTC))
    events = snapshot(spark, settings.lake, "purchases").events
    cleaned = work / "purchases.parquet"
    if not cleaned.exists():
        columns = list(segments.source.schema.names)
        events.select(columns).coalesce(1).write.parquet(str(work / "one"))
        shutil.move(str(next((work / "one").glob("*.parquet"))), cleaned)
    with PeerServer("pandas_rfm", str(cleaned)) as pandas:

        def ours() -> Cost:
            return in_process(lambda: _segments(spark, settings))

        mine, theirs = side_by_side(ours, pandas.measure, rounds=7)
        yield compared("segments_541909_warm_wall", mine, theirs, wall, at_most=8, stretch=5)
    yield from _large(spark, work, cleaned)
    spark.stop()


def _segments(spark, settings) -> int:
    seen = snapshot(spark, settings.lake, "purchases")
    states, types = countable_states(segments, seen.events)
    states = states.persist()
    theta = unfitted(segments, types, seen.latest_event)
    features = features_of(states, segments, theta).persist()
    theta, _ = fitted(segments, theta, features, seen.events)
    rows = finished(states, segments, theta).toArrow().num_rows
    features.unpersist()
    states.unpersist()
    assert rows == 4372
    return rows


def _large(spark, work: Path, cleaned: Path) -> Iterator[Metric]:
    folder = work / "large.parquet"
    if not folder.exists():
        subprocess.run([str(PEER_PYTHON), "-m", "bench.copies", str(cleaned), str(folder), str(COPIES)], check=True)
    from headrace.transforms import retail

    def features() -> None:
        events = retail.clean(spark.read.parquet(str(folder))).where("drop_reason IS NULL")
        states = states_by_entity(events, "customer_id", segments.features)
        states.selectExpr("count(*)", "sum(monetary)", "sum(size(frequency))", "max(recency)").collect()

    with PeerServer("duckdb_rfm", str(folder)) as duck:
        mine, theirs = side_by_side(lambda: in_process(features), duck.measure, rounds=5)
        yield compared("features_20m_warm_cpu_vs_duckdb", mine, theirs, cpu, at_most=2)
    with PeerServer("pandas_features", str(folder)) as pandas:
        mine, theirs = side_by_side(lambda: in_process(features), pandas.measure, rounds=5)
        yield compared("features_20m_warm_wall_vs_pandas", mine, theirs, wall, at_most=1)
