"""Counting what waits in Kafka: two million JSON events beside River's loop and a bare Spark query, and a hand-over
with a million events behind while readers read."""

from __future__ import annotations

import os
import statistics
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from bench.live import CLICKS, TOPIC, USERS, Place, events_of, load, now, place
from bench.measure import Cost, Metric, compared, cpu, in_process, side_by_side, wall
from bench.peers import PeerServer
from bench.publishing import stub
from headrace.batch.train import train
from headrace.serving.lookup import Lookups
from headrace.speed.handover import Waiting
from headrace.speed.handover import promote as hand_over

EVENTS = 2_000_000
BEHIND = 1_000_000
# What runs beside either side, as child processes of the bench, and is no part of it.
_ENGINES = ("kafka.Kafka", "dynamodb", "dynamodb_stub")


def run(work: Path, _source: Path) -> list[Metric]:
    """CPU seconds for the events, each side from where nothing is counted; a hand-over's wall; reads around one.

    Items are written to a stand-in that answers at once, but where they are read.
    """
    with place(work) as one, stub() as stand_in:
        engines = _engines()
        _send(one, BEHIND, 1)
        behind = side_by_side(lambda: _handed_over(one, stand_in), lambda: _bare(one, engines), rounds=3)
        reads = Reads()
        with load(one.bootstrap, 200, 600) as producing:
            _handed_over(one, None, reads)
            producing.kill()
        _send(one, EVENTS - BEHIND, 2)
        lines = work / "events.json"
        _lines(one, lines)
        with PeerServer("river_loop", str(lines)) as river:
            mine, theirs = side_by_side(lambda: _caught_up(one, stand_in, engines), river.measure, rounds=3)
        ours, bare = side_by_side(lambda: _caught_up(one, stand_in, engines), lambda: _bare(one, engines), rounds=3)
    return [
        compared("catchup_2m_cpu_vs_river", mine, theirs, cpu, at_most=1),
        compared("catchup_2m_cpu_vs_bare_spark", ours, bare, cpu, at_most=1 / 0.9),
        compared("handover_1m_behind_wall", *behind, wall, at_most=1.5),
        reads.metric(),
    ]


@dataclass
class Reads:
    """Look-ups of fifty keys before, during and after a hand-over."""

    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    generations: list[int] = field(default_factory=list)

    def once(self, lookups: Lookups) -> None:
        began = time.perf_counter()
        try:
            found = lookups.many(CLICKS.name, [f"u{n}" for n in range(0, USERS, USERS // 50)])
        except Exception as error:  # noqa: BLE001 -- counted
            self.failed.append(repr(error))
            return
        self.seconds.append(time.perf_counter() - began)
        self.generations.append(found.answers[0].generation)

    def metric(self) -> Metric:
        """The first look-up that the new generation answered beside the median of all, in milliseconds."""
        first = self.seconds[self.generations.index(max(self.generations))]
        middle = statistics.median(self.seconds)
        return Metric(
            metric="first_touch_after_promotion",
            ours=round(first * 1e3, 1),
            peer=round(middle * 1e3, 1),
            ratio=round(first / middle, 3),
            spread=(round(min(self.seconds) / middle, 3), round(max(self.seconds) / middle, 3)),
            target="no read fails",
            met=not self.failed and len(set(self.generations)) == 2,
            detail={
                "reads": len(self.seconds),
                "failed_reads": len(self.failed),
                "failures": self.failed[:3],
                "load": [round(x, 2) for x in os.getloadavg()],
            },
        )


def _engines() -> list[int]:
    children = psutil.Process().children(recursive=True)
    return [one.pid for one in children if any(name in " ".join(one.cmdline()) for name in _ENGINES)]


def _send(one: Place, count: int, seed: int) -> None:
    writer = events_of(one.spark, count, seed).write.format("kafka")
    writer.option("kafka.bootstrap.servers", one.bootstrap).option("topic", TOPIC).save()


def _lines(one: Place, path: Path) -> None:
    topic = one.broker.topic(TOPIC)
    with path.open("wb") as out:
        for record in one.broker.records(topic, {}, one.head()):
            out.write(record.value + b"\n")


def _caught_up(one: Place, items: str, engines: list[int]) -> Cost:
    """Everything counted, from a store that has counted nothing."""
    fresh, head = one.served(), one.head()

    def work() -> None:
        update = fresh.update(lambda _: None, items)
        try:
            fresh.counted(update, head)
        finally:
            update.stop()

    return in_process(work, engines)


def _bare(one: Place, engines: list[int]) -> Cost:
    """The same aggregates by a plain query over the topic."""
    from pyspark.sql import functions as F

    def work() -> None:
        records = one.spark.read.format("kafka").option("kafka.bootstrap.servers", one.bootstrap)
        records = records.option("subscribe", TOPIC).option("startingOffsets", "earliest").load()
        event = F.from_json(F.col("value").cast("string"), "who string, at string, x double").alias("e")
        events = records.select(event).select("e.*").withColumn("at", F.to_timestamp("at"))
        done = events.groupBy("who").agg(F.count("*"), F.sum("x"), F.max("x"))
        done.write.format("noop").mode("overwrite").save()

    return in_process(work, engines)


def _handed_over(one: Place, items: str | None, reads: Reads | None = None) -> Cost:
    """A candidate with the whole topic behind takes over from a champion that has counted it; readers read on."""
    fresh, head = one.served(), one.head()
    champion = fresh.update(lambda _: None, items)
    fresh.counted(champion, head)
    candidate = _trained_again(fresh)
    store, over = fresh.opening.open(), threading.Event()
    lookups = Lookups(store, 0, now)

    def read() -> None:
        while reads is not None and not over.wait(0.02):
            reads.once(lookups)

    def work() -> None:
        update = candidate.update(lambda _: None, items)
        try:
            hand_over(store, CLICKS.name, candidate.generation.manifest.generation, now=now(), waiting=Waiting(600))
            if reads is not None:
                over.wait(2.0)  # so that the new generation is read
        finally:
            update.stop()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        return in_process(work)
    finally:
        over.set()
        reader.join()
        champion.stop()
        store.close()


def _trained_again(fresh: Place) -> Place:
    made = train(fresh.spark, fresh.settings, CLICKS, now=now(), base=fresh.generation).generation
    candidate = replace(fresh, generation=made)
    candidate.publish(candidate)
    return candidate
