"""What reading Kinesis costs us, up to rows in Spark, against a bare boto3 reader of the same stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.measure import Cost, Metric, compared, cpu, in_process, in_this_process_alone, side_by_side
from headrace.config import Settings, load
from headrace.local.engines import running
from headrace.session import open_session
from headrace.sources.kinesis import Kinesis
from headrace.sources.kinesis_reader import ShardReader

RECORDS, SHARDS, STREAM = 60_000, 2, "bench"
KEYS = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}


def run(work: Path, _source: Path) -> list[Metric]:
    """CPU seconds of the process tree, the server's left out, for 60,000 records of 170 bytes."""
    import boto3

    settings = load([f"home={work}", "spark.master=local[2]"], "local")
    with running("kinesis", work, settings) as engine:
        assert engine.endpoint is not None
        assert engine.pid is not None
        client = boto3.client("kinesis", endpoint_url=engine.endpoint, **KEYS)
        _fill(client)
        spark = open_session(settings, "bench kinesis", ("delta",))
        try:
            mine, theirs = side_by_side(
                lambda: in_process(lambda: _ours(spark, settings, engine.endpoint), apart=[engine.pid]),
                lambda: in_this_process_alone(lambda: _bare(client)),
                rounds=5,
            )
            return [_metric(mine, theirs)]
        finally:
            spark.stop()


def _metric(mine: list[Cost], theirs: list[Cost]) -> Metric:
    # 0.7 of the peer's records a CPU second.
    return compared("kinesis_read_60k_cpu_vs_bare_boto3", mine, theirs, cpu, at_most=round(1 / 0.7, 2), rows=RECORDS)


def _fill(client: Any) -> None:
    client.create_stream(StreamName=STREAM, ShardCount=SHARDS)
    for start in range(0, RECORDS, 500):
        rows = (
            {"who": f"u{n % 997}", "at": "2026-01-01T00:00:00Z", "n": n, "text": "x" * 110}
            for n in range(start, start + 500)
        )
        client.put_records(
            StreamName=STREAM,
            Records=[{"Data": json.dumps(row).encode(), "PartitionKey": row["who"]} for row in rows],
        )


def _bare(client: Any) -> None:
    """A loop as one writes it: every record's value, in a list for each call."""
    rows = 0
    for shard in client.list_shards(StreamName=STREAM)["Shards"]:
        told = client.get_shard_iterator(StreamName=STREAM, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        iterator = told["ShardIterator"]
        while True:
            answer = client.get_records(ShardIterator=iterator, Limit=10_000)
            rows += len([record["Data"] for record in answer["Records"]])
            iterator = answer["NextShardIterator"]
            if not answer["MillisBehindLatest"]:
                break
    assert rows == RECORDS


def _ours(spark: Any, settings: Settings, endpoint: str) -> None:
    """The micro-batches that landing would decode, each as a frame that Spark reads through."""
    kinesis, rows = Kinesis(settings.kinesis, endpoint, STREAM), 0
    most = settings.kinesis.max_per_trigger
    with kinesis, ShardReader(kinesis, {}, since="TRIM_HORIZON", most=most) as reader:
        kinesis.topic()
        while rows < RECORDS:
            read = reader.read()
            spark.createDataFrame(read.table()).write.format("noop").mode("overwrite").save()
            rows += read.rows
            reader.done(read)
