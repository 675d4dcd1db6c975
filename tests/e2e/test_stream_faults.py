"""The speed layer as processes that are killed, stopped, raced and damaged: every key equals the recomputation."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import product

import psutil
import pytest

from .conftest import Shell
from .live import COUNTED, KINDS, NAME, WAYS, Live, damage, live

pytestmark = [pytest.mark.spark, pytest.mark.kafka, pytest.mark.dynamodb]


@pytest.fixture(scope="module")
def place(shell: Shell) -> Iterator[Live]:
    with live(shell) as made:
        yield made


@pytest.mark.parametrize("kills", [pytest.param(1, id="short"), pytest.param(20, id="long", marks=pytest.mark.slow)])
def test_killed_drivers_with_damaged_checkpoints_count_each_event_once(
    place: Live, kills: int, record_property: Callable[[str, object], None]
) -> None:
    """kill -9 at random moments (faults 1, 2, 3, 16) of a poisoned, late stream (12, 14, 15)."""
    seed = int(os.environ.get("HEADRACE_SEED", "20261121")) + kills
    record_property("seed", seed)
    rng = random.Random(seed)
    replays = 0
    harmed = set()
    with place.load(seed):
        for kill in range(kills):
            running = place.stream()
            running.wait_for(COUNTED)
            # Within the next two micro-batches, however long this machine takes for one.
            time.sleep(rng.uniform(0, 2 * running.told("counted")[0]["seconds"]))
            running.kill()
            replays += running.replays()
            harmed |= damage(place.shell.home / "checkpoints", rng, kill)
    place.settle()
    replays += place.started[-1].replays()
    record_property("replayed items", replays)
    if kills > 1:
        assert replays > 0, "no batch was replayed, so nothing was proved"
        assert harmed == set(product(KINDS, WAYS)), "each kind of file was damaged in each way"
    assert harmed
    found = place.shell.json("quarantine", "list", NAME)
    assert found["rows"] == place.poisoned, "every bad record is accounted for, and no other"


@pytest.mark.slow  # the short forms are in tests/integration: a second driver of update, and one of landing that slept
def test_a_zombie_is_fenced_and_says_why(place: Live) -> None:
    """SIGSTOP A, start B, SIGCONT A: exactly one goes on (fault 6)."""
    with place.load(6):
        first = place.stream()
        first.wait_for(COUNTED)
        first.signal(signal.SIGSTOP)
        second = place.stream()
        second.wait_for(COUNTED)
        assert first.process.poll() is None, "it sleeps, and has not ended"
        first.signal(signal.SIGCONT)
        assert first.process.wait(120) != 0
        assert "no longer counted here" in first.said() or "another driver lands" in first.said()
        assert second.process.poll() is None
        place.check()
        assert second.end() == 0, "SIGTERM ends it in order"
    place.settle()


def test_a_hand_over_under_load_with_workers_killed(place: Live) -> None:
    """A generation trained, promoted and rolled back while events come in and Python workers die (fault 4)."""
    with place.load(4):
        running = place.stream()
        running.wait_for(COUNTED)
        before = place.store.champion("taps").generation
        place.shell.run("train", NAME)
        place.shell.run("publish", NAME)
        killed = []
        for worker in running.python_workers()[-2:]:
            with suppress(psutil.NoSuchProcess):
                worker.kill()
                killed.append(worker)
        assert killed, "no Python worker was there to be killed"
        place.shell.run("promote", "taps")
        place.check()
        after = place.store.champion("taps").generation
        assert after > before
        place.shell.run("rollback", "taps")
        place.check()
        assert place.store.champion("taps").generation == before
        place.shell.run("promote", "taps", "-g", str(after))
        assert running.process.poll() is None, running.said()[-2000:]
        assert running.end() == 0
    place.settle()
