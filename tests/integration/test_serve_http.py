"""The HTTP API over real sockets: what it answers, and how it refuses."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
from headrace.config import load
from headrace.errors import StoreError, StoreUnavailable
from headrace.serving import admission, api
from headrace.serving.api import create_app
from headrace.stores.memory import MemoryStore
from headrace.stores.port import Champion, LedgerEntry, Version
from published import NOW, promote, publish, version
from served import serving

TOKEN = "a-token-for-tests"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
ENTITIES = ["17850", "a/b", "/a", "a//b", "a b", "ü💧", "50%", "a%2Fb", "x?y#z", "a:batch", "a+b", '"<&>', "\x00\n", ""]


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

    def read(self, definition: str, entities: Sequence[str]) -> dict[str, dict[int, Version]]:
        self._pass()
        return self.store.read(definition, entities)

    def _pass(self) -> None:
        self.asked += 1
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error


def filled() -> MemoryStore:
    store = MemoryStore()
    publish(store, "segments", 1, {entity: version(i, i) for i, entity in enumerate(ENTITIES)})
    promote(store, "segments", 1)
    return store


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of a healthy store that requires the token."""
    app = create_app(load(["serve.require_token=true"], "local"), filled(), lambda: NOW, TOKEN)
    with serving(app) as address:
        yield address


@pytest.fixture
def fragile() -> Fragile:
    return Fragile(filled())


@pytest.fixture
def fragile_url(fragile: Fragile) -> Iterator[str]:
    """A server of a store that can fail; it requires no token and caches no pointer."""
    app = create_app(load(["serve.champion_cache_s=0"], "local"), fragile, lambda: NOW, None)
    with serving(app) as address:
        yield address


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


# -- answers ------------------------------------------------------------------------------------
@pytest.mark.parametrize(("number", "entity"), list(enumerate(ENTITIES)))
def test_any_text_can_be_a_key(url: str, number: int, entity: str) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("GET", "/v1/predictions/segments/" + quote(entity, safe=""), headers=AUTHORIZED)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert (answer["entity"], answer["prediction"]["cluster"]) == (entity, number)
    assert batch(url, {"entities": [entity]}).json()["answers"] == [answer]


def test_slashes_need_no_encoding(url: str) -> None:
    assert get(url, "/v1/predictions/segments/a/b").json()["entity"] == "a/b"


def test_an_answer_as_the_contract_has_it(url: str) -> None:
    response = get(url, "/v1/predictions/segments/17850")
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert response.json() == {
        "definition": "segments",
        "entity": "17850",
        "prediction": {"cluster": 0, "segment": "Can't Lose"},
        "features": {"recency": 0},
        "layer": "batch",
        "generation": 1,
        "vector": [["", "file", 100]],
        "as_of": "2026-03-01T11:00:00Z",
        "age_s": 3600.0,
        "stale": False,
    }


def test_a_batch_answers_and_names_what_is_missing(url: str) -> None:
    body = batch(url, {"entities": ["no", "a/b", "17850", "no"]}).json()
    assert [a["entity"] for a in body["answers"]] == ["a/b", "17850"]
    assert body["missing"] == ["no"]
    assert batch(url, {"entities": []}).json() == {"answers": [], "missing": []}


def test_the_model(url: str) -> None:
    assert get(url, "/v1/models/segments").json()["generation"] == 1


# -- refusals -----------------------------------------------------------------------------------
def test_an_unknown_key_and_an_unknown_definition_are_told_apart(url: str) -> None:
    assert "'nobody'" in problem_of(get(url, "/v1/predictions/segments/nobody"), 404, "unknown-key")["detail"]
    for path in ("/v1/predictions/segment/17850", "/v1/models/segment"):
        assert "'segment'" in problem_of(get(url, path), 404, "unknown-definition")["detail"]


