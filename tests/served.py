"""A real server on a real socket, in a thread, and what tests of the HTTP API ask it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import requests
from fastapi import FastAPI
from published import learned, promote, publish, version

from headrace.serving.server import address, bind, server_of
from headrace.serving.tls import Tls
from headrace.stores.memory import MemoryStore
from headrace.stores.port import Champion, Held, LedgerEntry, ModelItem, Progress
from headrace.stores.reports import Report

TOKEN = "a-token-for-tests"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
ENTITIES = ["17850", "a/b", "/a", "a//b", "a b", "ü💧", "50%", "a%2Fb", "x?y#z", "a:batch", "a+b", '"<&>', "\x00\n", ""]


@contextmanager
def serving(app: FastAPI, tls: Tls | None = None) -> Iterator[str]:
    """The URL of the app while the block runs."""
    listening = bind("127.0.0.1", 0)
    server = server_of(app, tls)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.005)
        yield address(listening, tls=tls is not None)
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
        assert not thread.is_alive(), "the server did not stop"


class Fragile:
    """A store that can be made to fail, or to wait."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.asked = 0

    def champion(self, definition: str) -> Champion:
        self._pass()
        return self.store.champion(definition)

    def ledger(self, definition: str) -> list[LedgerEntry]:
        return self.store.ledger(definition)

    def progress(self, definition: str, generation: int) -> Progress | None:
        return self.store.progress(definition, generation)

    def read_speed(self, definition: str, generation: int, entities: Sequence[str]) -> dict[str, Held]:
        self._pass()
        return self.store.read_speed(definition, generation, entities)

    def read_model(self, definition: str, generation: int) -> ModelItem | None:
        return self.store.read_model(definition, generation)

    def definitions(self) -> list[str]:
        return self.store.definitions()

    def reports(self, definition: str) -> list[Report]:
        return self.store.reports(definition)

    def _pass(self) -> None:
        self.asked += 1
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error


def filled() -> MemoryStore:
    store = MemoryStore()
    publish(store, "segments", 1, {entity: version(i, i) for i, entity in enumerate(ENTITIES)}, **learned())
    promote(store, "segments", 1)
    return store


def get(url: str, path: str, **headers: str) -> requests.Response:
    return requests.get(url + path, headers={**AUTHORIZED, **headers}, timeout=10)


def batch(url: str, body: Any) -> requests.Response:
    headers = {**AUTHORIZED, "Content-Type": "application/json"}
    content = json.dumps(body)
    return requests.post(f"{url}/v1/predictions/segments:batch", data=content, headers=headers, timeout=10)


def problem_of(response: requests.Response, status: int, slug: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["type"], body["status"]) == (f"urn:headrace:problem:{slug}", status)
    assert body["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    return body
