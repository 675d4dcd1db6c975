"""The store in memory keeps the contract."""

from __future__ import annotations

import pytest
from headrace.stores.memory import MemoryStore
from headrace.stores.port import Store
from store_suite import StoreSuite


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()
