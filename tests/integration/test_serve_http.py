"""The HTTP API over real sockets: what it answers, and how it refuses what was asked wrongly."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
from published import NOW, learned, promote, publish, version
from served import AUTHORIZED, ENTITIES, TOKEN, batch, filled, get, problem_of, serving

from headrace.config import load
from headrace.definitions.finish import outputs_json
from headrace.serving.api import create_app
from headrace.stores.port import Version


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of a healthy store that requires the token."""
    app = create_app(load(["serve.require_token=true"], "local"), filled(), lambda: NOW, TOKEN)
    with serving(app) as address:
        yield address


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


def test_what_was_not_served_then_and_what_has_no_code_here(url: str) -> None:
    at = "2026-01-01T00:00:00Z"
    problem_of(get(url, f"/v1/predictions/segments/17850?as_of={at}"), 404, "no-answer")
    problem_of(batch(url, {"entities": ["a"], "as_of": at}), 404, "no-answer")
    problem_of(get(url, f"/v1/predictions/segment/17850?as_of={at}"), 501, "not-available")
    assert batch(url, {"entities": ["17850"], "as_of": None}).status_code == 200


def test_an_instant_that_has_not_come_is_refused(url: str) -> None:
    at = "2999-01-01T00:00:00Z"
    told = problem_of(get(url, f"/v1/predictions/segments/17850?as_of={at}"), 422, "invalid-request")["detail"]
    assert "has not come" in told
    assert at in told
    problem_of(batch(url, {"entities": ["a"], "as_of": at}), 422, "invalid-request")


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


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/v1", "/v1/predictions/segments", "/v1/models/segments/x"])
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


# -- scoring ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def scoring_url() -> Iterator[str]:
    store = filled()
    cities = {"oslo": {"temperature": 20, "wind": 3.0}, "bergen": {"temperature": 10, "wind": None}}
    versions = {city: Version(b"{}", outputs_json(features, {})) for city, features in cities.items()}
    publish(store, "rides", 1, versions, **learned())
    promote(store, "rides", 1)
    publish(store, "plain", 1, {"a": version(1, 1)})
    promote(store, "plain", 1)
    app = create_app(load(["serve.require_token=true"], "local"), store, lambda: NOW, TOKEN)
    with serving(app) as address:
        yield address


def predict(url: str, definition: str, body: Any) -> requests.Response:
    return requests.post(f"{url}/v1/models/{definition}:predict", json=body, headers=AUTHORIZED, timeout=10)


def test_records_are_scored(scoring_url: str) -> None:
    response = predict(scoring_url, "rides", {"records": [{"temperature": 20, "wind": 3}]})
    assert response.json() == {
        "definition": "rides",
        "predictions": [{"prediction": 175.0}],
        "quarantined": [],
        "generation": 1,
        "vector": [["", "file", 100]],
        "parameters_vector": [["", "file", 100]],
        "as_of": "2026-03-01T11:00:00Z",
        "age_s": 3600.0,
        "stale": False,
        "outside": [],
        "missing": [],
    }


def test_features_by_key_complete_what_a_record_leaves_out(scoring_url: str) -> None:
    told = predict(scoring_url, "rides", {"entities": ["oslo", "nobody", "oslo"]}).json()
    assert (told["predictions"], told["missing"]) == ([{"prediction": 175.0}, None, {"prediction": 175.0}], ["nobody"])
    records = [{"temperature": 10}, {"wind": 30}]
    told = predict(scoring_url, "rides", {"entities": ["oslo", "oslo"], "records": records}).json()
    explicit = predict(
        scoring_url, "rides", {"records": [{"temperature": 10, "wind": 3}, {"temperature": 20, "wind": 30}]}
    )
    assert told == explicit.json()
    assert told["outside"] == [{"record": 1, "field": "wind", "found": 30.0, "trained": [3.0, 7.0]}]


@pytest.mark.parametrize(
    ("definition", "body", "status", "words"),
    [
        ("rides", {}, 422, "needs records, entities or both"),
        ("rides", {"records": [{"wind": 1}] * 2, "entities": ["oslo"]}, 422, "2 records and 1 entities"),
        ("rides", {"entities": ["oslo"] * 101}, 422, "100"),
        ("rides", {"entities": ["bergen"]}, 422, "'wind'"),
        ("rides", {"entities": ["oslo"], "records": [{"wnd": 1}]}, 422, "'wnd'"),
        ("rides", {"records": [{"temperature": 20}]}, 422, "'wind'"),
        ("rides", {"records": [{"temperature": 20, "wind": 3}], "parameters": "best"}, 422, "live"),
        ("rides", {"records": [3]}, 422, "records"),
        ("rides", {"records": [{"wind": 1}] * 1001}, 422, "1000"),
        ("rides", {"record": []}, 422, "record"),
        ("plain", {"records": []}, 404, "has no learner"),
        ("nothing", {"records": []}, 404, "nothing is served"),
    ],
)
def test_what_cannot_be_scored_is_a_problem(
    scoring_url: str, definition: str, body: Any, status: int, words: str
) -> None:
    response = predict(scoring_url, definition, body)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert words in response.text
