"""Every route of the server, and what a token must allow for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fastapi import FastAPI
from starlette.routing import compile_path

Scope = Literal["open", "read", "predict", "console", "metrics"]


@dataclass(frozen=True)
class Rule:
    """Who may call a route. `open`: everybody."""

    method: str
    path: str
    scope: Scope


# A route that is not here makes `create_app` fail.
RULES = (
    Rule("GET", "/v1/predictions/{definition}/{entity:key}", "read"),
    Rule("POST", "/v1/predictions/{definition}:batch", "read"),
    Rule("GET", "/v1/models/{definition}", "read"),
    Rule("POST", "/v1/models/{definition}:predict", "predict"),
    Rule("GET", "/v1/definitions", "console"),
    Rule("GET", "/v1/definitions/{definition}", "console"),
    Rule("GET", "/v1/definitions/{definition}/reports", "console"),
    Rule("GET", "/v1/explanations/{definition}/{entity:key}", "console"),
    Rule("GET", "/openapi.json", "read"),
    Rule("GET", "/metrics", "metrics"),
    Rule("GET", "/healthz", "open"),
    Rule("GET", "/readyz", "open"),
    # The page and what it is made of hold no data: that comes from the routes above, with the token.
    Rule("GET", "/", "open"),
    Rule("GET", "/console/console.css", "open"),
    Rule("GET", "/console/console.js", "open"),
    Rule("GET", "/console/charts.js", "open"),
    Rule("GET", "/console/icon.svg", "open"),
)


class Wanted:
    """What a request needs, before it is routed.

    >>> wanted = Wanted()
    >>> [wanted.scope("GET", path) for path in ("/v1/predictions/segments/a/b", "/healthz", "/nothing")]
    ['read', 'open', None]
    """

    def __init__(self) -> None:
        self._open = open_paths()
        self._rules = [(rule, compile_path(rule.path)[0]) for rule in RULES if rule.scope != "open"]

    def scope(self, method: str, path: str) -> Scope | None:
        """The scope of the route that will answer; None where none will, which any token may be told."""
        if path in self._open:
            return "open"
        for rule, pattern in self._rules:
            if rule.method == method and pattern.match(path):
                return rule.scope
        return None


def open_paths() -> frozenset[str]:
    """The exact paths that need no token."""
    return frozenset(rule.path for rule in RULES if rule.scope == "open")


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    """(method, path template) of every route the app answers."""
    return {(method, route.path) for route in app.routes for method in getattr(route, "methods", None) or {"*"}}  # type: ignore[attr-defined]


def check_rules(app: FastAPI) -> None:
    """AssertionError for a route without a rule, a rule without a route, or an open route that takes a parameter."""
    declared = {(rule.method, rule.path) for rule in RULES}
    if routes_of(app) != declared:
        raise AssertionError(f"routes and their rules differ: {sorted(routes_of(app) ^ declared)}")
    if any("{" in path for path in open_paths()):
        raise AssertionError("an open route must be one exact path")
