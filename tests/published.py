"""Publications for tests of the serving layer, made through the store's port alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from headrace.definitions.finish import outputs_json
from headrace.models.linear import LinearRegression
from headrace.stores.port import TOMBSTONE, Champion, LedgerEntry, Store, Version, Write

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TTL = timedelta(seconds=30)


def ledger_info(generation: int, **changes: Any) -> dict[str, Any]:
    """What a publisher puts in the ledger of a generation whose events arrived an hour before NOW."""
    return {
        "cut": [["", "file", generation * 100]],
        "as_of": "2026-03-01T11:00:00+00:00",
        "definition_sha256": f"sha-{generation}",
        "max_age_s": None,
        "clock": "fixed",
        "description": {
            "name": "segments",
            "entity": "customer_id",
            "features": [{"name": "recency", "aggregate": {}}],
        },
        "theta": {"reference": "2011-12-09T00:00:00+00:00", "zone": "UTC", "types": {"invoice": "string"}},
        **changes,
    }


# A line through the origin of scaled units, learned from three events.
LEARNER = LinearRegression(("temperature", "wind"))
_SCALED: dict[str, Any] = {
    "features": ["temperature", "wind"],
    "target": "rides",
    "mean": [10.0, 5.0],
    "scale": [10.0, 2.0],
    "target_mean": 100.0,
    "target_scale": 50.0,
}
FITTED: dict[str, Any] = {
    **_SCALED,
    "coefficients": [1.0, -0.5],
    "intercept": 0.0,
    "contribution": LEARNER.contribution(
        _SCALED, np.array([[0.0, 5.0, 50.0], [20.0, 5.0, 150.0], [10.0, 3.0, 125.0], [10.0, 7.0, 75.0]])
    ),
}


def learned(**changes: Any) -> dict[str, Any]:
    """What the ledger says of a generation that has a learner of events."""
    info = ledger_info(1)
    return {
        "description": {**info["description"], "learner": LEARNER.describe()},
        "theta": {**info["theta"], "learner": FITTED, "ranges": {"temperature": [0.0, 20.0], "wind": [3.0, 7.0]}},
        **changes,
    }


def version(recency: int, cluster: int, state: bytes = b"{}") -> Version:
    return Version(state, outputs_json({"recency": recency}, {"cluster": cluster, "segment": "Can't Lose"}))


def publish(
    store: Store,
    definition: str,
    generation: int,
    versions: Mapping[str, Version | None],
    *,
    base: int | None = None,
    **info: Any,
) -> None:
    """Write and seal one generation; None is a tombstone. It is not promoted."""
    lease = store.acquire_lease(definition, "test", NOW, TTL)
    entry = LedgerEntry(generation, "publishing", base, f"manifest-{generation}", 0, ledger_info(generation, **info))
    store.open_publication(lease, entry)
    writes = [Write(entity, made or TOMBSTONE, exists=False) for entity, made in versions.items()]
    store.write_versions(definition, generation, writes)
    store.seal_publication(lease, generation, len(writes))
    store.release_lease(lease)


def promote(
    store: Store, definition: str, generation: int, *, floor: int = 1, skip: frozenset[int] = frozenset()
) -> None:
    """Make a generation the champion."""
    old = store.champion(definition)
    store.set_champion(definition, old.epoch, Champion(generation, skip, floor, old.epoch + 1, (old.generation,)))
