"""What every request passes before a route sees it: identity, token, a readable path, a body that arrives in time.

Two plain ASGI layers, so that nothing is buffered and nothing is routed for a caller without the token.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import unquote_to_bytes

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.serving.problems import HANG_UP, problem
from headrace.serving.rules import Wanted
from headrace.serving.tokens import Tokens

log = logging.getLogger(__name__)
access_log = logging.getLogger("headrace.access")

BODY_TIMEOUT_S = 10.0
NO_ROUTE = "none"  # the route label of what was refused before a route was found
_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_ON_EVERY_ANSWER = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


class Observation:
    """The outermost layer: a request id, one access-log line, the metrics, and a plain 500 for what was not foreseen.

    `answered(method, route, status, seconds)` is told of every request. The log names the route's template, not
    the entity: keys may be personal data.
    """

    def __init__(self, app: ASGIApp, answered: Callable[[str, str, str, float], None]) -> None:
        self._app = app
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["headrace.request_id"] = _request_id(scope)
        started = time.perf_counter()
        status: int | None = None

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(b"x-request-id", request_id.encode("ascii")), *_ON_EVERY_ANSWER]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except Exception:
            log.exception("request %s failed", request_id)
            if status is not None:
                raise
            detail = "an unforeseen error; the server's log has it under the request id"
            await problem(500, "internal", detail, request_id=request_id)(scope, receive, observed)
        finally:
            self._record(scope, request_id, status, time.perf_counter() - started)

    def _record(self, scope: Scope, request_id: str, status: int | None, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", NO_ROUTE)
        shown = "none" if status is None else str(status)
        self._answered(scope["method"], route, shown, seconds)
        if access_log.isEnabledFor(logging.INFO):
            client = scope.get("client")
            now = datetime.now(UTC).isoformat(timespec="milliseconds")[:23]
            address = json.dumps(client[0] if client else None)
            definition = json.dumps(scope.get("path_params", {}).get("definition"))
            token = json.dumps(scope.get("headrace.token"))
            access_log.info(
                f'{{"time": "{now}Z", "request_id": "{request_id}", "client": {address}, "token": {token}, '
                f'"method": {json.dumps(scope["method"])}, "route": "{route}", "definition": {definition}, '
                f'"status": {"null" if status is None else status}, "ms": {seconds * 1000:.2f}}}'
            )


class Admission:
    """The inner layer: a token that allows the route where one is required, and bounds on what is read from a caller.

    Everything but the open routes needs a token, also paths that no route has: what is not declared is shut.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens | None, max_body_bytes: int) -> None:
        self._app = app
        self._tokens = tokens
        self._wanted = Wanted()
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = self._refused(scope)
        if refused is not None:
            await refused(scope, receive, send)
        else:
            await self._app(scope, _bounded(receive, self._max_body_bytes, BODY_TIMEOUT_S), send)

    def _refused(self, scope: Scope) -> Response | None:
        """The refusal of a request that no route should see, from its head alone."""
        headers = [(name, value) for name, value in scope["headers"] if name in (b"authorization", b"content-length")]
        request_id = scope.get("headrace.request_id")
        if self._tokens is not None:
            shut = self._shut(self._tokens, scope, [value for name, value in headers if name == b"authorization"])
            if shut is not None:
                return shut
        if any(name == b"content-length" and int(value) > self._max_body_bytes for name, value in headers):
            error = _too_large(self._max_body_bytes)
            return problem(413, "body-too-large", error.detail, request_id=request_id, headers=HANG_UP)
        try:
            unquote_to_bytes(scope.get("raw_path", b"")).decode()
        except UnicodeDecodeError:
            return problem(400, "bad-path", "the path is not percent-encoded UTF-8", request_id=request_id)
        return None

    def _shut(self, tokens: Tokens, scope: Scope, given: list[bytes]) -> Response | None:
        """The refusal of a caller whose token does not allow this; who it is goes to the access log."""
        wanted = self._wanted.scope(scope["method"], scope["path"])
        if wanted == "open":
            return None
        request_id = scope.get("headrace.request_id")
        grant = tokens.grant(given)
        if grant is None:
            challenge = 'Bearer realm="headrace"' + (', error="invalid_token"' if given else "")
            detail = "this needs the header Authorization: Bearer <token>"
            headers = {"WWW-Authenticate": challenge, **HANG_UP}
            return problem(401, "unauthorized", detail, request_id=request_id, headers=headers)
        scope["headrace.token"] = grant.name
        if wanted is None or wanted in grant.scopes:
            return None
        challenge = f'Bearer realm="headrace", error="insufficient_scope", scope="{wanted}"'
        return problem(
            403,
            "forbidden",
            f"the token {grant.name!r} does not allow this; it needs the scope {wanted!r}",
            request_id=request_id,
            headers={"WWW-Authenticate": challenge, **HANG_UP},
        )


def _bounded(receive: Receive, max_bytes: int, seconds: float) -> Receive:
    """The same body; one that grows past `max_bytes` is refused with 413, one that is not there in time with 408."""
    deadline = time.monotonic() + seconds
    size = 0
    complete = False

    async def bounded() -> Message:
        nonlocal size, complete
        if complete:
            return await receive()
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"the body did not arrive within {seconds:g} s") from None
        size += len(message.get("body", b""))
        if size > max_bytes:
            raise _too_large(max_bytes)
        complete = not message.get("more_body", False)
        return message

    return bounded


def _too_large(max_bytes: int) -> HTTPException:
    return HTTPException(413, f"the body is larger than {max_bytes} bytes")


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_REQUEST_ID.fullmatch(value):
            sane: str = value.decode("ascii")
            return sane
    return f"{random.getrandbits(128):032x}"
