"""A store that is opened when it is first needed, so that a server listens before its store's client is built."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from headrace.errors import HeadraceError, StoreUnavailable
from headrace.serving.reading import Opened, Reader, reader_of
from headrace.stores.port import Champion, Held, LedgerEntry, ModelItem, Progress, Store
from headrace.stores.reports import Report

log = logging.getLogger(__name__)

RETRY_S = 1.0


class OpeningStore:
    """The reading half of a store behind `open_store`, which is called by the first reader; the others wait for it.

    When opening fails, readers get StoreUnavailable with the reason, and it is tried again, at most once in
    `retry_s`: a server started before its engine becomes ready when the engine does.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        retry_s: float = RETRY_S,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open = open_store
        self._retry_s = retry_s
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._attempt: Future[Store] | None = None
        self._failed_at = 0.0

    def champion(self, definition: str) -> Champion:
        return self._opened().champion(definition)

    def ledger(self, definition: str) -> list[LedgerEntry]:
        return self._opened().ledger(definition)

    def progress(self, definition: str, generation: int) -> Progress | None:
        return self._opened().progress(definition, generation)

    def read_speed(self, definition: str, generation: int, entities: Sequence[str]) -> dict[str, Held]:
        return self._opened().read_speed(definition, generation, entities)

    def read_model(self, definition: str, generation: int) -> ModelItem | None:
        return self._opened().read_model(definition, generation)

    def reader(self, attempt_s: float) -> Reader:
        """What reads the store from one event loop; nothing is opened yet."""
        return Opened(lambda: reader_of(self._opened(), attempt_s))

    def definitions(self) -> list[str]:
        return self._opened().definitions()

    def reports(self, definition: str) -> list[Report]:
        return self._opened().reports(definition)

    def close(self) -> None:
        """Close the store if it was opened."""
        attempt = self._attempt
        if attempt is not None and attempt.done() and attempt.exception() is None:
            attempt.result().close()

    def _opened(self) -> Store:
        with self._lock:
            attempt = self._attempt
            spent = attempt is not None and attempt.done() and attempt.exception() is not None
            mine = attempt is None or (spent and self._elapsed() - self._failed_at >= self._retry_s)
            if attempt is None or mine:
                attempt = self._attempt = Future()
        if mine:
            self._run(attempt)
        try:
            return attempt.result()
        except HeadraceError as error:
            raise StoreUnavailable("the serving store could not be opened", found=str(error)) from error

    def _run(self, attempt: Future[Store]) -> None:
        try:
            store = self._open()
        except HeadraceError as error:
            log.warning("the serving store could not be opened: %s", error)
            self._failed_at = self._elapsed()
            attempt.set_exception(error)
        except BaseException as error:
            self._failed_at = self._elapsed()
            attempt.set_exception(error)
            raise
        else:
            attempt.set_result(store)
