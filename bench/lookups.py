"""Look-ups over HTTP against `feast serve`, one client for all: requests a server CPU second, latency, memory.

Ours reads from DynamoDB Local, a batch and a speed item a key, or from its view; Feast reads from SQLite in its own
process. Both return ten doubles a key, run one worker on uvloop and httptools, and are measured in turn, A B A B A.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import served
from bench.load import Plan
from bench.measure import Cost, Metric, compared, cpu, in_this_process_alone, side_by_side, wall
from bench.peers import ROOT, PeerServer
from bench.served import Asked, Server
from headrace.config import load
from headrace.local.engines import running as engine

KEYS = 2000
IN_MEMORY = 1_000_000
READS = 1000
TABLE = "bench-lookups"


def run(work: Path, _source: Path) -> Iterator[Metric]:
    settings = load([f"home={work / 'home'}"], environment="local")
    with engine("dynamodb", work / "engine", settings) as dynamodb:
        assert dynamodb.endpoint is not None
        served.fill(dynamodb.endpoint, TABLE, KEYS)
        hop = served.ours(dynamodb.endpoint, TABLE, work / "home")
        view = served.ours(dynamodb.endpoint, TABLE, work / "home", 'serve.view=["customers"]')
        with served.feast(work / "feast", KEYS) as feast, hop as by_hop, view as by_view, served.empty() as empty:
            _wait_for_view(by_view)
            yield from _against_feast("hop", by_hop, feast, cpu_at_most=1 / 3, p99_of_100_at_most=0.5)
            yield from _against_feast("view", by_view, feast, cpu_at_most=1 / 5, p99_of_100_at_most=0.2)
            yield from _scoring(by_hop, empty)
        yield _against_boto3(dynamodb.endpoint)
        yield from _starting(dynamodb.endpoint, work)
    yield _memory()


def _against_feast(
    how: str, ours: Server, feast: Server, *, cpu_at_most: float, p99_of_100_at_most: float
) -> Iterator[Metric]:
    mine, theirs = _asked(served.our_plan(ours, 1, KEYS, 3000), ours, served.feast_plan(feast, 1, KEYS, 600), feast)
    name = f"lookup_1_{how}"
    yield compared(f"{name}_server_cpu_vs_feast", mine, theirs, cpu, at_most=round(cpu_at_most, 3), keys=KEYS)
    yield compared(f"{name}_p99_vs_feast", mine, theirs, wall, at_most=0.5)
    mine, theirs = _asked(served.our_plan(ours, 100, KEYS, 300), ours, served.feast_plan(feast, 100, KEYS, 100), feast)
    yield compared(f"lookup_100_{how}_p99_vs_feast", mine, theirs, wall, at_most=p99_of_100_at_most)
    yield compared(f"lookup_100_{how}_server_cpu_vs_feast", mine, theirs, cpu, at_most=1)


def _scoring(ours: Server, empty: Server) -> Iterator[Metric]:
    score = served.post("/v1/models/customers:predict", {"records": [served.RECORD]})
    nothing = Plan(empty.port, [served.get("/healthz")], 3000)
    mine, theirs = _asked(Plan(ours.port, [score], 3000), ours, nothing, empty)
    yield compared("score_1_p99_vs_empty_route", mine, theirs, wall, at_most=1.5)
    yield compared("score_1_server_cpu_vs_empty_route", mine, theirs, cpu, at_most=1.5)


def _asked(plan: Plan, ours: Server, peers_plan: Plan, peer: Server) -> tuple[list[Cost], list[Cost]]:
    with contextlib.closing(Asked(ours, plan)) as mine, contextlib.closing(Asked(peer, peers_plan)) as theirs:
        return side_by_side(mine, theirs, rounds=5)


def _wait_for_view(server: Server) -> None:
    """Until the server holds every key; it says so in its metrics."""
    import urllib.request

    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as metrics:
            if f'headrace_view_keys{{definition="customers"}} {KEYS}.0' in metrics.read().decode():
                return
        time.sleep(0.2)
    raise AssertionError("the view was not filled")


def _against_boto3(endpoint: str) -> Metric:
    """The client's CPU seconds of reading one key after another, ours on its event loop."""
    import uvloop

    from headrace.stores.dynamodb import DynamoDBStore

    async def read() -> None:
        reader = store.reader(2.0)
        assert reader is not None
        for n in range(READS):
            found = await reader.held("customers", 1, [f"c{n % KEYS:07d}"], time.monotonic() + 5, states=False)
            assert found
        await reader.close()

    store = DynamoDBStore(TABLE, "us-east-1", endpoint)
    with PeerServer("batch_get", endpoint, TABLE, str(KEYS), str(READS)) as peer:
        mine, theirs = side_by_side(lambda: in_this_process_alone(lambda: uvloop.run(read())), peer.measure, rounds=5)
    store.close()
    return compared("read_1_key_client_cpu_vs_boto3", mine, theirs, cpu, at_most=1)


def _starting(endpoint: str, work: Path) -> Iterator[Metric]:
    """Wall seconds until the first answer, and memory then, without a view."""

    def started(server: Callable[[], contextlib.AbstractContextManager[Server]]) -> Cost:
        began = time.perf_counter()
        with server() as running:
            return Cost(time.perf_counter() - began, running.cpu_s(), running.rss_mb())

    mine, theirs = side_by_side(
        lambda: started(lambda: served.ours(endpoint, TABLE, work / "home", path="/healthz")),
        lambda: started(served.empty),
        rounds=5,
    )
    yield compared("serve_start_wall_vs_empty_fastapi", mine, theirs, wall, at_most=2)


def _memory() -> Metric:
    """Resident memory of a server with a million keys of ten doubles in its view, and of a dict of as many dicts."""

    def resident(what: str) -> Cost:
        command = [sys.executable, "-m", "bench.view_memory", what, str(IN_MEMORY)]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        told = json.loads(done.stdout)
        return Cost(told["rss_mb"], told["cpu_s"], told["rss_mb"])

    pairs = [(resident("view"), resident("dicts")) for _ in range(2)]  # memory hardly varies
    mine, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    return compared("rss_mb_1m_keys_view_vs_dict_of_dicts", mine, theirs, wall, at_most=0.25)
