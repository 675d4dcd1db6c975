"""The console's routes over real sockets: what they answer, and what the page may do."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import requests
from overseen import overseen
from published import NOW
from served import TOKEN, Fragile, get, problem_of, serving

from headrace.config import load
from headrace.errors import StoreUnavailable
from headrace.serving.api import create_app

PAGE = ("/", "/console/console.css", "/console/console.js", "/console/charts.js", "/console/icon.svg")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = create_app(load(["serve.require_token=true"], "local"), overseen(), lambda: NOW, TOKEN)
    with serving(app) as address:
        yield address


def test_every_definition_is_listed(url: str) -> None:
    told = get(url, "/v1/definitions").json()
    assert [(one["definition"], one["generation"]) for one in told["definitions"]] == [
        ("plain", 1),
        ("rides", None),
        ("segments", 3),
    ]
    assert told["server"]["now"] == "2026-03-01T12:00:00Z"


def test_a_definition_and_what_this_server_answered_of_it(url: str) -> None:
    before = get(url, "/v1/definitions/segments").json()["observed"]["answers"]
    get(url, "/v1/predictions/segments/17850")
    get(url, "/v1/predictions/segments/13047")
    body = {"entities": ["17850", "13047", "nobody"]}
    requests.post(
        f"{url}/v1/predictions/segments:batch", json=body, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10
    )
    told = get(url, "/v1/definitions/segments").json()
    answers = told["observed"]["answers"]
    assert {name: answers[name] - before[name] for name in answers} == {"batch": 2, "speed": 2, "missing": 1}
    assert [row["alias"] for row in told["rows"]] == [None, "champion", "skipped", "former"]
    assert get(url, "/v1/definitions/rides").json()["generation"] is None


def test_reports_newest_first(url: str) -> None:
    told = get(url, "/v1/definitions/segments/reports").json()["reports"]
    assert [(one["kind"], one["ok"], one["generation"]) for one in told] == [("verify", True, 3), ("run", None, 3)]
    assert get(url, "/v1/definitions/plain/reports").json() == {"reports": []}


def test_an_explanation_has_the_answer_that_is_served(url: str) -> None:
    told = get(url, "/v1/explanations/segments/17850").json()
    assert told["answer"] == get(url, "/v1/predictions/segments/17850").json()
    assert [one["taken"] for one in told["candidates"]] == [True, False, False, False, False]
    unknown = get(url, "/v1/explanations/segments/a/b").json()
    assert (unknown["entity"], unknown["answer"], unknown["candidates"]) == ("a/b", None, [])


@pytest.mark.parametrize("path", ["/v1/definitions/nothing", "/v1/definitions/nothing/reports"])
def test_what_was_never_published_is_unknown(url: str, path: str) -> None:
    problem_of(get(url, path), 404, "unknown-definition")


def test_what_is_not_promoted_cannot_be_explained(url: str) -> None:
    problem_of(get(url, "/v1/explanations/rides/a"), 404, "unknown-definition")
    problem_of(get(url, "/v1/explanations/segments/" + "x" * 2048), 422, "invalid-request")


def test_parameters_that_there_are_not_are_refused(url: str) -> None:
    problem_of(get(url, "/v1/definitions?verbose=1"), 422, "invalid-request")


@pytest.mark.parametrize("path", PAGE)
def test_the_page_needs_no_token_and_may_do_nothing_else(url: str, path: str) -> None:
    response = requests.get(url + path, timeout=10)
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


def test_the_page_names_no_other_place_and_nothing_inline(url: str) -> None:
    texts = {path: requests.get(url + path, timeout=10).text for path in PAGE}
    for path, text in texts.items():
        assert re.findall(r"(?:https?:)?//(?!www\.w3\.org)[\w.-]+\.\w+", text) == [], path
    assert re.findall(r"\son\w+=|style=|<script>|<style|javascript:", texts["/"]) == []
    assert "innerHTML" not in texts["/console/console.js"]


def test_a_store_that_is_down_is_503() -> None:
    fragile = Fragile(overseen())
    app = create_app(load([], "local"), fragile, lambda: NOW, None)
    with serving(app) as address:
        fragile.error = StoreUnavailable("down")
        for path in ("/v1/definitions", "/v1/definitions/segments", "/v1/explanations/segments/a"):
            problem_of(get(address, path), 503, "store-unavailable")
        fragile.error = None
        assert len(get(address, "/v1/definitions").json()["definitions"]) == 3


def test_the_series_grows_while_nobody_asks() -> None:
    app = create_app(load(["serve.watch_s=0.05"], "local"), overseen(), lambda: NOW, None)
    with serving(app) as address:
        for _ in range(100):
            points = get(address, "/v1/definitions/segments").json()["observed"]["points"]
            if len(points) > 1:
                break
        assert points[0]["age_s"] == 2.0
