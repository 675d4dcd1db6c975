"""Counting what waits in Kafka: two million JSON events beside River's loop and a bare Spark query, and a hand-over
with a million events behind while readers read."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from bench.live import CLICKS, TOPIC, USERS, Place, events_of, now, place
from bench.measure import Cost, Metric, compared, cpu, in_process, side_by_side, wall
from bench.peers import PeerServer
from headrace.serving.lookup import Lookups
from headrace.speed.handover import Waiting
from headrace.speed.handover import promote as hand_over

EVENTS = 2_000_000
BEHIND = 1_000_000


def run(work: Path, _source: Path) -> list[Metric]:
    """CPU seconds for the events, each side from where nothing is counted; and a hand-over's wall."""
    with place(work) as one:
        _send(one, BEHIND, 1)
        reads: list[int] = [0, 0]
        behind = side_by_side(lambda: _handed_over(one, reads), lambda: _bare(one), rounds=3)
        _send(one, EVENTS - BEHIND, 2)
        lines = work / "events.json"
        _lines(one, lines)
        with PeerServer("river_loop", str(lines)) as river:
            mine, theirs = side_by_side(lambda: _caught_up(one), river.measure, rounds=3)
        ours, bare = side_by_side(lambda: _caught_up(one), lambda: _bare(one), rounds=3)
    return [
        compared("catchup_2m_cpu_vs_river", mine, theirs, cpu, at_most=1),
        compared("catchup_2m_cpu_vs_bare_spark", ours, bare, cpu, at_most=1 / 0.9),
        compared("handover_1m_behind_wall", *behind, wall, at_most=1.5, reads=reads[0], failed_reads=reads[1]),
    ]


def _send(one: Place, count: int, seed: int) -> None:
    writer = events_of(one.spark, count, seed).write.format("kafka")
    writer.option("kafka.bootstrap.servers", one.bootstrap).option("topic", TOPIC).save()


def _lines(one: Place, path: Path) -> None:
    topic = one.broker.topic(TOPIC)
    with path.open("wb") as out:
        for record in one.broker.records(topic, {}, one.head()):
            out.write(record.value + b"\n")


def _caught_up(one: Place) -> Cost:
    """Everything counted, from a store that has counted nothing."""
    fresh, head = one.served(), one.head()

    def work() -> None:
        update = fresh.update(lambda _: None)
        try:
            fresh.counted(update, head)
        finally:
            update.stop()

    return in_process(work)


def _bare(one: Place) -> Cost:
    """The same aggregates by a plain query over the topic."""
    from pyspark.sql import functions as F

    def work() -> None:
        records = one.spark.read.format("kafka").option("kafka.bootstrap.servers", one.bootstrap)
        records = records.option("subscribe", TOPIC).option("startingOffsets", "earliest").load()
        event = F.from_json(F.col("value").cast("string"), "who string, at string, x double").alias("e")
        events = records.select(event).select("e.*").withColumn("at", F.to_timestamp("at"))
        done = events.groupBy("who").agg(F.count("*"), F.sum("x"), F.max("x"))
        done.write.format("noop").mode("overwrite").save()

    return in_process(work)


def _handed_over(one: Place, reads: list[int]) -> Cost:
    """A candidate with the whole topic behind takes over from a champion that has counted it; readers read on."""
    fresh, head = one.served(), one.head()
    number = one.generation.manifest.generation
    champion = fresh.update(lambda _: None)
    fresh.counted(champion, head)
    candidate = _trained_again(fresh)
    store = fresh.opening.open()
    lookups, over = Lookups(store, 0, now), threading.Event()

    def read() -> None:
        while not over.is_set():
            try:
                lookups.many(CLICKS.name, [f"u{n}" for n in range(0, USERS, USERS // 50)])
                reads[0] += 1
            except Exception:  # noqa: BLE001 -- counted
                reads[1] += 1
            time.sleep(0.02)

    reader = threading.Thread(target=read)
    reader.start()
    try:

        def work() -> None:
            update = candidate.update(lambda _: None)
            try:
                hand_over(store, CLICKS.name, candidate.generation.manifest.generation, now=now(), waiting=Waiting(600))
            finally:
                update.stop()

        cost = in_process(work)
    finally:
        over.set()
        reader.join()
        champion.stop()
        store.close()
    assert candidate.generation.manifest.generation > number
    return cost


def _trained_again(fresh: Place) -> Place:
    from dataclasses import replace

    from headrace.batch.train import train

    made = train(fresh.spark, fresh.settings, CLICKS, now=now(), base=fresh.generation).generation
    candidate = replace(fresh, generation=made)
    candidate.publish(candidate)
    return candidate
