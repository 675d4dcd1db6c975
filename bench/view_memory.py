"""What a million keys of ten doubles take in memory: `python -m bench.view_memory view|dicts KEYS`, JSON on stdout."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import psutil

from bench.feast_repository import FEATURES


def dicts(keys: int) -> object:
    return {f"c{n:07d}": {name: n / 7 + i for i, name in enumerate(FEATURES)} for n in range(keys)}


def view(keys: int) -> object:
    """A server whose view was filled from a store that makes its items up."""
    from headrace.config import load
    from headrace.serving import views
    from headrace.serving.api import create_app
    from headrace.serving.pointers import Pointers
    from headrace.serving.reading import InThreads
    from headrace.stores.port import Champion, LedgerEntry, Version

    info = {
        "cut": [],
        "as_of": datetime.now(UTC).isoformat(),
        "definition_sha256": "0" * 64,
        "max_age_s": None,
        "clock": "cut",
        "description": {},
        "theta": {},
    }

    class Made:
        def champion(self, _: str) -> Champion:
            return Champion(1, floor=1, epoch=1)

        def ledger(self, _: str) -> list[LedgerEntry]:
            return [LedgerEntry(1, "sealed", None, "bench", keys, info)]

        def progress(self, _: str, __: int) -> None:
            return None

        def scan_speed(self, _: str, __: int) -> Iterator[object]:
            return iter(())

        def scan(self, _: str) -> Iterator[tuple[str, dict[int, Version]]]:
            for n in range(keys):
                features = {name: n / 7 + i for i, name in enumerate(FEATURES)}
                told = json.dumps({"features": features, "prediction": {}}, separators=(",", ":"))
                yield f"c{n:07d}", {1: Version(b"", told)}

    store = Made()
    app = create_app(load([], "local"), store, lambda: datetime.now(UTC), None)
    reader = InThreads(store)
    views.PAGE = 5000  # nobody is to be answered meanwhile
    held = views.View("customers", reader, Pointers(reader, 1.0, 5.0), 60.0, 300.0)
    asyncio.run(held.refresh())
    assert len(held) == keys
    return app, held


def main() -> None:
    kept = {"dicts": dicts, "view": view}[sys.argv[1]](int(sys.argv[2]))
    seen = psutil.Process()
    told = {"rss_mb": seen.memory_info().rss / 2**20, "cpu_s": time.process_time()}
    assert kept is not None
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
