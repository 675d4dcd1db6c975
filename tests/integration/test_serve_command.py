"""`headrace lookup` and `headrace serve` as a user runs them, against DynamoDB Local."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from headrace.stores import open_store
from headrace.stores.port import Store
from headrace.testing.plugin import SettingsFactory
from published import promote, publish, version

pytestmark = pytest.mark.dynamodb
TOKEN = "a-token-for-tests"
ENTITIES = [f"e{i}" for i in range(100)]


@dataclass
class Table:
    """A filled table and how a command reaches it."""

    store: Store
    options: list[str]
    environment: dict[str, str]

    def run(self, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "headrace.cli", *arguments, *self.options]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=self.environment, timeout=60)
        assert done.returncode == expect, f"{arguments} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


@pytest.fixture
def table(dynamodb: str, headrace_settings: SettingsFactory, tmp_path: Path) -> Iterator[Table]:
    settings = headrace_settings(endpoint=dynamodb)
    store = open_store(settings.store, None)
    store.prepare()
    publish(
        store, "segments", 1, {"17850": version(1, 1), "a b/ü": version(2, 1), **dict.fromkeys(ENTITIES, version(1, 1))}
    )
    publish(store, "segments", 2, {"17850": version(301, 4), **dict.fromkeys(ENTITIES, version(2, 2))}, base=1)
    promote(store, "segments", 2)
    options = ["--set", f"store.endpoint={dynamodb}", "--set", f"store.table={settings.store.table}"]
    yield Table(store, options, {**os.environ, "HEADRACE_HOME": str(tmp_path / "home"), "HEADRACE_TOKEN": TOKEN})
    store.close()


# -- lookup -------------------------------------------------------------------------------------
def test_lookup_prints_the_answer_as_json(table: Table) -> None:
    answer = json.loads(table.run("lookup", "segments", "17850", "--json").stdout)
    assert list(answer) == [
        "definition", "entity", "prediction", "features", "layer", "generation", "vector", "as_of", "age_s", "stale",
    ]  # fmt: skip
    assert (answer["entity"], answer["features"], answer["generation"]) == ("17850", {"recency": 301}, 2)
    older = json.loads(table.run("lookup", "segments", "a b/ü", "--json").stdout)
    assert (older["entity"], older["features"], older["generation"]) == ("a b/ü", {"recency": 2}, 2)


def test_lookup_prints_a_table_for_people(table: Table) -> None:
    shown = table.run("lookup", "segments", "17850").stdout
    for words in (
        r"segments / 17850",
        r"cluster +│ +4",
        r"segment +│ +Can't Lose",
        r"recency +│ +301",
        r"generation +│ +2",
    ):
        assert re.search(words, shown), shown
    assert re.search(r"age +│ +\d+ d", shown), shown


def test_lookup_of_an_unknown_key_exits_1(table: Table) -> None:
    for definition, entity, message in (
        ("segments", "nobody", "'segments' has no prediction for entity 'nobody'"),
        ("segment", "17850", "nothing is served under definition 'segment'; check the spelling"),
    ):
        done = table.run("lookup", definition, entity, "--json", expect=1)
        assert message in done.stderr
        assert done.stdout == ""


def test_lookup_before_anything_was_published_exits_1(table: Table) -> None:
    fresh = Table(table.store, [*table.options, "--set", f"store.table=test-{uuid.uuid4().hex}"], table.environment)
    assert "headrace run segments" in fresh.run("lookup", "segments", "17850", expect=1).stderr


def test_lookup_as_of_exits_2(table: Table) -> None:
    done = table.run("lookup", "segments", "17850", "--as-of", "2026-01-01", expect=2)
    assert "as-of look-ups are not available yet" in done.stderr


def test_lookup_with_the_engine_down_exits_75_and_says_what_to_do(table: Table) -> None:
    down = Table(table.store, ["--set", "store.endpoint=engine"], table.environment)
    assert "headrace up dynamodb" in down.run("lookup", "segments", "17850", expect=75).stderr
    gone = Table(table.store, ["--set", f"store.endpoint=http://127.0.0.1:{free_port()}"], table.environment)
    assert "does not answer" in gone.run("lookup", "segments", "17850", expect=75).stderr


def test_lookup_imports_neither_spark_nor_pandas_nor_the_server(table: Table) -> None:
    script = (
        "import sys\nfrom headrace.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as stop:\n    assert stop.code == 0, stop.code\n"
        "print(sorted({'pyspark', 'pandas', 'fastapi', 'uvicorn', 'pyarrow'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", script, "lookup", "segments", "17850", "--json", *table.options]
    done = subprocess.run(command, capture_output=True, text=True, env=table.environment, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# -- serve --------------------------------------------------------------------------------------
@dataclass
class Running:
    """A `headrace serve` process."""

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)

    def stop(self, signum: int = signal.SIGTERM) -> int:
        self.process.send_signal(signum)
        return self.process.wait(20)

    @property
    def log(self) -> str:
        return "".join(self.lines)


@contextmanager
def serve(table: Table, *arguments: str, python: tuple[str, ...] = ()) -> Iterator[Running]:
    command = [sys.executable, *python, "-m", "headrace.cli", "serve", "--port", "0", *table.options, *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=table.environment)
    running = Running(process)
    assert process.stderr is not None
    announced = threading.Event()

    def drain() -> None:
        for line in process.stderr or ():
            running.lines.append(line)
            if found := re.search(r"serving on (http://\S+)", line):
                running.url = found[1]
                announced.set()
        announced.set()

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    try:
        assert announced.wait(30)
        assert running.url, running.log
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join(5)


def test_serve_prints_its_address_answers_and_leaves_with_0(table: Table) -> None:
    with serve(table) as running:
        answer = requests.get(f"{running.url}/v1/predictions/segments/17850", timeout=10).json()
        assert answer["prediction"] == {"cluster": 4, "segment": "Can't Lose"}
        assert requests.get(f"{running.url}/readyz", timeout=10).status_code == 200
        assert f"curl {running.url}/v1/predictions/segments/17850" in running.log
        assert running.stop() == 0
    assert "Traceback" not in running.log
    assert any(json.loads(line)["route"] == "/readyz" for line in running.lines if line.startswith("{"))


def test_serve_requires_the_token_where_the_settings_say_so(table: Table) -> None:
    with serve(table, "--set", "serve.require_token=true") as running:
        path = f"{running.url}/v1/predictions/segments/17850"
        assert requests.get(path, timeout=10).status_code == 401
        assert requests.get(path, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10).status_code == 200
        assert '"Authorization: Bearer $HEADRACE_TOKEN"' in running.log
        assert TOKEN not in running.log


def test_serve_without_its_token_exits_2(table: Table) -> None:
    bare = Table(table.store, table.options, {k: v for k, v in table.environment.items() if k != "HEADRACE_TOKEN"})
    done = bare.run("serve", "--port", "0", "--set", "serve.require_token=true", expect=2)
    assert "the secret 'HEADRACE_TOKEN' is not set" in done.stderr


def test_serve_on_a_port_that_is_taken_exits_75(table: Table) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = table.run("serve", "--port", str(port), expect=75)
    assert f"port {port} of 127.0.0.1 is taken" in done.stderr
    assert "--port 0" in done.stderr


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_serve_on_an_address_that_is_not_ours_exits_2(table: Table, host: str) -> None:
    assert host in table.run("serve", "--host", host, "--port", "0", expect=2).stderr


def test_sigterm_lets_a_request_in_flight_finish(table: Table) -> None:
    with serve(table) as running:
        wait_until(lambda: requests.get(f"{running.url}/readyz", timeout=10).status_code == 200)
        parts = urlsplit(running.url)
        body = b'{"entities": ["17850"]}'
        head = "POST /v1/predictions/segments:batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:5])
            time.sleep(0.3)
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert running.process.poll() is None, "it waits for the request in flight"
            with pytest.raises(requests.ConnectionError):
                requests.get(f"{running.url}/healthz", timeout=2)
            connection.sendall(body[5:])
            answer = b""
            while part := connection.recv(65536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert b'"entity":"17850"' in answer
        assert running.process.wait(20) == 0


def test_ctrl_c_exits_130(table: Table) -> None:
    with serve(table) as running:
        wait_until(lambda: requests.get(f"{running.url}/healthz", timeout=10).status_code == 200)
        assert running.stop(signal.SIGINT) == 130
    assert "Traceback" not in running.log


def test_serve_with_the_store_down_is_alive_but_not_ready(table: Table) -> None:
    down = Table(table.store, ["--set", "store.endpoint=engine"], table.environment)
    with serve(down) as running:
        assert requests.get(f"{running.url}/healthz", timeout=10).status_code == 200
        for path in ("/readyz", "/v1/predictions/segments/17850"):
            response = requests.get(running.url + path, timeout=10)
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert running.stop() == 0
    assert "headrace up dynamodb" in running.log


def test_serve_imports_no_spark_and_starts_no_java(table: Table) -> None:
    with serve(table, python=("-X", "importtime")) as running:
        assert requests.get(f"{running.url}/v1/predictions/segments/17850", timeout=10).status_code == 200
        children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text()
        assert running.stop() == 0
    assert children.split() == []
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in running.lines if "import time:" in line}
    assert {"fastapi", "headrace"} <= imported
    assert not {"pyspark", "py4j", "pandas", "delta"} & imported


def test_readers_during_promote_and_rollback_see_only_whole_generations(table: Table) -> None:
    seen: set[tuple[int, int]] = set()
    stop = threading.Event()

    def read(url: str) -> int:
        asked = 0
        with requests.Session() as session:
            while not stop.is_set():
                response = session.post(f"{url}/v1/predictions/segments:batch", json={"entities": ENTITIES}, timeout=10)
                body = response.json()
                assert response.status_code == 200, body
                assert (len(body["answers"]), body["missing"]) == (100, [])
                values = {(a["generation"], a["prediction"]["cluster"]) for a in body["answers"]}
                assert len(values) == 1, values
                seen.update(values)
                asked += 1
        return asked

    with serve(table, "--set", "serve.champion_cache_s=0.01") as running, ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read, running.url) for _ in range(4)]
        try:
            for flip in range(200):
                promote(table.store, "segments", 1 + flip % 2)
        finally:
            stop.set()
        assert sum(reader.result() for reader in readers) >= 20
    assert seen == {(1, 1), (2, 2)}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
