"""A driver says how it stands, and another process reads it."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from bisect import bisect_left
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path

import psutil
import pytest
from batches import batch

from headrace.batch.lease import owner_name
from headrace.cli.standing import lines
from headrace.speed.ingest import IngestProgress
from headrace.speed.metrics import Metrics
from headrace.speed.observed import drivers, quantile
from headrace.speed.pulse import Pulse, folder


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def on(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def pulse(home: Path, metrics: Metrics, clock: Clock, owner: str = "") -> Pulse:
    return Pulse(home, "taps", owner or owner_name(), metrics.registry, clock)


def dead() -> str:
    """The owner's name of a process that is gone."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = f"{socket.gethostname()}:{child.pid}:{psutil.Process(child.pid).create_time():.2f}"
    child.communicate()
    return name


def test_what_a_driver_did_is_read_back(tmp_path: Path) -> None:
    metrics, clock = Metrics("taps", "tapped"), Clock()
    beating = pulse(tmp_path, metrics, clock)
    beating.begin(None, 1.0)
    (seen,) = drivers(tmp_path, "taps", clock.now)
    assert (seen.state, seen.champion, seen.landing, seen.counting, seen.handover_s) == (
        "running",
        None,
        None,
        [],
        None,
    )

    metrics.serving(2, 3)
    metrics.handed_over(4.0)
    metrics.ingested(IngestProgress(rows=1200, quarantined={"not JSON": 2}, seconds=2.0, phases={"land": 1.5}))
    metrics.landing_heard({"0": 3, "1": 0})
    metrics.updated(batch(2, *[0.35] * 98, 4.0, 4.0, replayed=1, settle=0.4, advance=0.1))
    metrics.heard(2, {0: 5}, clock.now)
    clock.on(1)
    beating.beat()
    (seen,) = drivers(tmp_path, "taps", clock.now)
    assert (seen.champion, seen.candidate, seen.handovers, seen.handover_s) == (2, 3, 1, 4.0)
    assert seen.landing is not None
    assert asdict(seen.landing) == {
        "stream": "tapped",
        "rows": 1200,
        "quarantined": {"not JSON": 2},
        "replayed_batches": 0,
        "lag": {"0": 3, "1": 0},
        "batch_s": 2.0,
        "phases_s": {"land": 1.5},
    }
    (counting,) = seen.counting
    assert counting.freshness_p50_s == pytest.approx(0.3 + 0.1 * 50 / 98, abs=1e-3)
    assert counting.freshness_p99_s == pytest.approx(3.0 + 2.0 * 0.5)
    assert (counting.generation, counting.items, counting.lag) == (2, 100, {"0": 5})
    assert (counting.guard_failures, counting.replayed_batches) == (2, 1)
    assert (counting.batch_s, counting.phases_s) == (0.5, {"settle": 0.4, "advance": 0.1})
    said = "\n".join(lines(seen))
    for words in ("1,200 in, 2 quarantined (not JSON: 2)", "lag         0: 3, 1: 0", "p99 4.000 s", "1, 4.00 s each"):
        assert words in said


def test_times_are_those_of_the_last_minute_and_counts_those_of_the_process(tmp_path: Path) -> None:
    metrics, clock = Metrics("taps", "tapped"), Clock()
    beating = pulse(tmp_path, metrics, clock)
    beating.begin("update", 1.0)
    for age in (200.0, 0.1, 0.1):
        metrics.updated(batch(1, age))
        for _ in range(50):
            clock.on(1)
            beating.beat()
    (counting,) = drivers(tmp_path, "taps", clock.now)[0].counting
    assert counting.items == 3
    assert counting.freshness_p99_s is not None
    assert counting.freshness_p99_s <= 0.1
    for _ in range(100):
        clock.on(1)
        beating.beat()
    (counting,) = drivers(tmp_path, "taps", clock.now)[0].counting
    assert (counting.items, counting.freshness_p50_s, counting.batch_s, counting.phases_s) == (3, None, None, {})


def test_a_driver_runs_is_silent_has_ended_or_is_gone(tmp_path: Path) -> None:
    clock = Clock()
    gone, mine = dead(), owner_name()
    pulse(tmp_path, Metrics("taps", "tapped"), clock, gone).begin("ingest", 1.0)
    beating = pulse(tmp_path, Metrics("taps", "tapped"), clock, mine)
    beating.begin("update", 2.0)

    def states() -> dict[str, str]:
        return {driver.owner: driver.state for driver in drivers(tmp_path, "taps", clock.now)}

    assert states() == {gone: "gone", mine: "running"}, "one that did something else is left in sight"
    clock.on(20.5)
    assert states()[mine] == "silent"
    beating.beat(ended=True)
    assert states()[mine] == "ended"
    pulse(tmp_path, Metrics("taps", "tapped"), clock, "elsewhere:1:2.00").begin("ingest", 1.0)
    assert states() == {mine: "ended", "elsewhere:1:2.00": "running"}, "the next of its kind takes its place"


def test_a_file_that_cannot_be_written_or_read_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert drivers(tmp_path, "taps", datetime.now(UTC)) == []
    (tmp_path / "drivers").write_text("in the way")
    pulse(tmp_path, Metrics("taps", "tapped"), Clock()).begin(None, 1.0)
    assert "cannot be written" in caplog.text
    (tmp_path / "drivers").unlink()
    folder(tmp_path, "taps").mkdir(parents=True)
    for name, text in (("a", ""), ("b", "\0\0"), ("c", "[]"), ("d", '{"schema": 0}')):
        (folder(tmp_path, "taps") / f"{name}.json").write_text(text)
    assert drivers(tmp_path, "taps", datetime.now(UTC)) == []


def test_quantiles_are_within_their_class_of_the_exact_ones() -> None:
    rng = random.Random(7)
    ends = (0.1, 0.5, 1.0, 2.0, 5.0)
    for _ in range(200):
        values = sorted(rng.uniform(0, 5) for _ in range(rng.randint(1, 40)))
        below = {end: float(sum(value <= end for value in values)) for end in (*ends, float("inf"))}
        for q in (0.5, 0.99):
            exact = values[ceil(q * len(values)) - 1]
            found = quantile(below, q)
            assert found is not None
            place = bisect_left(ends, exact)
            assert (0.0, *ends)[place] <= found <= ends[place]
    assert quantile({}, 0.5) is None
