"""What a million keys of ten doubles take in memory: `python -m bench.view_memory view|dicts KEYS`, JSON on stdout."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime

import psutil

from bench.feast_repository import FEATURES


def dicts(keys: int) -> object:
    return {f"c{n:07d}": {name: n / 7 + i for i, name in enumerate(FEATURES)} for n in range(keys)}


def view(keys: int) -> object:
    """A server with a view that was filled as a scan fills it, from items that are made up."""
    from headrace.config import load
    from headrace.serving import views
    from headrace.serving.api import create_app
    from headrace.serving.merge import Generation, Served
    from headrace.serving.view import Columns
    from headrace.stores.memory import MemoryStore
    from headrace.stores.port import Champion, Held, LedgerEntry, Version

    info = {
        "cut": [],
        "as_of": datetime.now(UTC).isoformat(),
        "definition_sha256": "0" * 64,
        "max_age_s": None,
        "clock": "cut",
        "description": {},
        "theta": {},
    }
    app = create_app(load([], "local"), MemoryStore(), lambda: datetime.now(UTC), None)
    generation = Generation.of(LedgerEntry(1, "sealed", None, "bench", keys, info))
    served, columns = Served(Champion(1, floor=1, epoch=1), generation), Columns()
    for n in range(keys):
        features = {name: n / 7 + i for i, name in enumerate(FEATURES)}
        told = json.dumps({"features": features, "prediction": {}}, separators=(",", ":"))
        views._take(columns, f"c{n:07d}", served, Held({1: Version(b"", told)}))
    assert (len(columns), columns.aside) == (keys, 0)
    return app, columns


def main() -> None:
    kept = {"dicts": dicts, "view": view}[sys.argv[1]](int(sys.argv[2]))
    seen = psutil.Process()
    told = {"rss_mb": seen.memory_info().rss / 2**20, "cpu_s": time.process_time()}
    assert kept is not None
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
