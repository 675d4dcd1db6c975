"""Errors over HTTP: problem+json as RFC 9457 has it, and never a stack trace."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from headrace.errors import AnswerIsNo, HeadraceError, InputError, TransientError
from headrace.serving.lookup import NoLearner, UnknownDefinition, UnknownKey

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
# For a refusal before the body was read: what follows on the connection is not a request.
HANG_UP = {"Connection": "close"}


class FieldError(BaseModel):
    """One field of a request that was not as declared."""

    field: str = Field(examples=["entities.3"])
    message: str = Field(examples=["Input should be a valid string"])


class Problem(BaseModel):
    """What went wrong; `type` is stable and meant for programs, `detail` is for people."""

    type: str = Field(examples=["urn:headrace:problem:unknown-key"])
    title: str
    status: int
    detail: str
    request_id: str | None = None
    errors: list[FieldError] | None = None


class Refusal(Exception):
    """An HTTP error that one of our own checks raised."""

    def __init__(self, status: int, slug: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.slug, self.detail, self.headers = status, slug, detail, headers


def problem(
    status: int,
    slug: str,
    detail: str,
    *,
    request_id: str | None = None,
    headers: dict[str, str] | None = None,
    errors: list[dict[str, str]] | None = None,
) -> Response:
    """A problem+json response.

    >>> problem(404, "unknown-key", "no such key").body
    b'{"type":"urn:headrace:problem:unknown-key","title":"Not Found","status":404,"detail":"no such key"}'
    """
    body: dict[str, Any] = {
        "type": f"urn:headrace:problem:{slug}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if request_id is not None:
        body["request_id"] = request_id
    if errors is not None:
        body["errors"] = errors
    content = json.dumps(body, separators=(",", ":")).encode()
    return Response(content, status, headers=headers, media_type=MEDIA_TYPE)


def unavailable() -> Refusal:
    """The store does not answer; details are in the log, not in the answer."""
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return Refusal(503, "store-unavailable", "the serving store does not answer; try again", headers)


def install(app: FastAPI) -> None:
    """Give every error that can leave a route its problem."""
    app.exception_handler(Refusal)(_refusal)
    app.exception_handler(HeadraceError)(_headrace_error)
    app.exception_handler(RequestValidationError)(_validation_error)
    app.exception_handler(HTTPException)(_http_error)


def request_id_of(request: Request) -> str | None:
    found: str | None = request.scope.get("headrace.request_id")
    return found


async def response_to(request: Request, error: HeadraceError | Refusal) -> Response:
    """The problem that an error of ours is; one that was not foreseen is raised again."""
    return await (_refusal(request, error) if isinstance(error, Refusal) else _headrace_error(request, error))


async def _refusal(request: Request, error: Refusal) -> Response:
    return problem(error.status, error.slug, error.detail, request_id=request_id_of(request), headers=error.headers)


async def _headrace_error(request: Request, error: HeadraceError) -> Response:
    if isinstance(error, UnknownKey):
        refusal = Refusal(404, "unknown-key", str(error))
    elif isinstance(error, NoLearner):
        refusal = Refusal(404, "no-learner", str(error))
    elif isinstance(error, UnknownDefinition):
        refusal = Refusal(404, "unknown-definition", str(error))
    elif isinstance(error, AnswerIsNo):
        refusal = Refusal(404, "no-answer", str(error))
    elif isinstance(error, InputError):
        refusal = Refusal(422, "invalid-request", str(error))
    elif isinstance(error, TransientError):
        log.warning("request %s: %s", request_id_of(request), error)
        refusal = unavailable()
    else:
        raise error
    return await _refusal(request, refusal)


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    kind = request.headers.get("content-type", "")
    if request.method == "POST" and "json" not in kind:
        detail = f"the body must be JSON; found Content-Type {kind or 'none'!r}; send Content-Type: application/json"
        return problem(415, "not-json", detail, request_id=request_id_of(request))
    errors = []
    for found in error.errors():
        # A JSON error's location is an offset, not a field.
        path = found["loc"][:1] if found["type"] == "json_invalid" else found["loc"][1:] or found["loc"]
        errors.append({"field": ".".join(str(part) for part in path), "message": str(found["msg"])})
    fields = ", ".join(sorted({e["field"] for e in errors}))
    return problem(
        422,
        "invalid-request",
        f"the request is not as declared: {fields}",
        request_id=request_id_of(request),
        errors=errors,
    )


_SLUGS = {
    400: "invalid-request",
    404: "no-such-route",
    405: "method-not-allowed",
    408: "too-slow",
    413: "body-too-large",
}


async def _http_error(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    if error.status_code in (408, 413):
        headers |= HANG_UP
    return problem(
        error.status_code,
        _SLUGS.get(error.status_code, "refused"),
        str(error.detail),
        request_id=request_id_of(request),
        headers=headers,
    )
