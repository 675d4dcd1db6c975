"""`headrace serve` as a user runs it, against DynamoDB Local."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from commanded import ENTITIES, TOKEN, Table, filled_table, serve, wait_until
from published import promote

from headrace.testing.plugin import SettingsFactory

pytestmark = pytest.mark.dynamodb


@pytest.fixture
def table(dynamodb: str, headrace_settings: SettingsFactory, tmp_path: Path) -> Iterator[Table]:
    with filled_table(headrace_settings(endpoint=dynamodb), tmp_path / "home") as filled:
        yield filled


def test_serve_prints_its_address_answers_and_leaves_with_0(table: Table) -> None:
    with serve(table) as running:
        answer = requests.get(f"{running.url}/v1/predictions/segments/17850", timeout=10).json()
        assert answer["prediction"] == {"cluster": 4, "segment": "Can't Lose"}
        assert requests.get(f"{running.url}/readyz", timeout=10).status_code == 200
        listed = requests.get(f"{running.url}/v1/definitions", timeout=10).json()["definitions"]
        assert [(one["definition"], one["generation"]) for one in listed] == [("segments", 2)]
        told = requests.get(f"{running.url}/v1/explanations/segments/17850", timeout=10).json()
        assert told["answer"]["prediction"] == answer["prediction"]
        assert "<title>headrace console</title>" in requests.get(f"{running.url}/", timeout=10).text
        assert f"console: {running.url}/" in running.log
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