def test_as_of_is_not_available_yet(url: str) -> None:
    path = "/v1/predictions/segments/17850?as_of=2026-01-01T00:00:00Z"
    problem_of(get(url, path), 501, "not-available-yet")
    problem_of(batch(url, {"entities": ["a"], "as_of": "2026-01-01T00:00:00Z"}), 501, "not-available-yet")
    assert batch(url, {"entities": ["17850"], "as_of": None}).status_code == 200


@pytest.mark.parametrize("query", ["as_of=yesterday", "as_of=2026-01-01T00:00:00", "asof=2026-01-01T00:00:00Z"])
def test_a_wrong_parameter_is_named(url: str, query: str) -> None:
    body = problem_of(get(url, f"/v1/predictions/segments/17850?{query}"), 422, "invalid-request")
    assert body["errors"][0]["field"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "entities"),
        ([], "body"),
        (None, "body"),
        ({"entities": "17850"}, "entities"),
        ({"entities": ["a", 17850]}, "entities.1"),
        ({"entities": [None]}, "entities.0"),
        ({"entities": ["a"] * 101}, "entities"),
        ({"entities": ["a"], "entitys": []}, "entitys"),
        ({"entities": ["a"], "as_of": "soon"}, "as_of"),
    ],
)
def test_a_wrong_body_is_refused_by_field(url: str, body: Any, field: str) -> None:
    assert field in [e["field"] for e in problem_of(batch(url, body), 422, "invalid-request")["errors"]]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"entities": ["\\ud800"]}'])
def test_broken_json_is_refused(url: str, content: bytes) -> None:
    headers = {**AUTHORIZED, "Content-Type": "application/json"}
    response = requests.post(f"{url}/v1/predictions/segments:batch", data=content, headers=headers, timeout=10)
    problem_of(response, 422, "invalid-request")


def test_a_body_that_is_not_sent_as_json_is_told_so(url: str) -> None:
    body = '{"entities": ["17850"]}'
    headers = {**AUTHORIZED, "Content-Type": "application/x-www-form-urlencoded"}  # as `curl -d` sends it
    response = requests.post(f"{url}/v1/predictions/segments:batch", data=body, headers=headers, timeout=10)
    assert "Content-Type: application/json" in problem_of(response, 415, "not-json")["detail"]


def test_json_that_nests_too_deep_is_refused(url: str) -> None:
    headers = {**AUTHORIZED, "Content-Type": "application/json"}
    nested = b"[" * 50_000
    response = requests.post(f"{url}/v1/predictions/segments:batch", data=nested, headers=headers, timeout=10)
    problem_of(response, 400, "invalid-request")


def test_a_key_that_is_too_long_is_refused(url: str) -> None:
    assert "2048" in problem_of(get(url, "/v1/predictions/segments/" + "x" * 2048), 422, "invalid-request")["detail"]


