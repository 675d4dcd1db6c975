"""The publisher's client cost against boto3's batch_writer on one stub server, and what a republication sends."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Cost, Metric, compared, cpu, in_this_process_alone, side_by_side
from bench.peers import ROOT, PeerServer
from bench.publishing_items import OUTPUTS, STATE
from headrace.stores.dynamodb import DynamoDBStore
from headrace.stores.port import Version, Write

ITEMS = 200_000


@contextlib.contextmanager
def stub() -> Iterator[str]:
    """The stand-in's address; it answers at once and runs in a process of its own."""
    command = [sys.executable, str(ROOT / "tests" / "integration" / "dynamodb_stub.py")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait()


def run(_work: Path, _source: Path) -> list[Metric]:
    """Client CPU seconds for 200,000 items, both ways on the same stub."""
    with stub() as endpoint, PeerServer("batch_writer", endpoint, str(ITEMS)) as peer:
        store = DynamoDBStore("headrace", "us-east-1", endpoint)
        generation = iter(range(1, 1000))

        def ours() -> Cost:
            g = next(generation)
            writes = (Write(f"c{n:07d}", Version(STATE, OUTPUTS), exists=False) for n in range(ITEMS))
            return in_this_process_alone(lambda: store.write_versions(f"bench{g}", g, writes))

        mine, theirs = side_by_side(ours, peer.measure, rounds=5)
        store.close()
    return [compared("publish_200k_client_cpu_vs_batch_writer", mine, theirs, cpu, at_most=1)]
