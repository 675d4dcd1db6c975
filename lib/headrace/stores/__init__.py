"""Serving stores behind one port."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from headrace.config import StoreSettings
from headrace.errors import StoreError
from headrace.stores.port import Store

if TYPE_CHECKING:
    from headrace.stores.memory import MemoryStore

__all__ = ["Opening", "Store", "kept_open", "open_store"]

_memory: dict[str, MemoryStore] = {}
_memory_lock = threading.Lock()


def open_store(settings: StoreSettings, endpoint: str | None, *, retry_s: float = 120.0) -> Store:
    """The store the settings name; no call is made yet.

    endpoint: a URL that overrides the settings', None for theirs (empty: AWS). retry_s: how long throttled bulk
    writes are repeated before StoreUnavailable. A memory store is one per table name and process.
    """
    if settings.kind == "memory":
        from headrace.stores.memory import MemoryStore

        with _memory_lock:
            return _memory.setdefault(settings.table, MemoryStore())
    from headrace.stores.dynamodb import DynamoDBStore

    url = endpoint or settings.endpoint or None
    if url == "engine":
        raise StoreError(
            "the store's endpoint is the local engine, whose address is not known here",
            do="start it with `headrace up dynamodb` and pass its address",
        )
    return DynamoDBStore(settings.table, settings.region, url, retry_s=retry_s, create=settings.create_table)


@dataclass(frozen=True)
class Opening:
    """How to open a store, on the driver and on an executor; travels pickled."""

    settings: StoreSettings
    endpoint: str | None
    retry_s: float

    def open(self) -> Store:
        return open_store(self.settings, self.endpoint, retry_s=self.retry_s)


@lru_cache(maxsize=8)
def kept_open(opening: Opening) -> Store:
    """A store that stays open as long as this process does: opening one takes longer than a small micro-batch."""
    return opening.open()
