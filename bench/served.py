"""Servers that the look-up benches ask: ours over DynamoDB Local, Feast's, boto3's bare call, and an empty route."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psutil

from bench.feast_repository import FEATURES
from bench.load import Plan, Seen
from bench.measure import Cost
from bench.peers import PEER_PYTHON, ROOT
from headrace.models.linear import LinearRegression

HEADRACE = (sys.executable, "-m", "headrace.cli")
RECORD = {"x": 1.5, "y": -2.0}
EMPTY = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
app.get("/healthz")(lambda: {"status": "ok"})
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""

_LEARNER = LinearRegression(("x", "y"))


@dataclass
class Server:
    """A running server process, with all it started."""

    port: int
    process: psutil.Process

    def tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def cpu_s(self) -> float:
        times = [one.cpu_times() for one in self.tree()]
        return sum(t.user + t.system for t in times)

    def rss_mb(self) -> float:
        return sum(one.memory_info().rss for one in self.tree()) / 2**20


class Asked:
    """One server asked one plan by a client of its own, again and again."""

    def __init__(self, server: Server, plan: Plan) -> None:
        self._server = server
        command = [sys.executable, "-m", "bench.load"]
        self._client = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seen: list[Seen] = []
        self._tell(json.dumps(asdict(plan)))

    def __call__(self) -> Cost:
        """One round: the server's CPU seconds a request, and as the wall seconds the latency of the slowest 1 %."""
        began = self._server.cpu_s()
        seen = Seen(**json.loads(self._tell("go")))
        assert not seen.errors, "the server did not answer everything"
        self.seen.append(seen)
        return Cost(seen.p99_ms / 1000, (self._server.cpu_s() - began) / seen.count, self._server.rss_mb())

    def _tell(self, line: str) -> str:
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        self._client.stdin.write(line + "\n")
        self._client.stdin.flush()
        return self._client.stdout.readline()

    def close(self) -> None:
        assert self._client.stdin is not None
        self._client.stdin.close()
        self._client.wait()


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(path: str, body: object) -> str:
    text = json.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(text)}\r\n\r\n{text}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(arguments: list[str], port: int, path: str, **options: object) -> Iterator[Server]:
    """The process of these arguments once it answers `path` with 200, until the block ends."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                break
            assert process.poll() is None, f"{arguments} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{arguments} does not answer"
            time.sleep(0.01)
        yield Server(port, psutil.Process(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@contextlib.contextmanager
def feast(folder: Path, keys: int) -> Iterator[Server]:
    """`feast serve` over SQLite: one worker, as ours, which is never restarted and logs no requests."""
    subprocess.run([str(PEER_PYTHON), "-m", "bench.feast_repository", str(folder), str(keys)], cwd=ROOT, check=True)
    port = free_port()
    command = [str(PEER_PYTHON.with_name("feast")), "-c", str(folder), "serve", "-p", str(port)]
    command += ["--no-access-log", "--max-requests", "0", "--max-requests-jitter", "0"]
    quiet = {**os.environ, "FEAST_USAGE": "False"}
    with running(command, port, "/health", env=quiet) as server:
        yield server


def feast_plan(server: Server, entities: int, keys: int, count: int) -> Plan:
    """Requests for so many entities each."""
    names = [f"customers:{name}" for name in FEATURES]
    requests = [
        post("/get-online-features", {"features": names, "entities": {"customer_id": asked}})
        for asked in _groups(entities, keys)
    ]
    return Plan(server.port, requests, count)


def our_plan(server: Server, entities: int, keys: int, count: int) -> Plan:
    if entities == 1:
        requests = [get(f"/v1/predictions/customers/{asked[0]}") for asked in _groups(1, keys)]
    else:
        requests = [post("/v1/predictions/customers:batch", {"entities": asked}) for asked in _groups(entities, keys)]
    return Plan(server.port, requests, count)


@contextlib.contextmanager
def empty() -> Iterator[Server]:
    """A FastAPI app with one route that does nothing."""
    port = free_port()
    with running([sys.executable, "-c", EMPTY, str(port)], port, "/healthz") as server:
        yield server


def _groups(size: int, keys: int, groups: int = 200) -> list[list[str]]:
    """Groups of entities spread over all keys."""
    return [[f"c{(group * 7919 + n * 31) % keys:07d}" for n in range(size)] for group in range(groups)]


@contextlib.contextmanager
def ours(endpoint: str, table: str, home: Path, *settings: str, path: str = "/readyz") -> Iterator[Server]:
    """`headrace serve` over the table, once it answers that path with 200."""
    port = free_port()
    command = [*HEADRACE, "serve", "--port", str(port), "--set", f"store.endpoint={endpoint}"]
    for one in (f"store.table={table}", *settings):
        command += ["--set", one]
    environment = {**os.environ, "HEADRACE_HOME": str(home)}
    with running(command, port, path, cwd=ROOT, env=environment) as server:
        yield server


def fill(endpoint: str, table: str, keys: int) -> None:
    """A generation of ten numbers a customer, every second of which the stream has counted since."""
    from headrace.schemas import Vector
    from headrace.stores.dynamodb import DynamoDBStore
    from headrace.stores.port import Champion, LedgerEntry, Progress, SpeedItem, Version, Write

    store = DynamoDBStore(table, "us-east-1", endpoint, create=True)
    store.prepare()
    now = datetime.now(UTC)
    info = {
        "cut": [["", "bench", keys]],
        "as_of": now.isoformat(),
        "definition_sha256": "0" * 64,
        "max_age_s": None,
        "clock": "cut",
        "description": {"name": "customers", "entity": "customer_id", "learner": _LEARNER.describe()},
        "theta": {"learner": _fitted()},
    }
    lease = store.acquire_lease("customers", "bench", now, timedelta(hours=1))
    store.open_publication(lease, LedgerEntry(1, "publishing", None, "bench", 0, info))
    writes = (Write(f"c{n:07d}", Version(b"{}" * 60, outputs(n)), exists=False) for n in range(keys))
    store.write_versions("customers", 1, writes)
    store.seal_publication(lease, 1, keys)
    store.release_lease(lease)
    epoch = store.champion("customers").epoch
    store.set_champion("customers", epoch, Champion(1, floor=1, epoch=epoch + 1))
    counted = Vector({("stream", "0"): keys})
    for start in range(0, keys, 200):
        some = {
            f"c{n:07d}": SpeedItem(b"{}" * 60, outputs(n), counted) for n in range(start, min(start + 200, keys), 2)
        }
        store.write_speed("customers", 1, some)
    taken = store.take_over("customers", 1, "bench", Vector({("", "bench"): keys}), now)
    store.advance(Progress("customers", 1, taken.vector.join(counted), taken.epoch, "bench", now))
    store.close()


def _fitted() -> dict[str, object]:
    """A line through made-up events of two inputs."""
    scaled = {"features": ["x", "y"], "target": "z", "mean": [0.0, 0.0], "scale": [1.0, 1.0]}
    scaled |= {"target_mean": 0.0, "target_scale": 1.0}
    events = np.random.default_rng(7).normal(size=(100, 3))
    contribution = _LEARNER.contribution(scaled, events)
    return {**scaled, "coefficients": [1.0, -0.5], "intercept": 0.0, "contribution": contribution}


def outputs(n: int) -> str:
    features = {name: n / 7 + i for i, name in enumerate(FEATURES)}
    return json.dumps({"features": features, "prediction": {}}, separators=(",", ":"))
