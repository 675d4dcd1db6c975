"""Tables that the platform makes in Cassandra: made once, remembered, usable when this returns."""

from __future__ import annotations

from datetime import datetime

from headrace.batch.made import Made, remember
from headrace.config import Settings
from headrace.errors import SchemaError
from headrace.sinks import cassandra as sink
from headrace.sources.cassandra import Cassandra, TableInfo, table_named, wait_until_active
from headrace.sources.cassandra.tables import is_keyspaces


def ensured_table(
    settings: Settings, cassandra: Cassandra, name: str, shape: sink.Shape, *, now: datetime
) -> tuple[TableInfo, bool]:
    """The table in the configured keyspace, and whether it was made here; the keyspace is made where it lacks.

    Raises SchemaError where a table of that name has other columns or another key.
    """
    keyspace = settings.cassandra.keyspace
    found = table_named(cassandra, keyspace, name)
    if found is not None:
        _refuse_other(found, shape)
        return found, False
    _ensure_keyspace(settings, cassandra, now=now)
    sink.create_table(cassandra, keyspace, name, shape)
    wait_until_active(cassandra, keyspace, name)
    made = table_named(cassandra, keyspace, name)
    if made is None:
        raise SchemaError(f"table {keyspace}.{name} vanished as it was made", do="see who drops tables there")
    remember(settings.made, Made("table", made.full_name, cassandra.address, made.id), now)
    return made, True


def _ensure_keyspace(settings: Settings, cassandra: Cassandra, *, now: datetime) -> None:
    keyspace = settings.cassandra.keyspace
    query = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?"
    if cassandra.execute(query, (keyspace,)):
        return
    (local,) = cassandra.execute("SELECT data_center FROM system.local")
    replication: dict[str, str | int] = {"class": "SingleRegionStrategy"}
    if not is_keyspaces(cassandra):
        replication = {
            "class": "NetworkTopologyStrategy",
            settings.cassandra.local_dc or local.data_center: settings.cassandra.replication_factor,
        }
    sink.create_keyspace(cassandra, keyspace, replication)
    remember(settings.made, Made("keyspace", keyspace, cassandra.address), now)


def _refuse_other(found: TableInfo, shape: sink.Shape) -> None:
    if found.key != shape.key:
        raise SchemaError(
            f"table {found.full_name} has another key",
            found=", ".join(found.key),
            expected=", ".join(shape.key),
            do="name another keyspace: --set cassandra.keyspace=NAME",
        )
    differing = {name: kind for name, kind in shape.columns.items() if found.columns.get(name) != kind}
    if differing:
        name, kind = next(iter(differing.items()))
        raise SchemaError(
            f"column {name!r} of table {found.full_name} is not as it is written",
            found=found.columns.get(name, "no such column"),
            expected=kind,
            do="name another keyspace: --set cassandra.keyspace=NAME",
        )
