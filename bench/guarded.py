"""The guarded writer's client cost against boto3's conditional UpdateItem on one stub server."""

from __future__ import annotations

from pathlib import Path

from bench.measure import Cost, Metric, compared, cpu, in_this_process_alone, side_by_side
from bench.peers import PeerServer
from bench.publishing import stub
from bench.publishing_items import OUTPUTS, STATE
from headrace.schemas import Vector
from headrace.stores.dynamodb import DynamoDBStore
from headrace.stores.port import SpeedItem

ITEMS = 10_000
VECTOR = Vector({("5f0c1d2e-8a4b-4c3d-9e8f-7a6b5c4d3e2f", "3"): 1_234_567})


def run(_work: Path, _source: Path) -> list[Metric]:
    """Client CPU seconds for 10,000 guarded items, both ways on the same stub."""
    with stub() as endpoint, PeerServer("conditional_update", endpoint, str(ITEMS)) as peer:
        store = DynamoDBStore("headrace", "us-east-1", endpoint)
        writes = iter(range(1, 1000))

        def ours() -> Cost:
            w = next(writes)
            items = {f"c{n:07d}": SpeedItem(STATE, OUTPUTS, VECTOR, w) for n in range(ITEMS)}

            def write() -> None:
                for start in range(0, ITEMS, 100):
                    some = dict(list(items.items())[start : start + 100])
                    assert not store.write_speed("bench", 1, some).refused

            return in_this_process_alone(write)

        mine, theirs = side_by_side(ours, peer.measure, rounds=5)
        store.close()
    return [compared("guarded_write_10k_client_cpu_vs_conditional_update_item", mine, theirs, cpu, at_most=0.1)]
