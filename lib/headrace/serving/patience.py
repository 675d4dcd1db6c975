"""How long and how much a connection may keep the server waiting: uvicorn's protocol with bounds on the head.

uvicorn bounds how long an answered connection may idle. It does not bound how long a request's head may take to
arrive, how large it may grow, or how long a client may take to read; without those a few thousand slow clients hold
all that a process has.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 10.0  # from the connection, or from the first byte of a request, to the end of its head
HEAD_BYTES = 65_536
READING_S = 10.0  # how long a client may leave an answer unread


class PatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 on one connection; one that is too slow or too talkative is hung up on."""

    _waiting: asyncio.TimerHandle | None = None  # for a head
    _unread: asyncio.TimerHandle | None = None  # for the client to read
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._waiting = self.loop.call_later(HEAD_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._waiting = self._cancelled(self._waiting)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            return  # a head has arrived, and what comes is its body, bounded elsewhere
        if self._head_bytes > HEAD_BYTES:
            self.transport.close()
        elif self._head_bytes and self._waiting is None and not self.transport.is_closing():
            self._waiting = self.loop.call_later(HEAD_S, self.transport.close)

    def on_headers_complete(self) -> None:
        self._waiting = self._cancelled(self._waiting)
        self._head_bytes = 0
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        self._head_bytes = 0
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._arm()  # closing waits until what was written is read

    def pause_writing(self) -> None:
        super().pause_writing()
        self._arm()

    def resume_writing(self) -> None:
        self._disarm()
        super().resume_writing()

    def _arm(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(READING_S, self.transport.abort)

    def _disarm(self) -> None:
        self._unread = self._cancelled(self._unread)

    @staticmethod
    def _cancelled(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
