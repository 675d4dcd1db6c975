"""One request and the first bytes of its answer, over a plain socket."""

from __future__ import annotations

import socket

from headrace.local.launch import LOOPBACK


def ask(port: int, request: bytes, count: int, timeout_s: float) -> bytes:
    """The first `count` bytes of the answer to `request`; fewer when nobody answers in time."""
    answer = b""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout_s) as connection:
            connection.sendall(request)
            while len(answer) < count:
                received = connection.recv(count - len(answer))
                if not received:
                    break
                answer += received
    except OSError:
        return b""
    return answer
