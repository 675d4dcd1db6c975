"""Clients that are many, slow, silent or large take nothing from the others, and leave nothing behind."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psutil
import pytest
from commanded import wait_until
from published import NOW
from served import batch, filled, get, serving

from headrace.config import load
from headrace.serving import patience
from headrace.serving.api import create_app


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that waits half a second for a head, and as long for a client to read."""
    monkeypatch.setattr(patience, "HEAD_S", 0.5)
    monkeypatch.setattr(patience, "READING_S", 0.5)
    with serving(create_app(load([], "local"), filled(), lambda: NOW, None)) as address:
        yield address


def connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)


def hung_up(connection: socket.socket, within_s: float = 5.0) -> bool:
    """Whether the other side closes, whatever it says before."""
    connection.settimeout(within_s)
    with contextlib.suppress(ConnectionError):
        while connection.recv(65536):
            pass
    return True


def answers(url: str) -> bool:
    return get(url, "/v1/predictions/segments/17850").status_code == 200


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET", b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"\r\n\r\n"],
    ids=["nothing", "a word", "half a head", "blank lines"],
)
def test_a_head_that_does_not_come_is_not_waited_for(url: str, sent: bytes) -> None:
    began = time.monotonic()
    with connected(url) as connection:
        connection.sendall(sent)
        assert hung_up(connection)
    assert 0.3 < time.monotonic() - began < 4.0


def test_a_head_that_drips_is_not_waited_for(url: str) -> None:
    with connected(url) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        began = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT012 - it is some write after the server has closed
            while time.monotonic() - began < 5.0:
                connection.sendall(b"X-Drip: 1\r\n")
                time.sleep(0.1)
    assert answers(url)


def test_a_second_head_is_not_waited_for_either(url: str) -> None:
    with connected(url) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /heal")
        assert hung_up(connection)


@pytest.mark.parametrize("line", [b"X-Long: " + b"x" * 1_000_000, b"X-Many: 1\r\n" * 100_000], ids=["long", "many"])
def test_a_head_of_a_megabyte_is_hung_up_on(url: str, line: bytes) -> None:
    with connected(url) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n")
        began = time.monotonic()
        connection.settimeout(5)
        told = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                told += part
        assert b"200 OK" not in told
        assert time.monotonic() - began < 4.0
    assert answers(url)


def test_a_client_that_does_not_read_is_hung_up_on(url: str) -> None:
    parts = urlsplit(url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((parts.hostname, parts.port))
        connection.settimeout(0.2)
        asked = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50
        began = time.monotonic()
        with contextlib.suppress(TimeoutError, ConnectionError):
            while time.monotonic() - began < 3.0:
                connection.sendall(asked)
        mine = connection.getsockname()[1]
        # Seen at the server's end: what its kernel holds for this client would take minutes to come.
        wait_until(lambda: mine not in {one.raddr.port for one in psutil.Process().net_connections("tcp") if one.raddr})
    assert answers(url)


def test_bodies_of_a_megabyte_are_refused_and_leave_nothing(url: str) -> None:
    process = psutil.Process()
    big = {"entities": ["x" * 10_000] * 100}
    assert batch(url, big).status_code == 413
    before = process.memory_info().rss
    for _ in range(50):
        assert batch(url, big).status_code == 413
    assert process.memory_info().rss - before < 20 * 2**20
    assert answers(url)


@pytest.mark.parametrize("many", [500, pytest.param(9_000, marks=pytest.mark.slow)])
def test_idle_connections_are_closed_and_others_answered(
    url: str, many: int, record_property: Callable[[str, object], None]
) -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    process = psutil.Process()
    assert answers(url)
    before, memory = process.num_fds(), process.memory_info().rss
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connected(url)) for _ in range(many)]
        began = time.monotonic()
        assert answers(url)
        record_property("answer_s", round(time.monotonic() - began, 3))
        record_property("kb_a_connection", round((process.memory_info().rss - memory) / many / 1024, 1))
        for connection in idle:
            assert hung_up(connection, 30.0)
    wait_until(lambda: process.num_fds() <= before + 5)
    assert answers(url)
