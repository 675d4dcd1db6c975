"""DynamoDB asked from one event loop: pooled connections, a deadline, bounded retries with jitter.

botocore finds credentials, `signing` signs, `exchange` carries. A service client of botocore's would cost several
times what answering a look-up does.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import botocore.session
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path

from headrace.errors import StoreUnavailable
from headrace.stores.connection import LOOPBACK, Again, Refusal, credentials, public_endpoint, refused
from headrace.stores.exchange import Answer, Exchange, HungUp
from headrace.stores.signing import Signer

CONNECTIONS = 64  # calls at once; what is beyond waits for one of them
IDLE_S = 20.0  # DynamoDB hangs up on connections that are idle for longer than a few minutes, proxies sooner
# A pause is drawn evenly between nothing and this, doubled at each attempt. Source: AWS architecture blog,
# "Exponential backoff and jitter": full jitter.
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5
KEYS_AGE_S = 1.0  # how long credentials are used before botocore is asked whether they still stand
_EXPIRED = frozenset({"ExpiredTokenException", "ExpiredToken"})
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
T = TypeVar("T")


class Asking:
    """Where DynamoDB is and who asks; for one event loop."""

    def __init__(self, region: str, endpoint: str | None, *, attempt_s: float = 2.0) -> None:
        session = botocore.session.get_session()
        url = (endpoint or public_endpoint(session, region)).rstrip("/") + "/"
        parts = urlsplit(url)
        self.url = url
        self._attempt_s = attempt_s
        self._secure = parts.scheme == "https"
        usual = 443 if self._secure else 80
        self._address = (parts.hostname or "", parts.port or usual)
        name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        host = name if self._address[1] == usual else f"{name}:{parts.port}"
        self._signer = Signer(host, region)
        self._start = f"POST / HTTP/1.1\r\nHost: {host}\r\n"
        self._credentials = credentials(session, local=parts.hostname in LOOPBACK)
        self._exchange: Exchange | None = None
        self._keys: ReadOnlyCredentials | None = None
        self._keys_at = 0.0
        self._second, self._instant = 0, datetime.fromtimestamp(0, UTC)
        self._renewing: asyncio.Task[ReadOnlyCredentials] | None = None

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        if self._exchange is not None:
            self._exchange.close()

    async def call(self, operation: str, request: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        """One call, repeated while it is throttled or unanswered, until `deadline` on the monotonic clock."""
        return await self.repeating(lambda: self.once(operation, request, deadline), deadline)

    async def repeating(self, attempt: Callable[[], Awaitable[T]], deadline: float) -> T:
        """The attempt's result once it no longer raises Again; StoreUnavailable when the deadline is passed."""
        pauses = 0
        while True:
            try:
                return await attempt()
            except Again as error:
                # A connection that was kept idle may have been closed meanwhile: the first time that says nothing.
                longest = 0.0 if not pauses and isinstance(error, HungUp) else FIRST_PAUSE_S * 2**pauses
                wait_s = random.uniform(0, min(longest, LONGEST_PAUSE_S))  # noqa: S311 - no secret
                pauses += 1
                if time.monotonic() + wait_s >= deadline:
                    late = f"the store at {self.url} did not answer in time"
                    raise StoreUnavailable(late, found=str(error)) from error
            await asyncio.sleep(wait_s)

    async def once(self, operation: str, request: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        """One attempt: the answer, or Again, or Refusal."""
        body = _encode(request).encode("ascii")
        keys = await self._current_keys()
        headers = self._signer.headers(keys, operation, body, self._now())
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise Again("the time is up")
        status, data = await self._exchanged(headers, body, min(left_s, self._attempt_s))
        if status == 200:
            try:
                return dict(json.loads(data))
            except ValueError as error:
                raise Again("an answer that is no JSON") from error
        refusal = refused(status, data)
        if isinstance(refusal, Refusal) and refusal.code in _EXPIRED:
            self._keys = None
            raise Again(str(refusal))
        raise refusal

    def _now(self) -> datetime:
        """The current second, which is as exact as signatures are."""
        second = int(time.time())
        if second != self._second:
            self._second, self._instant = second, datetime.fromtimestamp(second, UTC)
        return self._instant

    async def _exchanged(self, headers: Mapping[str, str], body: bytes, within_s: float) -> Answer:
        if self._exchange is None:
            tls = ssl.create_default_context(cafile=get_cert_path(True)) if self._secure else None  # noqa: FBT003
            self._exchange = Exchange(*self._address, tls, most=CONNECTIONS, idle_s=IDLE_S)
        told = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        request = f"{self._start}{told}Content-Length: {len(body)}\r\n\r\n".encode("ascii") + body
        return await self._exchange.ask(request, within_s)

    async def _current_keys(self) -> ReadOnlyCredentials:
        """The credentials; botocore may fetch new ones over the network, so it is asked in a thread, by one for all."""
        keys = self._keys
        if keys is not None and time.monotonic() - self._keys_at < KEYS_AGE_S:
            return keys
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())
            self._renewing.add_done_callback(_seen)
        if keys is not None:
            return keys
        try:
            return await asyncio.shield(self._renewing)
        except BotoCoreError as error:
            raise Again(f"no credentials ({error})") from error

    async def _renew(self) -> ReadOnlyCredentials:
        keys = await asyncio.to_thread(self._credentials.get_frozen_credentials)
        self._keys, self._keys_at = keys, time.monotonic()
        return keys


def _seen(task: asyncio.Task[ReadOnlyCredentials]) -> None:
    """What a renewal that nobody waited for failed with is told to whoever next needs it."""
    if not task.cancelled():
        task.exception()