def test_a_path_that_is_not_utf8_is_refused(url: str) -> None:
    problem_of(get(url, "/v1/predictions/segments/%FF"), 400, "bad-path")


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/v1", "/v1/predictions/segments", "/v1/models/segments/x"])
def test_no_such_route(url: str, path: str) -> None:
    problem_of(get(url, path), 404, "no-such-route")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/predictions/segments/17850", "GET"),
        ("GET", "/v1/predictions/segments:batch", "POST"),
        ("POST", "/v1/models/segments", "GET"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(url: str, method: str, path: str, allowed: str) -> None:
    response = requests.request(method, url + path, headers=AUTHORIZED, timeout=10)
    problem_of(response, 405, "method-not-allowed")
    assert response.headers["allow"] == allowed


# -- the token ----------------------------------------------------------------------------------
@pytest.mark.parametrize("rule", api.RULES, ids=lambda rule: f"{rule.method} {rule.path}")
@pytest.mark.parametrize("given", [None, "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer"])
def test_every_route_but_the_open_ones_needs_the_token(url: str, rule: api.Rule, given: str | None) -> None:
    path = rule.path.replace("{definition}", "segments").replace("{entity:key}", "17850")
    headers = {} if given is None else {"Authorization": given}
    response = requests.request(rule.method, url + path, headers=headers, json={"entities": ["17850"]}, timeout=10)
    if rule.access == "open":
        assert response.status_code == 200
    else:
        problem_of(response, 401, "unauthorized")
        assert response.headers["www-authenticate"].startswith('Bearer realm="headrace"')
    allowed = requests.request(rule.method, url + path, headers=AUTHORIZED, json={"entities": ["17850"]}, timeout=10)
    assert allowed.status_code == 200


def test_paths_that_do_not_exist_are_shut_too(url: str) -> None:
    for path in ("/nothing", "/healthz/", "//healthz", "/healthz/../metrics", "/HEALTHZ"):
        problem_of(requests.get(url + path, timeout=10), 401, "unauthorized")


# -- limits -------------------------------------------------------------------------------------
def test_a_large_body_is_refused_by_its_declared_length_alone(url: str) -> None:
    head = "POST /v1/predictions/segments:batch HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n"
    answer = raw(url, f"{head}Authorization: Bearer {TOKEN}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"application/problem+json" in answer


def test_a_large_chunked_body_is_refused_as_it_grows(url: str) -> None:
    head = "POST /v1/predictions/segments:batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    head += f"Content-Type: application/json\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    answer = raw(url, head.encode() + chunk * 17)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"urn:headrace:problem:body-too-large" in answer


def test_a_body_that_does_not_arrive_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "BODY_TIMEOUT_S", 0.3)
    head = "POST /v1/predictions/segments:batch HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n"
    started = time.monotonic()
    answer = raw(url, f'{head}Authorization: Bearer {TOKEN}\r\n\r\n{{"enti'.encode())
    assert answer.startswith(b"HTTP/1.1 408")
    assert time.monotonic() - started < 3


def test_an_unauthorized_body_is_not_read(url: str) -> None:
    head = "POST /v1/predictions/segments:batch HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
    assert raw(url, head.encode()).startswith(b"HTTP/1.1 401")


def raw(url: str, sent: bytes) -> bytes:
    """All the server says to these bytes until it hangs up."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(sent)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


# -- faults -------------------------------------------------------------------------------------
def test_a_store_that_is_down_is_503_with_retry_after_and_recovers(fragile: Fragile, fragile_url: str) -> None:
    fragile.error = StoreUnavailable("dynamodb at http://10.0.0.1:1 does not answer")
    time.sleep(1.05)  # what readiness last knew
    for path in ("/v1/predictions/segments/17850", "/v1/models/segments", "/readyz"):
        response = get(fragile_url, path)
        body = problem_of(response, 503, "store-unavailable")
        assert response.headers["retry-after"] == "1"
        assert "10.0.0.1" not in body["detail"]
    assert get(fragile_url, "/healthz").status_code == 200
    fragile.error = None
    assert get(fragile_url, "/v1/predictions/segments/17850").status_code == 200
    time.sleep(1.05)
    assert get(fragile_url, "/readyz").status_code == 200
    text = get(fragile_url, "/metrics").text
    assert 'headrace_store_errors_total{kind="StoreUnavailable"} 2.0' in text


@pytest.mark.parametrize("error", [StoreError("the table is not ours"), RuntimeError("secret detail")])
def test_what_was_not_foreseen_is_a_plain_500(
    fragile: Fragile, fragile_url: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    fragile.error = error
    with caplog.at_level(logging.ERROR):
        response = get(fragile_url, "/v1/predictions/segments/17850", **{"X-Request-Id": "find-me"})
        body = problem_of(response, 500, "internal")
    assert str(error) not in response.text
    assert body["request_id"] == "find-me"
    assert any("find-me" in record.getMessage() and record.exc_info for record in caplog.records)


def test_readiness_asks_the_store_at_most_once_a_second(fragile: Fragile, fragile_url: str) -> None:
    with ThreadPoolExecutor(16) as pool:
        ready = list(pool.map(lambda _: get(fragile_url, "/readyz").status_code, range(100)))
    assert ready == [200] * 100
    assert fragile.asked <= 3


def test_a_slow_store_does_not_stop_health_and_the_queue_is_bounded(
    fragile: Fragile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "LOOKUP_THREADS", 2)
    monkeypatch.setattr(api, "QUEUE", 4)
    app = create_app(load(["serve.champion_cache_s=0"], "local"), fragile, lambda: NOW, None)
    with serving(app) as url, ThreadPoolExecutor(30) as pool:
        assert get(url, "/readyz").status_code == 200
        fragile.gate.clear()
        asked = [pool.submit(get, url, "/v1/predictions/segments/17850") for _ in range(30)]
        try:
            while sum(f.done() for f in asked) < 20:
                time.sleep(0.01)
            started = time.monotonic()
            assert get(url, "/healthz").status_code == 200
            assert time.monotonic() - started < 1
        finally:
            fragile.gate.set()
        statuses = sorted(f.result().status_code for f in asked)
        assert statuses == [200] * 10 + [503] * 20
        overloaded = next(f.result() for f in asked if f.result().status_code == 503)
        problem_of(overloaded, 503, "overloaded")
        assert get(url, "/v1/predictions/segments/17850").status_code == 200


# -- observation --------------------------------------------------------------------------------
def test_a_sane_request_id_is_kept_and_another_is_replaced(url: str) -> None:
    assert get(url, "/healthz", **{"X-Request-Id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    for insane in ("a b", "x" * 65, '{"a":1}', ""):
        made = get(url, "/healthz", **{"X-Request-Id": insane}).headers["x-request-id"]
        assert made != insane
        assert len(made) == 32


def test_the_access_log_is_json_with_the_request_id_and_without_the_key(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="headrace.access"):
        get(url, "/v1/predictions/segments/17850", **{"X-Request-Id": "r-1"})
        requests.get(f"{url}/v1/predictions/segments/17850", headers={"X-Request-Id": "r-2"}, timeout=10)
        wait_for(lambda: len(caplog.records) >= 2)
    lines = {line["request_id"]: line for line in (json.loads(r.getMessage()) for r in caplog.records)}
    assert lines["r-1"]["route"] == "/v1/predictions/{definition}/{entity:key}"
    assert (lines["r-1"]["definition"], lines["r-1"]["status"], lines["r-1"]["method"]) == ("segments", 200, "GET")
    assert (lines["r-2"]["route"], lines["r-2"]["status"]) == ("none", 401)
    assert "17850" not in caplog.text
    assert TOKEN not in caplog.text


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_metrics_count_by_route_and_tell_the_champion(url: str) -> None:
    for entity in ("17850", "a b", "nobody"):
        get(url, f"/v1/predictions/segments/{entity}")
    requests.request("BREW", f"{url}/{'x' * 200}", headers=AUTHORIZED, timeout=10)
    response = get(url, "/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = response.text
    assert (
        'headrace_requests_total{method="GET",route="/v1/predictions/{definition}/{entity:key}",status="404"}' in text
    )
    assert 'headrace_requests_total{method="other",route="none",status="404"} 1.0' in text
    assert 'headrace_champion_generation{definition="segments"} 1.0' in text
    assert 'headrace_answer_age_seconds{definition="segments"} 3600.0' in text
    assert 'headrace_request_seconds_bucket{le="0.5",route="/v1/predictions/{definition}/{entity:key}"}' in text
    assert "nobody" not in text
    assert "xxx" not in text


def test_a_hundred_at_once_are_all_answered(url: str) -> None:
    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(lambda _: batch(url, {"entities": ENTITIES}).json(), range(100)))
    assert all(len(f["answers"]) == len(ENTITIES) for f in found)
