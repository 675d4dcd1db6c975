"""The store in memory keeps the contract."""

from __future__ import annotations

import pytest
from store_suite import StoreSuite

from headrace.stores.memory import MemoryStore
from headrace.stores.port import Store


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()
