"""An hour under load with a fault every half minute: every key equals the recomputation whenever it is quiet, and
nothing grows (fault 25). `HEADRACE_SOAK_MIN` sets the minutes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import psutil
import pytest

from .conftest import Shell
from .live import COUNTED, NAME, Live, Streaming, damage, live

pytestmark = [pytest.mark.spark, pytest.mark.kafka, pytest.mark.dynamodb, pytest.mark.soak]

FAULT_EVERY_S = 30
QUIET_EVERY_S = 600
# A slope within this share of the mean an hour is noise of garbage collection, not growth.
FLAT_SHARE = 0.15
# The first minutes compile, fill pools and grow heaps.
WARM_S = 300


@dataclass
class Footprint:
    """What a driver and all it started hold, sampled over its life."""

    seconds: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def sample(self, running: Streaming, at: float) -> None:
        rss = files = threads = 0
        for process in _tree(running.process.pid):
            with suppress(psutil.Error):
                rss += process.memory_info().rss
                files += process.num_fds()
                threads += process.num_threads()
        self.seconds.append(at)
        self.rss_mb.append(rss / 2**20)
        self.files.append(files)
        self.threads.append(threads)

    def growth_an_hour(self, values: list[float] | list[int]) -> float:
        """The slope after warming, an hour, as a share of the mean."""
        after = [(t, v) for t, v in zip(self.seconds, values, strict=True) if t - self.seconds[0] > WARM_S]
        times, held = np.array(after).T
        return float(np.polyfit(times / 3600, held, 1)[0] / held.mean())


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


@pytest.fixture
def place(shell: Shell) -> Iterator[Live]:
    with live(shell) as made:
        yield made


def test_an_hour_of_faults(place: Live, record_property: Callable[[str, object], None]) -> None:
    """The first half kills drivers too; the second keeps one, whose memory, files and threads must stay flat."""
    minutes = float(os.environ.get("HEADRACE_SOAK_MIN", "60"))
    seed = int(os.environ.get("HEADRACE_SEED", "20261121"))
    record_property("seed", seed)
    rng = random.Random(seed)
    replays = _half(place, rng, minutes * 30, seed, kills=True)[0]
    record_property("replayed items", replays)
    assert replays > 0, "no batch was replayed, so nothing was proved"
    _, footprint = _half(place, rng, minutes * 30, seed + 1, kills=False)
    if minutes < 60:
        return  # too short for a slope
    grown = {
        "rss": footprint.growth_an_hour(footprint.rss_mb),
        "files": footprint.growth_an_hour(footprint.files),
        "threads": footprint.growth_an_hour(footprint.threads),
    }
    record_property("growth an hour", grown)
    assert all(share <= FLAT_SHARE for share in grown.values()), (grown, footprint)


def _half(place: Live, rng: random.Random, seconds: float, seed: int, *, kills: bool) -> tuple[int, Footprint]:
    """(items replayed, footprint of the last driver) of a stretch under load, with quiet points if drivers may end."""
    replays, footprint = 0, Footprint()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        until = min(time.monotonic() + QUIET_EVERY_S, end) if kills else end
        with place.load(seed + int(until)):
            running = place.stream()
            running.wait_for(COUNTED)
            while time.monotonic() < until:
                time.sleep(min(FAULT_EVERY_S, max(0.0, until - time.monotonic())))
                footprint.sample(running, time.monotonic())
                if kills and rng.random() < 0.5:
                    running.kill()
                    replays += running.replays()
                    damage(place.shell.home / "checkpoints", rng, rng.randrange(3))
                    running, footprint = place.stream(), Footprint()
                    running.wait_for(COUNTED)
                else:
                    rng.choice(_FAULTS)(place, running, rng)
                assert running.process.poll() is None, running.said()[-3000:]
                place.check()
        assert running.end() == 0
        replays += running.replays()
        place.settle()
    return replays, footprint


def _worker_dies(place: Live, running: Streaming, rng: random.Random) -> None:
    for worker in running.python_workers()[-1:]:
        with suppress(psutil.Error):
            worker.kill()


def _driver_sleeps(place: Live, running: Streaming, rng: random.Random) -> None:
    running.signal(signal.SIGSTOP)
    time.sleep(rng.uniform(1, 8))
    running.signal(signal.SIGCONT)


def _hand_over(place: Live, running: Streaming, rng: random.Random) -> None:
    """A generation trained and promoted; half of the times it is taken back."""
    place.shell.run("run", NAME, "--retrain", timeout=600)
    if rng.random() < 0.5:
        place.shell.run("rollback", "taps", timeout=600)


_FAULTS = (_worker_dies, _worker_dies, _driver_sleeps, _driver_sleeps, _hand_over)
