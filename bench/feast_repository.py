"""A Feast repository of ten numbers a customer in SQLite, made by the peers' Python: FOLDER KEYS."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

FEATURES = [f"f{n}" for n in range(10)]
YAML = """project: bench
registry: data/registry.db
provider: local
online_store: {type: sqlite, path: data/online.db}
entity_key_serialization_version: 3
"""


def main(folder: Path, keys: int) -> None:
    import pandas as pd
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64

    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "feature_store.yaml").write_text(YAML, "utf-8")
    at = datetime.now(UTC) - timedelta(hours=1)
    frame = pd.DataFrame(
        {
            "customer_id": [f"c{n:07d}" for n in range(keys)],
            "event_timestamp": at,
            "created": at,
            **{name: [n / 7 + i for n in range(keys)] for i, name in enumerate(FEATURES)},
        }
    )
    path = folder / "data" / "customers.parquet"
    frame.to_parquet(path)
    store = FeatureStore(str(folder))
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
    source = FileSource(path=str(path), timestamp_field="event_timestamp", created_timestamp_column="created")
    schema = [Field(name=name, dtype=Float64) for name in FEATURES]
    view = FeatureView(name="customers", entities=[customer], ttl=timedelta(days=1), schema=schema, source=source)
    store.apply([customer, view])
    store.write_to_online_store("customers", df=frame)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
