"""One server process: bind first, serve until SIGTERM, finish what is in flight, exit 0."""

from __future__ import annotations

import errno
import logging
import resource
import signal
import socket
import sys
from typing import TYPE_CHECKING

from headrace.errors import ConfigError, TransientError

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from headrace.serving.tls import Tls

BACKLOG = 2048
DRAIN_S = 30


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises TransientError when the port is taken, ConfigError when the address is not ours to listen on.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigError("serve.host is not an address", found=repr(host), do="use 127.0.0.1 or 0.0.0.0") from error
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise TransientError(
                f"port {port} of {host} is taken", do="stop what listens there, or take a free port with --port 0"
            ) from error
        raise ConfigError(f"cannot listen on {host} port {port}", found=error.strerror) from error
    return listening


def address(listening: socket.socket, *, tls: bool = False) -> str:
    """The URL a socket answers at; a wildcard address is shown as localhost."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - shown, not bound
        host = "localhost"
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def server_of(app: FastAPI, tls: Tls | None = None) -> uvicorn.Server:
    """The server of one process: HTTP/1.1 only, no forwarded headers believed, `DRAIN_S` to finish on shutdown.

    tls: TLS 1.2 or newer, by Python's defaults; None: none.
    """
    import uvicorn

    from headrace.serving.patience import PatientProtocol

    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        loop="uvloop" if tls is None else "headrace.serving.tls:TlsLoop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=DRAIN_S,
        ssl_certfile=tls.certificate if tls is not None else None,
        ssl_keyfile=tls.key if tls is not None else None,
    )
    return uvicorn.Server(config)


def _allow_many_connections() -> None:
    """As many open files as this process may have: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def serve(app: FastAPI, listening: socket.socket, tls: Tls | None = None) -> None:
    """Serve until SIGTERM (then exit 0 once requests in flight are answered) or SIGINT (KeyboardInterrupt)."""
    _allow_many_connections()
    # What a log record could be asked for and no line of ours says costs more than the line. Source: Python's
    # documentation, "Logging HOWTO", Optimization.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    # uvicorn drains on SIGTERM and then raises the signal again for whoever handled it before: that is this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server_of(app, tls).run(sockets=[listening])
