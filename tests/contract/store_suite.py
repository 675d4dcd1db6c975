"""The whole contract of `stores.port.Store`; subclasses give the fixture `store`."""

from __future__ import annotations

from store_items import ReadsAndWrites
from store_promoting import Promotions
from store_publishing import Leases, Publications
from store_purging import Purges
from store_reports import ReportsKept
from store_speed import ModelItems, Progresses, SpeedItems


class StoreSuite(
    ReadsAndWrites, Leases, Publications, Promotions, Purges, SpeedItems, ModelItems, Progresses, ReportsKept
):
    """What every serving store must do, whichever it is."""
