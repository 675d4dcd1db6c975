"""Answers as of a past instant over a million keys: one look-up's wall time, against the second it must stay below."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.live import CLICKS
from bench.measure import Metric
from headrace import config
from headrace.batch.ingest import ingest
from headrace.batch.train import train
from headrace.registry import Registry
from headrace.registry.timeline import Moment, Timeline
from headrace.schemas import Vector
from headrace.serving.past import Past
from headrace.session import open_session
from headrace.speed.index import index

KEYS = 1_000_000
EVENTS = 5  # of each key
ASKED = 400
BOUND_S = 1.0


def run(work: Path, _source: Path) -> Iterator[Metric]:
    settings = config.load([f"home={work}", "spark.driver_memory=4g", "spark.jvm_flags=", "spark.shuffle_partitions=8"])
    spark = open_session(settings, "bench")
    file = _history(spark, work)
    ingest(spark, settings, CLICKS, file, now=datetime.now(UTC))
    manifest = train(spark, settings, CLICKS, now=datetime.now(UTC)).generation.manifest
    began = time.perf_counter()
    rows = index(spark, settings, CLICKS).rows
    indexing_s = time.perf_counter() - began
    spark.stop()
    at = datetime.now(UTC)
    flip = Moment(at, manifest.generation, Vector.from_json(manifest.cut), manifest.as_of)
    Timeline(settings.lake, CLICKS.name).flipped(flip)

    past = Past(settings.lake, Registry(settings.registry), CLICKS)
    began = time.perf_counter()
    past.one("k0", at)
    first_s = time.perf_counter() - began
    took = []
    for number in random.Random(7).sample(range(KEYS), ASKED):
        began = time.perf_counter()
        answer = past.one(f"k{number}", at)
        took.append(time.perf_counter() - began)
        assert answer.features["n"] == EVENTS
    p50, p99 = statistics.median(took), statistics.quantiles(took, n=100)[98]
    detail = {
        "p50_s": round(p50, 4),
        "first_s": round(first_s, 3),
        "keys": KEYS,
        "events": rows,
        "indexing_s": round(indexing_s, 1),
    }
    yield Metric(
        "as_of_1m_keys_p99_s",
        round(p99, 4),
        BOUND_S,
        round(p99 / BOUND_S, 4),
        (min(took), max(took)),
        "<= 1",
        p99 <= 1,
        detail,
    )


def _history(spark, work: Path) -> Path:
    """The clicks of each key as one Parquet file, in the order of time."""
    from pyspark.sql import functions as F

    number = F.col("id")
    clicks = spark.range(KEYS * EVENTS).select(
        F.concat(F.lit("k"), F.pmod(number * 7_919, F.lit(KEYS)).cast("string")).alias("who"),
        F.timestamp_seconds(1_700_000_000 + number).alias("at"),
        (F.pmod(number * 31, F.lit(10_000)) / 1000).alias("x"),
    )
    folder = work / "clicks"
    clicks.coalesce(1).write.parquet(str(folder))
    (part,) = folder.glob("*.parquet")
    return part.rename(work / "clicks.parquet")
