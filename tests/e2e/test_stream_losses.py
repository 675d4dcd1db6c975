"""Streams that lose executors, room on their disk, or part of their log: named, and every key equal afterwards."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest
from kafka import TopicPartition
from tapped import events, send

from .conftest import Shell
from .live import COUNTED, Live, live

pytestmark = [pytest.mark.spark, pytest.mark.kafka, pytest.mark.dynamodb, pytest.mark.slow]

CLUSTER = ("--set", "spark.master=local-cluster[2,1,1024]")


@pytest.fixture(scope="module")
def place(shell: Shell) -> Iterator[Live]:
    with live(shell) as made:
        yield made


def test_an_executor_is_killed_while_it_counts(place: Live) -> None:
    """On a cluster of two executors (fault 4)."""
    with place.load(21):
        running = place.stream(*CLUSTER)
        running.wait_for(COUNTED, 240)
        executors = running.started_by_it("CoarseGrainedExecutorBackend")
        assert len(executors) == 2, [one.cmdline() for one in executors]
        executors[0].kill()
        executors[0].wait(30)
        counted = running.said().count(COUNTED)
        deadline = time.monotonic() + 120
        while running.said().count(COUNTED) < counted + 3:
            assert running.process.poll() is None, running.said()[-3000:]
            assert time.monotonic() < deadline, running.said()[-3000:]
            time.sleep(0.5)
        place.check()
        assert running.end() == 0
    place.settle()


def test_a_full_disk_stops_it_and_room_lets_it_go_on(place: Live) -> None:
    """Checkpoints on a file system of 64 KB (fault 22)."""
    alone = [shutil.which("unshare") or "", "--user", "--mount", "--map-root-user"]
    if not alone[0] or subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (unshare --user --mount)")
    checkpoints = place.shell.home / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    mounted = f'mount -t tmpfs -o size=64k tmpfs "{checkpoints}" && exec "$@"'
    with place.load(22):
        running = place.stream(before=[*alone, "sh", "-c", mounted, "sh"])
        assert running.process.wait(300) == 75, running.said()[-3000:]
        assert "the disk is full" in running.said(), running.said()[-3000:]
        place.check()
    place.settle()


def test_what_the_stream_lost_before_it_landed_is_named_and_given_up_only_when_told_to(place: Live) -> None:
    """Retention passed while nothing ran (fault 17)."""
    place.settle()
    before = {p: end for p, (_, end) in place.broker.held(place.broker.topic("taps")).items()}
    place.sent += send(place.broker, "taps", events(200, seed=23))
    place.broker._admin.delete_records({TopicPartition("taps", 0): before[0] + 30})  # type: ignore[attr-defined]
    refused = place.stream("--until-idle")
    assert refused.process.wait(200) == 2, refused.said()[-3000:]
    assert f"partition 0: [{before[0]}, {before[0] + 30})" in refused.said()
    assert "--allow-gap" in refused.said()
    place.check()
    allowed = place.stream("--until-idle", "--allow-gap")
    assert allowed.process.wait(300) == 0, allowed.said()[-3000:]
    vectors = place.check()
    assert all(vector.covers(place.head()) for vector in vectors.values())
    found = place.shell.json("verify", "taps.py:taps")
    assert (found["mismatched"], found["missing"], found["extra"]) == (0, 0, 0), found
