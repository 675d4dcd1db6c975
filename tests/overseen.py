"""A small store as an operator finds one: promotions, a rival, a stream, reports."""

from __future__ import annotations

from datetime import timedelta

from published import NOW, ledger_info, promote, publish, version

from headrace.definitions.finish import outputs_json
from headrace.schemas import Vector
from headrace.stores.memory import MemoryStore
from headrace.stores.port import SpeedItem
from headrace.stores.reports import Report

STREAM = "4bM2kqQvR1yZ0000000000"
GATE = {"metric": "inertia", "found": 12.5, "at_most": 10.0, "at_least": None, "rows": 80, "fails_by": 2.5}
RUN = {
    "champion_before": 1,
    "champion_after": 3,
    "rows_read": 1000,
    "rows": 990,
    "entities": 3,
    "sent": 2,
    "dropped": {"no customer": 7, "cancelled": 3},
    "quarantined": {"quantity is no number": 10},
    "seconds": {"ingest": 4.2, "train": 9.6, "publish": 1.1, "promote": 0.02},
    "categories": [{"name": "segment", "kind": "name", "counts": {"Can't Lose": 2, "Champions": 1}}],
    "features": [{"name": "recency", "entities": 3, "missing": 0, "least": 1, "median": 2, "mean": 2.0, "greatest": 3}],
    "metrics": {"inertia": 3.25},
}


def overseen() -> MemoryStore:
    """Of `segments`: 1 was champion, 2 was rolled back, 3 is champion and streamed, 4 fails its gate; `rides`: one
    that is not promoted; `plain`: a batch alone."""
    store = MemoryStore()
    described = {
        **ledger_info(1)["description"],
        "stream": {"name": "purchases"},
        "learner": {"kind": "kmeans", "k": 6},
    }
    publish(store, "segments", 1, {name: version(9, 1) for name in ("17850", "13047", "gone")}, description=described)
    promote(store, "segments", 1)
    publish(store, "segments", 2, {"17850": version(8, 2)}, base=1, description=described)
    publish(
        store, "segments", 3, {"17850": version(7, 3), "gone": None}, base=1, description=described, max_age_s=120.0
    )
    promote(store, "segments", 3, skip=frozenset({2}))
    publish(store, "segments", 4, {"17850": version(6, 4)}, base=3, description=described, gate=GATE)
    cut = Vector({("", "file"): 300})
    counted = cut.join(Vector({(STREAM, "0"): 40, (STREAM, "1"): 25}))
    taken = store.take_over("segments", 3, "host-7:4711:99", cut, NOW - timedelta(seconds=30))
    head = Vector({(STREAM, "0"): 42, (STREAM, "1"): 25})
    store.advance(type(taken)("segments", 3, counted, taken.epoch, taken.owner, NOW - timedelta(seconds=2), head))
    outputs = outputs_json({"recency": 0}, {"cluster": 5, "segment": "Champions"})
    store.write_speed("segments", 3, {"17850": SpeedItem(b"{}", outputs, Vector({(STREAM, "0"): 41}), 1)})
    publish(store, "rides", 1, {"a": version(1, 1)})
    publish(store, "plain", 1, {"a": version(1, 1)})
    promote(store, "plain", 1)
    store.add_report("segments", Report("run", NOW - timedelta(hours=1), 3, None, "generation 3, the champion", RUN))
    found = {"checked": 3, "mismatched": 0, "missing": 0, "extra": 0}
    store.add_report("segments", Report("verify", NOW, 3, True, "all 3 keys compared are as recomputed", found))
    return store
