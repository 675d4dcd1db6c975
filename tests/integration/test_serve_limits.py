"""The HTTP API over real sockets: the token, the limits, a failing store, and what is observed."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests
from published import NOW
from served import AUTHORIZED, ENTITIES, TOKEN, Fragile, batch, filled, get, problem_of, serving

from headrace.config import load
from headrace.errors import StoreError, StoreUnavailable
from headrace.serving import admission, api
from headrace.serving.api import create_app
from headrace.serving.rules import RULES, Rule


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


# -- the token ----------------------------------------------------------------------------------
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.method} {rule.path}")
@pytest.mark.parametrize("given", [None, "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer"])
def test_every_route_but_the_open_ones_needs_the_token(url: str, rule: Rule, given: str | None) -> None:
    path = rule.path.replace("{definition}", "segments").replace("{entity:key}", "17850")
    body: dict[str, list[str]] = {"records": []} if path.endswith(":predict") else {"entities": ["17850"]}
    headers = {} if given is None else {"Authorization": given}
    response = requests.request(rule.method, url + path, headers=headers, json=body, timeout=10)
    if rule.scope == "open":
        assert response.status_code == 200
    else:
        problem_of(response, 401, "unauthorized")
        assert response.headers["www-authenticate"].startswith('Bearer realm="headrace"')
    allowed = requests.request(rule.method, url + path, headers=AUTHORIZED, json=body, timeout=10)
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
    monkeypatch.setattr(api, "MOST_INSIDE", 10)
    settings = load(["serve.champion_cache_s=0", "serve.store_timeout_s=10"], "local")
    app = create_app(settings, fragile, lambda: NOW, None)
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


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_metrics_count_by_route_and_tell_the_champion(url: str) -> None:
    for entity in ("17850", "a b", "nobody"):
        get(url, f"/v1/predictions/segments/{entity}")
    requests.request("PROPFIND", f"{url}/{'x' * 200}", headers=AUTHORIZED, timeout=10)
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
