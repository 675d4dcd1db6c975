"""Every route declares its access, and the app has no other."""

from __future__ import annotations

import pytest
from published import NOW

from headrace.config import load
from headrace.errors import ConfigError
from headrace.serving import api, rules
from headrace.serving.api import create_app
from headrace.serving.rules import RULES, routes_of
from headrace.stores.memory import MemoryStore


def app_for(*assignments: str, token: str | None = "t") -> api.FastAPI:
    return create_app(load(assignments, "local"), MemoryStore(), lambda: NOW, token)


def test_every_route_has_a_rule_and_every_rule_a_route() -> None:
    assert routes_of(app_for()) == {(rule.method, rule.path) for rule in RULES}


def test_only_health_and_the_page_without_its_data_are_open() -> None:
    page = {"/", "/console/console.css", "/console/console.js", "/console/charts.js", "/console/icon.svg"}
    assert {rule.path for rule in RULES if rule.scope == "open"} == {"/healthz", "/readyz", *page}


def test_a_route_without_a_rule_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "RULES", RULES[1:])
    with pytest.raises(AssertionError, match="entity:key"):
        app_for()


def test_a_required_token_that_is_missing_stops_the_start() -> None:
    with pytest.raises(ConfigError, match="'MY_TOKEN'"):
        app_for("serve.require_token=true", "serve.token_secret=MY_TOKEN", token=None)


def test_no_operation_takes_a_path_or_a_url() -> None:
    described = app_for().openapi()
    names = {
        parameter["name"]
        for operations in described["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", [])
    }
    assert names == {"definition", "entity", "as_of"}
    assert set(described["components"]["schemas"]["BatchRequest"]["properties"]) == {"entities", "as_of"}
    asked = described["components"]["schemas"]["PredictRequest"]["properties"]
    assert set(asked) == {"records", "entities", "parameters"}


def test_the_description_names_the_token_and_the_problems() -> None:
    described = app_for().openapi()
    guarded = described["paths"]["/v1/predictions/{definition}/{entity}"]["get"]
    assert guarded["security"] == [{"token": ["read"]}]
    assert list(guarded["responses"]["404"]["content"]) == ["application/problem+json"]
    assert "security" not in described["paths"]["/healthz"]["get"]
    assert "HTTPValidationError" not in described["components"]["schemas"]
