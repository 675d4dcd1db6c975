"""Whether the server can answer: the store is asked at most once a second, however often we are."""

from __future__ import annotations

import asyncio
import logging
import time

import anyio.to_thread
from anyio import CapacityLimiter

from headrace.errors import HeadraceError
from headrace.serving.lookup import Readable

log = logging.getLogger(__name__)

CACHE_S = 1.0
TIMEOUT_S = 2.0
# No definition has this name, so the question is a real read of the table that finds nothing.
PROBE = "-"


class Readiness:
    """Tells whether the store answers; its one thread is apart from those of look-ups."""

    def __init__(self, store: Readable) -> None:
        self._store = store
        self._lock = asyncio.Lock()
        self._thread = CapacityLimiter(1)
        self._known: tuple[float, bool] | None = None

    async def check(self) -> bool:
        async with self._lock:
            if self._known is not None and time.monotonic() - self._known[0] < CACHE_S:
                return self._known[1]
            ready = await self._ask()
            self._known = (time.monotonic(), ready)
            return ready

    async def _ask(self) -> bool:
        with anyio.move_on_after(TIMEOUT_S):
            try:
                await anyio.to_thread.run_sync(
                    self._store.champion, PROBE, limiter=self._thread, abandon_on_cancel=True
                )
            except HeadraceError as error:
                log.info("not ready: %s", error)
                return False
            except Exception:
                log.exception("not ready")
                return False
            return True
        log.info("not ready: the store did not answer within %g s", TIMEOUT_S)
        return False
