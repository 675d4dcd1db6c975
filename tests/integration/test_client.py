"""Both clients against a server on a real socket."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from published import NOW, learned, promote, publish, version
from served import ENTITIES, TOKEN, Fragile, filled, serving

import headrace
from headrace.config import load
from headrace.errors import AnswerIsNo, ConfigError, InputError, StoreUnavailable
from headrace.serving.api import create_app
from headrace.serving.client import AsyncClient, Client, ServerUnavailable
from headrace.serving.lookup import Lookups, NoLearner, UnknownDefinition, UnknownKey


@pytest.fixture(scope="module")
def fragile() -> Fragile:
    store = filled()
    publish(store, "rides", 1, {f"e{n}": version(n, 1) for n in range(250)} | {".": version(1, 1)}, **learned())
    promote(store, "rides", 1)
    publish(store, "plain", 1, {"a": version(1, 1)})
    promote(store, "plain", 1)
    return Fragile(store)


@pytest.fixture(scope="module")
def url(fragile: Fragile) -> Iterator[str]:
    app = create_app(
        load(["serve.require_token=true", "serve.champion_cache_s=0"], "local"), fragile, lambda: NOW, TOKEN
    )
    with serving(app) as address:
        yield address


class Blocking:
    """The asynchronous client, one call at a time."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._made = lambda: AsyncClient(*arguments, **options)
        self._made()

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **options: Any) -> Any:
            async with self._made() as client:
                return await getattr(client, name)(*arguments, **options)

        return lambda *arguments, **options: asyncio.run(call(*arguments, **options))


KINDS = pytest.mark.parametrize("kind", [Client, Blocking])


@KINDS
def test_answers_are_what_the_library_says(kind: Any, url: str, fragile: Fragile) -> None:
    lookups = Lookups(fragile.store, 0, lambda: NOW)
    client = kind(url, token=TOKEN)
    for entity in ENTITIES:
        assert client.lookup("segments", entity) == lookups.one("segments", entity)
    assert client.lookup("rides", ".") == lookups.one("rides", ".")
    names = [f"e{n}" for n in range(0, 300, 2)]
    many = client.lookup_many("rides", [*names, "e0"])
    assert [answer.entity for answer in many.answers] == names[:125]
    assert many.missing == names[125:]
    assert many.answers[7] == lookups.one("rides", "e14")
    assert client.lookup_many("rides", []).answers == []
    assert client.model("rides") == lookups.model("rides")


@KINDS
def test_records_are_scored(kind: Any, url: str, fragile: Fragile) -> None:
    records = [{"temperature": 20, "wind": 3}, {"temperature": 10.0, "wind": 5}]
    lookups = Lookups(fragile.store, 0, lambda: NOW)
    for parameters in ("live", "fitted"):
        expected = lookups.scorer("rides", live=parameters == "live").predict(records, now=NOW)
        assert kind(url, token=TOKEN).predict("rides", records, parameters=parameters) == expected
    found = kind(url, token=TOKEN).predict("rides", [*records, {}], entities=["e0", "e1", "nobody"])
    assert (found.predictions[:2], found.predictions[2]) == (expected.predictions, None)
    assert found.missing == ("nobody",)


@KINDS
def test_what_has_no_answer_is_named(kind: Any, url: str) -> None:
    client = kind(url, token=TOKEN)
    with pytest.raises(UnknownKey, match="no prediction for entity 'nobody'"):
        client.lookup("segments", "nobody")
    with pytest.raises(UnknownKey):
        client.lookup("segments", "..")
    with pytest.raises(UnknownDefinition, match="headrace run other"):
        client.lookup("other", "a")
    with pytest.raises(NoLearner):
        client.predict("plain", [])
    with pytest.raises(InputError, match="'wind'"):
        client.predict("rides", [{"temperature": 1}])
    with pytest.raises(InputError, match="surrogate"):
        client.lookup("segments", "\ud800")
    with pytest.raises(AnswerIsNo, match="nothing of 'segments' was served at 2026-01-01"):
        client.lookup("segments", "17850", as_of=datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(InputError, match="timezone"):
        client.lookup("segments", "17850", as_of=datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused
    for token in (None, "wrong"):
        with pytest.raises(ConfigError, match="refuses this token"):
            kind(url, token=token).lookup("segments", "17850")


def test_an_address_is_checked_at_once() -> None:
    with pytest.raises(ConfigError, match="expected http"):
        Client("127.0.0.1:8000")


@KINDS
def test_a_server_that_is_away_is_tried_again_and_then_given_up(kind: Any, url: str, fragile: Fragile) -> None:
    fragile.error = StoreUnavailable("down")
    try:
        began = time.monotonic()
        with pytest.raises(ServerUnavailable, match="503"):
            kind(url, token=TOKEN, retry_s=0.5).lookup("segments", "17850")
        assert time.monotonic() - began < 4
        threading.Timer(0.7, lambda: setattr(fragile, "error", None)).start()
        assert kind(url, token=TOKEN, retry_s=20).lookup("segments", "17850").entity == "17850"
    finally:
        fragile.error = None
    with pytest.raises(ServerUnavailable, match="does not answer"):
        kind("http://127.0.0.1:9", retry_s=0.2).lookup("segments", "17850")


def test_both_clients_have_the_same_methods() -> None:
    def methods(client: type) -> dict[str, str]:
        made = {name: inspect.signature(m) for name, m in vars(client).items() if not name.startswith("_")}
        return {name: str(signature) for name, signature in made.items()}

    assert methods(Client) == methods(AsyncClient)


def test_a_client_costs_nothing_until_it_is_used() -> None:
    assert {"Client", "AsyncClient"} <= set(headrace.__all__)
    code = "import sys, headrace; assert 'httpx' not in sys.modules; headrace.Client; assert 'httpx' in sys.modules; "
    code += "assert not {'numpy', 'pyarrow', 'pyspark', 'fastapi'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
