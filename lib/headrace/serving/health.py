"""Whether the server can answer: the store is asked at most once a second, however often we are."""

from __future__ import annotations

import asyncio
import logging
import time

from headrace.errors import HeadraceError
from headrace.serving.reading import Reader

log = logging.getLogger(__name__)

CACHE_S = 1.0
TIMEOUT_S = 2.0
# No definition has this name, so the question is a real read of the table that finds nothing.
PROBE = "-"


class Readiness:
    """Tells whether the store answers."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lock = asyncio.Lock()
        self._known: tuple[float, bool] | None = None

    async def check(self) -> bool:
        async with self._lock:
            if self._known is not None and time.monotonic() - self._known[0] < CACHE_S:
                return self._known[1]
            ready = await self._ask()
            self._known = (time.monotonic(), ready)
            return ready

    async def _ask(self) -> bool:
        try:
            await self._reader.heads(PROBE, 0, time.monotonic() + TIMEOUT_S)
        except HeadraceError as error:
            log.info("not ready: %s", error)
            return False
        except Exception:
            log.exception("not ready")
            return False
        return True
