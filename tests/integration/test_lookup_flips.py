"""What readers see while generations change under them, half of one is written, or the clock goes back."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from commanded import ENTITIES, Running, Table, filled_table, serve, wait_until
from published import NOW, TTL, ledger_info, promote, publish, version
from served import Fragile, serving

from headrace.config import load
from headrace.serving.api import create_app
from headrace.stores.memory import MemoryStore
from headrace.stores.port import LedgerEntry, Write
from headrace.testing.plugin import SettingsFactory

RATE = 500.0
CLIENTS = 4
WHOLE = {1: 1, 2: 2}  # generation -> the cluster of every entity in it


@pytest.fixture
def table(dynamodb: str, headrace_settings: SettingsFactory, tmp_path: Path) -> Iterator[Table]:
    with filled_table(headrace_settings(endpoint=dynamodb), tmp_path / "home") as filled:
        yield filled


def asked_at_a_rate(running: Running, stop: threading.Event) -> tuple[list[float], set[int], list[str]]:
    """Seconds of each look-up of one client, the generations it saw, and what was wrong."""
    address = urlsplit(running.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    taken, seen, wrong = list[float](), set[int](), list[str]()
    due = time.monotonic()
    for entity in cycle(ENTITIES):
        if stop.is_set():
            break
        due = max(due + CLIENTS / RATE, time.monotonic() - 0.1)
        time.sleep(max(0.0, due - time.monotonic()))
        began = time.monotonic()
        connection.request("GET", f"/v1/predictions/segments/{entity}")
        response = connection.getresponse()
        told = json.loads(response.read())
        taken.append(time.monotonic() - began)
        if response.status != 200 or WHOLE[told["generation"]] != told["prediction"]["cluster"]:
            wrong.append(str(told))
        else:
            seen.add(told["generation"])
    connection.close()
    return taken, seen, wrong


@pytest.mark.dynamodb
@pytest.mark.parametrize("seconds", [3.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_promotions_under_500_look_ups_a_second_lose_and_mix_nothing(
    table: Table, seconds: float, record_property: Callable[[str, object], None]
) -> None:
    stop = threading.Event()
    with serve(table, "--set", "serve.champion_cache_s=0.1") as running, ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(asked_at_a_rate, running, stop) for _ in range(CLIENTS)]
        began, flips = time.monotonic(), 0
        try:
            while time.monotonic() - began < seconds:
                promote(table.store, "segments", 1 + flips % 2)
                flips += 1
                time.sleep(0.25)
        finally:
            stop.set()
        found = [client.result() for client in clients]
    taken = sorted(second for one in found for second in one[0])
    record_property("flips", flips)
    record_property("look_ups_a_second", round(len(taken) / (time.monotonic() - began)))
    record_property("p99_ms", round(1000 * taken[int(len(taken) * 0.99)], 1))
    assert [one[2] for one in found] == [[]] * CLIENTS
    assert set.union(*(one[1] for one in found)) == {1, 2}


@pytest.mark.dynamodb
def test_half_a_generation_is_seen_by_nobody_and_the_whole_by_all(table: Table) -> None:
    with serve(table, "--set", "serve.champion_cache_s=0.1", "--set", 'serve.view=["segments"]') as running:

        def clusters() -> set[tuple[int, int]]:
            told = requests.post(
                f"{running.url}/v1/predictions/segments:batch", json={"entities": ENTITIES}, timeout=10
            )
            return {(a["generation"], a["prediction"]["cluster"]) for a in told.json()["answers"]}

        store = table.store
        lease = store.acquire_lease("segments", "dies", NOW, TTL)
        store.open_publication(lease, LedgerEntry(3, "publishing", 2, "manifest-3", 0, ledger_info(3)))
        store.write_versions("segments", 3, [Write(e, version(3, 3), exists=True) for e in ENTITIES[:50]])
        store.release_lease(lease)
        for _ in range(20):
            assert clusters() == {(2, 2)}
        publish(store, "segments", 4, dict.fromkeys(ENTITIES, version(4, 4)), base=2)
        promote(store, "segments", 4, skip=frozenset({3}))
        wait_until(lambda: clusters() == {(4, 4)})


def test_a_clock_that_goes_back_changes_no_answer_and_delays_no_promotion() -> None:
    store, now = MemoryStore(), [NOW]
    publish(store, "segments", 1, {"a": version(1, 1)}, max_age_s=7200.0)
    publish(store, "segments", 2, {"a": version(1, 2)}, base=1, max_age_s=7200.0)
    promote(store, "segments", 1)
    app = create_app(load(["serve.champion_cache_s=0.1"], "local"), Fragile(store), lambda: now[0], None)
    with serving(app) as url:

        def told() -> dict[str, object]:
            answer: dict[str, object] = requests.get(f"{url}/v1/predictions/segments/a", timeout=10).json()
            return answer

        before = told()
        assert (before["age_s"], before["stale"]) == (3600.0, False)
        now[0] = NOW - timedelta(days=1)
        assert told() == {**before, "age_s": 0.0}, "never younger than new"
        promote(store, "segments", 2)
        wait_until(lambda: told()["generation"] == 2)
        now[0] = NOW + timedelta(hours=2)
        assert (told()["age_s"], told()["stale"]) == (10800.0, True)
