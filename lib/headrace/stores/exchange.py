"""HTTP/1.1 POSTs to one address over connections that are kept, for one event loop.

A general client (aiohttp was measured) takes more of a look-up's processor time than everything else together, for
redirects, cookies, encodings and hooks that a store has not. This one writes a request and hands what comes back to
httptools' parser, the one that reads the server's own requests; docs/benchmarks.md has the figures.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import cast

import httptools

from headrace.stores.connection import Again

Answer = tuple[int, bytes]


class HungUp(Again):
    """The other side closed the connection instead of answering."""


class Exchange:
    """Requests to one host; most: connections at once, what is beyond waits. idle_s: how long one is kept unused.

    A question that is given up, or cancelled, closes its connection, so that no answer can be taken for another's.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, *, most: int, idle_s: float) -> None:
        self._address = (host, port)
        self._tls = tls
        self._idle_s = idle_s
        self._idle: deque[_Connection] = deque()  # the one used last is the last
        self._free = asyncio.Semaphore(most)
        self._all: set[_Connection] = set()

    async def ask(self, request: bytes, within_s: float) -> Answer:
        """Status and body of the answer. Raises HungUp, Again."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        if self._free.locked():
            try:
                async with asyncio.timeout_at(until):
                    await self._free.acquire()
            except TimeoutError:
                raise Again(f"no connection was free in {within_s:.2g} s") from None
        else:
            await self._free.acquire()
        try:
            return await self._answered(request, until, within_s)
        finally:
            self._free.release()

    async def _answered(self, request: bytes, until: float, within_s: float) -> Answer:
        connection = self._kept()
        if connection is None:
            try:
                async with asyncio.timeout_at(until):
                    connection = await self._connected()
            except TimeoutError:
                raise Again(f"no connection in {within_s:.2g} s") from None
        late = connection.loop.call_at(until, connection.give_up, within_s)
        try:
            answer = await connection.ask(request)
        except BaseException:
            connection.close()
            raise
        finally:
            late.cancel()
        if connection.reusable:
            connection.idle_since = connection.loop.time()
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        for connection in list(self._all):
            connection.close()

    def _kept(self) -> _Connection | None:
        """The connection used last, if it is still there; those that were unused for too long are closed."""
        while self._idle and self._idle[0].idle_since < self._idle[0].loop.time() - self._idle_s:
            self._idle.popleft().close()
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    async def _connected(self) -> _Connection:
        loop = asyncio.get_running_loop()
        host, port = self._address
        try:
            _, made = await loop.create_connection(lambda: _Connection(loop, self._all), host, port, ssl=self._tls)
        except OSError as error:
            raise Again(f"no connection ({error.strerror or error.__class__.__name__})", refused=True) from error
        return made


class _Connection(asyncio.Protocol):
    """One connection: one question at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, held: set[_Connection]) -> None:
        self.loop = loop
        self.idle_since = 0.0
        self.closed = False
        self.reusable = True
        self._held = held
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._body: list[bytes] = []

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        self._waiting = self.loop.create_future()
        if self._transport is None or self.closed:
            self._waiting.set_exception(HungUp("the connection was closed"))
        else:
            self._transport.write(request)
        return self._waiting

    def give_up(self, within_s: float) -> None:
        self._fail(Again(f"no answer in {within_s:.2g} s"))

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio ------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._held.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(Again(f"an answer that is no HTTP ({error.__class__.__name__})"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._held.discard(self)
        self._fail(HungUp(f"the connection was closed ({exc})" if exc else "the connection was closed"))

    # -- the parser ---------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        self._body = []

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # what is meant comes after it
            return
        self.reusable = self._parser.should_keep_alive() and self._waiting is not None
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result((status, b"".join(self._body)))

    def _fail(self, error: Again) -> None:
        self.reusable = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)
