"""A real server over a store that is down, slow, throttled or cut short, with credentials that expire: its answers are
right or fail clearly in time, nothing leaks, and it recovers by itself."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
import requests
from commanded import ENTITIES, Running, Table, filled_table, serve, wait_until
from dynamodb_stub import Faults, Stub, serving
from published import promote, publish, version
from tcp_proxy import Proxy, proxied

from headrace.stores import items
from headrace.stores.memory import MemoryStore
from headrace.testing.plugin import SettingsFactory

TIMEOUT_S = 1.0
RIGHT = {"cluster": 2, "segment": "Can't Lose"}
LONG = pytest.param(300.0, marks=pytest.mark.slow)


@dataclass
class Load:
    """What a few clients saw, asking for a few keys again and again while the block ran."""

    entities: list[str]
    statuses: dict[int, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    stale: int = 0
    wrong: list[str] = field(default_factory=list)

    def look_up(self, session: requests.Session, url: str) -> None:
        began = time.monotonic()
        answered = session.post(f"{url}/v1/predictions/segments:batch", json={"entities": self.entities}, timeout=30)
        self.seconds.append(time.monotonic() - began)
        self.statuses[answered.status_code] = self.statuses.get(answered.status_code, 0) + 1
        if answered.status_code == 200:
            answers = answered.json()["answers"]
            self.stale += answers[0]["stale"]
            if [a["entity"] for a in answers] != self.entities or any(a["prediction"] != RIGHT for a in answers):
                self.wrong.append(answered.text[:300])
        elif answered.headers.get("retry-after") != "1":
            self.wrong.append(answered.text[:300])

    @property
    def p99_s(self) -> float:
        return statistics.quantiles(self.seconds, n=100)[98]


@contextmanager
def loaded(url: str, clients: int = 4, entities: list[str] = ENTITIES[:5]) -> Iterator[Load]:
    load, stop = Load(entities), threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            while not stop.is_set():
                load.look_up(session, url)
                time.sleep(0.01)

    with ThreadPoolExecutor(clients) as pool:
        asking = [pool.submit(ask) for _ in range(clients)]
        try:
            yield load
        finally:
            stop.set()
            for one in asking:
                one.result()


@dataclass(frozen=True)
class Held:
    """What a server process holds."""

    rss_mb: float
    descriptors: int
    threads: int

    @classmethod
    def by(cls, running: Running) -> Held:
        process = psutil.Process(running.process.pid)
        return cls(process.memory_info().rss / 2**20, process.num_fds(), process.num_threads())


@pytest.fixture
def table(dynamodb: str, headrace_settings: SettingsFactory, tmp_path: Path) -> Iterator[Table]:
    with filled_table(headrace_settings(endpoint=dynamodb), tmp_path / "home") as filled:
        yield filled


@pytest.fixture
def proxy(dynamodb: str) -> Iterator[Proxy]:
    with proxied(dynamodb) as running:
        yield running


@contextmanager
def behind(table: Table, proxy: Proxy, *settings: str) -> Iterator[Running]:
    """A server that reaches the table through the proxy."""
    options = [f"store.endpoint={proxy.endpoint}", f"serve.store_timeout_s={TIMEOUT_S}", *settings]
    arguments = [word for one in options for word in ("--set", one)]
    with serve(table, *arguments) as running:
        wait_until(lambda: requests.get(f"{running.url}/readyz", timeout=10).status_code == 200)
        for _ in range(50):
            assert requests.get(f"{running.url}/v1/predictions/segments/e1", timeout=10).status_code == 200
        yield running


def answers_again(url: str) -> Callable[[], bool]:
    return lambda: requests.get(f"{url}/v1/predictions/segments/e1", timeout=10).status_code == 200


@pytest.mark.dynamodb
@pytest.mark.parametrize("seconds", [2.0, LONG])
@pytest.mark.parametrize("fault", ["down", "silent", "slow"])
def test_a_store_that_does_not_answer_is_told_in_time_and_comes_back(
    table: Table, proxy: Proxy, fault: str, seconds: float, record_property: Callable[[str, object], None]
) -> None:
    with behind(table, proxy) as running:
        before = Held.by(running)
        if fault == "slow":
            proxy.delay_s = 3 * TIMEOUT_S
        else:
            setattr(proxy, fault, True)
        time.sleep(1.1)  # what the pointer and the connections in flight still gave
        with loaded(running.url) as load:
            time.sleep(seconds)
        assert set(load.statuses) == {503}, load.statuses
        assert not load.wrong
        record_property("p99_s", round(load.p99_s, 3))
        assert load.p99_s < TIMEOUT_S + 1.0, "so long even on a busy machine"
        assert requests.get(f"{running.url}/healthz", timeout=10).status_code == 200
        proxy.down = proxy.silent = False
        proxy.delay_s = 0.0
        wait_until(answers_again(running.url))
        with loaded(running.url) as load:
            time.sleep(1.0)
        # All of them, but for what a busy machine does not read in the time-out.
        assert load.statuses[200] >= 0.9 * len(load.seconds), load.statuses
        assert not load.wrong
        after = Held.by(running)
        record_property("rss_mb", [round(before.rss_mb), round(after.rss_mb)])
        assert after.rss_mb < 1.2 * before.rss_mb + 10
        assert after.descriptors < before.descriptors + 20
        assert running.stop() == 0


@pytest.mark.dynamodb
@pytest.mark.parametrize("seconds", [2.0, LONG])
def test_a_view_goes_on_answering_with_the_flag_where_settings_say_so(
    table: Table, proxy: Proxy, seconds: float
) -> None:
    settings = ('serve.view=["segments"]', "serve.store_down=stale")
    with behind(table, proxy, *settings) as running:
        metrics = f"{running.url}/metrics"
        wait_until(lambda: 'headrace_view_keys{definition="segments"} 102.0' in requests.get(metrics, timeout=10).text)
        proxy.down = True
        time.sleep(1.1)
        with loaded(running.url) as load:
            time.sleep(seconds)
        assert set(load.statuses) == {200}, load.statuses
        assert not load.wrong
        assert load.stale == len(load.seconds)
        unknown = requests.get(f"{running.url}/v1/predictions/segments/nobody", timeout=10)
        assert unknown.status_code == 503, "the view cannot know"
        proxy.down = False
        wait_until(lambda: not requests.get(f"{running.url}/v1/predictions/segments/e1", timeout=10).json()["stale"])


@pytest.mark.dynamodb
def test_answers_that_are_cut_are_asked_for_again(table: Table, proxy: Proxy) -> None:
    with behind(table, proxy) as running:
        proxy.cut_after = 8_000  # some whole answers, then half of one
        proxy.hang_up()
        with loaded(running.url) as load:
            time.sleep(2.0)
        assert set(load.statuses) <= {200, 503}
        assert load.statuses[200] > 0
        assert not load.wrong
        assert proxy.accepted > 10
        proxy.cut_after = None
        proxy.hang_up()
        wait_until(answers_again(running.url))


def stocked(stub: Stub) -> None:
    """Put into the stub what a publication of two generations leaves in a table."""
    store = MemoryStore()
    publish(store, "segments", 1, dict.fromkeys(ENTITIES, version(1, 1)))
    publish(store, "segments", 2, dict.fromkeys(ENTITIES, version(2, 2)), base=1)
    promote(store, "segments", 2)
    found = [items.champion_item("segments", store.champion("segments"), "token")]
    found += [items.ledger_item("segments", entry) for entry in store.ledger("segments")]
    for entity, versions in store.scan("segments"):
        attributes = {items.attribute(g): items.version_value(v) for g, v in versions.items()}
        found.append(items.key(items.batch_pk("segments", entity), items.BATCH) | attributes)
    stub.items = {(item["pk"]["S"], item["sk"]["S"]): item for item in found}


@contextmanager
def over(stub: Stub, home: Path, environment: dict[str, str] | None = None) -> Iterator[Running]:
    """A server over the stub."""
    settings = [f"store.endpoint={stub.endpoint}", "store.create_table=false", "serve.champion_cache_s=0.2"]
    table = Table(MemoryStore(), [], {**_bare_environment(), "HEADRACE_HOME": str(home), **(environment or {})})
    with serve(table, *[word for one in settings for word in ("--set", one)]) as running:
        wait_until(lambda: requests.get(f"{running.url}/readyz", timeout=10).status_code == 200)
        yield running


def _bare_environment() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def test_half_of_all_calls_and_keys_may_be_throttled(tmp_path: Path) -> None:
    with serving() as stub:
        stocked(stub)
        with over(stub, tmp_path) as running:
            stub.faults = Faults(calls=0.25, unprocessed=0.25)
            with loaded(running.url, 2, ENTITIES) as load:
                wait_until(lambda: len(load.seconds) >= 15)
            assert not load.wrong
            assert load.statuses.get(503, 0) <= 0.2 * len(load.seconds), load.statuses
            assert stub.refused > 50


class _Credentials(BaseHTTPRequestHandler):
    """What a container's credentials endpoint says: a new token, good for a few seconds."""

    life_s = 2.0
    until: dict[str, float]

    def do_GET(self) -> None:
        token = f"token-{len(self.until)}"
        self.until[token] = time.monotonic() + self.life_s
        expires = datetime.now(UTC) + timedelta(seconds=self.life_s)
        told = {
            "AccessKeyId": "a",
            "SecretAccessKey": "s",
            "Token": token,
            "Expiration": f"{expires:%Y-%m-%dT%H:%M:%SZ}",
        }
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class names it
        """Say nothing."""


@pytest.mark.parametrize("seconds", [6.0, pytest.param(120.0, marks=pytest.mark.slow)])
def test_credentials_expire_and_no_look_up_fails(tmp_path: Path, seconds: float) -> None:
    until: dict[str, float] = {}
    handler = type("Credentials", (_Credentials,), {"until": until})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as credentials, serving() as stub:
        threading.Thread(target=credentials.serve_forever, daemon=True).start()
        stocked(stub)
        stub.admits = lambda token: time.monotonic() < until.get(token or "", 0.0)
        address = f"http://127.0.0.1:{credentials.server_address[1]}/"
        with over(stub, tmp_path, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": address}) as running:
            with loaded(running.url, 2) as load:
                time.sleep(seconds)
            assert set(load.statuses) == {200}, load.statuses
            assert not load.wrong
            assert len(until) > seconds / _Credentials.life_s, "tokens were renewed"
        credentials.shutdown()
