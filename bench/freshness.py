"""From an event's stamp in Kafka to the answer of its guarded write, beside the same query with a no-op sink and the
same aggregation in Spark's RocksDB state store, which writes to no sink at all.

Items go to a stand-in that answers at once: DynamoDB Local takes 2 to 3 ms of these two cores for each, and would be
what is measured. It stands beside, at the lower rate."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import uuid4

import numpy as np

from bench.live import CLICKS, HOT, TOPIC, Batch, Place, load, place
from bench.measure import Metric
from bench.publishing import stub
from headrace.sources.kafka import stream_records
from headrace.sources.kafka_stream import end_of
from headrace.sources.payloads import good
from headrace.speed.arrivals import decoded_by
from headrace.speed.contributions import contributions

RATES = (200, 1000)
WARM_S, MEASURED_S = 8, 25
ROUNDS = 3
# When everything below these offsets was done: (seconds of the epoch, partition -> offset).
Done = list[tuple[float, Mapping[int, int]]]


def run(work: Path, _source: Path) -> list[Metric]:
    """p50 and p99 in milliseconds of each side, A B C A B C at each rate; and of other users beside a hot one."""
    with place(work) as one, stub() as stand_in:
        sides: dict[str, Callable[[Place, int], tuple[float, float]]] = {
            "ours": lambda one, rate: _ours(one, rate, stand_in),
            "noop": _noop,
            "rocksdb": _rocks,
        }
        served = one.served()
        found = {rate: {side: [] for side in sides} for rate in RATES}
        for rate in RATES:
            for _ in range(ROUNDS):
                for side, measure in sides.items():
                    found[rate][side].append(measure(served, rate))
        hot: dict[str, list[tuple[float, float]]] = {"ours": [], "even": []}
        for _ in range(ROUNDS):
            hot["ours"].append(_ours(served, 200, stand_in, hot=0.9))
            hot["even"].append(_ours(served, 200, stand_in))
        found[200]["dynamodb_local"] = [_ours(served, 200, served.settings.store.endpoint)]
        return [
            _metric(found[200], "freshness_200_p50_vs_noop", 0, "noop", 1.35),
            _metric(found[200], "freshness_200_p99_vs_noop", 1, "noop", 1.4),
            _metric(found[1000], "freshness_1000_p99_vs_rocksdb", 1, "rocksdb", 0.75),
            _metric(hot, "freshness_200_p99_of_others_vs_no_hot_key", 1, "even", 1.5),
        ]


def _metric(found, name: str, which: int, peer: str, at_most: float) -> Metric:
    ratios = sorted(a[which] / b[which] for a, b in zip(found["ours"], found[peer], strict=True))
    ratio = statistics.median(ratios)
    every = {
        f"{side}_{quantile}_ms": round(statistics.median(pair[i] for pair in pairs))
        for side, pairs in found.items()
        for i, quantile in enumerate(("p50", "p99"))
    }
    return Metric(
        metric=name,
        ours=round(statistics.median(pair[which] for pair in found["ours"])),
        peer=round(statistics.median(pair[which] for pair in found[peer])),
        ratio=round(ratio, 3),
        spread=(round(ratios[0], 3), round(ratios[-1], 3)),
        target=f"<= {at_most}",
        met=ratio <= at_most,
        detail={"load": [round(x, 2) for x in os.getloadavg()], **every},
    )


def _under_load(one: Place, rate: int, done: Done, hot: float = 0.0) -> tuple[float, float]:
    """p50 and p99, in milliseconds, of the events after a warm stretch, but the hot user's."""
    load(one.bootstrap, rate, WARM_S, hot).wait()
    before = one.head()
    load(one.bootstrap, rate, MEASURED_S, hot).wait()
    head = one.head()
    deadline = time.monotonic() + 60
    while not done or any(done[-1][1].get(p, 0) < end for p, end in head.items()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not done: {done[-1:]} of {head}")
        time.sleep(0.05)
    stamps: dict[int, list[tuple[int, float]]] = {}
    for record in one.broker.records(one.broker.topic(TOPIC), before, head):
        if record.key != HOT.encode():
            stamps.setdefault(record.partition, []).append((record.offset, record.timestamp / 1000))
    ages = []
    for partition, own in stamps.items():
        ends = np.array([ends.get(partition, 0) for _, ends in done])
        at = np.array([when for when, _ in done])
        offsets, stamped = np.array(own).T
        ages.append(at[np.searchsorted(ends, offsets, side="right")] - stamped)
    p50, p99 = np.percentile(np.concatenate(ages) * 1000, [50, 99])
    return float(p50), float(p99)


def _ours(one: Place, rate: int, items: str, hot: float = 0.0) -> tuple[float, float]:
    done: Done = []
    incarnation = one.broker.topic(TOPIC).incarnation

    def on_batch(batch: Batch) -> None:
        vector = batch.interim.progress.vector
        done.append((time.time(), {int(p): n for (life, p), n in vector.items() if life == incarnation}))

    update = one.update(on_batch, items)
    try:
        one.counted(update, one.head())
        return _under_load(one, rate, done, hot)
    finally:
        update.stop()


def _noop(one: Place, rate: int) -> tuple[float, float]:
    return _query(one, rate, lambda events: contributions(CLICKS, events), stateful=False)


def _rocks(one: Place, rate: int) -> tuple[float, float]:
    return _query(
        one, rate, lambda events: events.groupBy("who").agg({"*": "count", "x": "sum", "at": "max"}), stateful=True
    )


def _query(one: Place, rate: int, aggregated, *, stateful: bool) -> tuple[float, float]:
    done: Done = []
    topic = one.broker.topic(TOPIC)
    checkpoint = one.settings.home / "peer" / uuid4().hex
    records = stream_records(one.spark, one.settings.kafka, one.bootstrap, topic, one.head())

    events = good(decoded_by(CLICKS, records, topic.incarnation, one.settings.kafka.max_ahead_s))

    def batch(frame, number: int) -> None:
        (frame if stateful else aggregated(frame)).write.format("noop").mode("overwrite").save()
        done.append((time.time(), end_of(checkpoint, TOPIC, number)))

    for key, value in (
        ("providerClass", "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"),
        ("rocksdb.trackTotalNumberOfRows", "false"),
    ):
        one.spark.conf.set(f"spark.sql.streaming.stateStore.{key}", value)
    query = (
        (aggregated(events) if stateful else events)
        .writeStream.outputMode("update" if stateful else "append")
        .foreachBatch(batch)
        .option("checkpointLocation", str(checkpoint))
        .trigger(processingTime="0 milliseconds")
        .start()
    )
    try:
        return _under_load(one, rate, done)
    finally:
        query.stop()
        shutil.rmtree(checkpoint, ignore_errors=True)
