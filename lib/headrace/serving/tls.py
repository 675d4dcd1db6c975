"""TLS of the server itself, for where no proxy ends it."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import ConfigError

if TYPE_CHECKING:
    from headrace.config import ServeSettings

# How long a connection that we close waits for the other side's word; an idle client gives none before it is used
# again, and with asyncio's 30 s one such client would hold up every shutdown.
CLOSE_S = 1.0


@dataclass(frozen=True)
class Tls:
    """PEM files: the certificate with its chain, and its key."""

    certificate: Path
    key: Path


def tls_of(settings: ServeSettings) -> Tls | None:
    """What the settings name, None for neither file. Raises ConfigError for files that make no TLS."""
    named = [settings.tls_certificate, settings.tls_key]
    if not any(named):
        return None
    if not all(named):
        raise ConfigError(
            "TLS needs a certificate and its key",
            found="serve.tls_certificate alone" if named[0] else "serve.tls_key alone",
        )
    tls = Tls(Path(named[0]), Path(named[1]))
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # an SSLError is one
        raise ConfigError(
            "serve.tls_certificate and serve.tls_key make no TLS",
            found=error,
            expected="PEM files, the certificate first in its chain, the key without a password",
        ) from error
    return tls


class TlsLoop(asyncio.SelectorEventLoop):
    """An event loop whose servers wait CLOSE_S for the end of a TLS connection."""

    async def create_server(self, *arguments: Any, **named: Any) -> asyncio.Server:
        """As asyncio's, for servers with TLS."""
        server: asyncio.Server = await super().create_server(*arguments, ssl_shutdown_timeout=CLOSE_S, **named)
        return server
