"""The OpenAPI description: what FastAPI derives, plus the problems and the token it does not know of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from headrace.serving.problems import MEDIA_TYPE, Problem
from headrace.serving.rules import Scope

_SCHEME = "token"
# What any route of `/v1` may answer beside its 200.
_PROBLEMS = {
    "400": "The path is not percent-encoded UTF-8",
    "404": "No such definition or key",
    "413": "The body is too large",
    "415": "The body is not sent as JSON",
    "422": "The request is not as declared",
    "501": "Not available",
    "503": "The store does not answer; Retry-After says when to try again",
}


def describe_api(app: FastAPI, routes: Sequence[BaseRoute], scopes: Mapping[tuple[str, str], Scope]) -> None:
    """Make `app.openapi()` tell of these routes, with the problems of each and the scope that a token needs for it.

    scopes: of each (method, path template).
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = get_openapi(title=app.title, version=app.version, routes=routes)
            components = described.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            for derived in ("HTTPValidationError", "ValidationError"):
                schemas.pop(derived, None)
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= problem.pop("$defs")
            schemas["Problem"] = problem
            components["securitySchemes"] = {_SCHEME: {"type": "http", "scheme": "bearer"}}
            for path, operations in described["paths"].items():
                for method, operation in operations.items():
                    scope = scopes[method.upper(), path.replace("{entity}", "{entity:key}")]
                    _complete(operation, path, scope)
            app.openapi_schema = described
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(operation: dict[str, Any], path: str, scope: Scope) -> None:
    answers: dict[str, str] = {}
    if path.startswith("/v1/"):
        answers |= _PROBLEMS
    elif path == "/readyz":
        answers["503"] = _PROBLEMS["503"]
    if scope != "open":
        operation["security"] = [{_SCHEME: [scope]}]
        answers["401"] = "The token is missing or wrong"
        answers["403"] = f"The token does not allow this: it lacks the scope {scope}"
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    operation["responses"].pop("422", None)
    operation["responses"] |= {status: {"description": text, "content": content} for status, text in answers.items()}
