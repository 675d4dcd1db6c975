"""What tables there are, what they look like, and whether they can be used; from the system tables alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from headrace.errors import DatabaseUnavailable, InputError, SchemaError, TerminalError, nearest
from headrace.schemas import Field, Schema
from headrace.sources.cassandra.connection import Cassandra

RESULTS = "ml_clustering_results"
_MURMUR3 = "org.apache.cassandra.dht.Murmur3Partitioner"
# The system keyspace that tells Amazon Keyspaces from Cassandra.
_KEYSPACES = "system_schema_mcs"
_TABLE = "SELECT id FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?"
_COLUMNS = (
    "SELECT column_name, type, kind, position FROM system_schema.columns WHERE keyspace_name = ? AND table_name = ?"
)
_STATUS = "SELECT status FROM system_schema_mcs.tables WHERE keyspace_name = ? AND table_name = ?"
_REMEDY = (
    "in Amazon Keyspaces, change it for the account: UPDATE system.local SET partitioner = "
    "'org.apache.cassandra.dht.Murmur3Partitioner' WHERE key = 'local'; it takes about ten minutes, and no data is "
    "loaded again"
)
_POLL_S = 0.2
# CQL types that hold no value the declared one cannot, but for decimal: a price becomes the nearest double.
_FITS: Mapping[str, frozenset[str]] = {
    "string": frozenset({"text", "ascii", "varchar"}),
    "int": frozenset({"int", "smallint", "tinyint"}),
    "bigint": frozenset({"bigint", "int", "smallint", "tinyint"}),
    "double": frozenset({"double", "float", "decimal", "int", "smallint", "tinyint"}),
    "boolean": frozenset({"boolean"}),
    "timestamp": frozenset({"timestamp"}),
    "date": frozenset({"date"}),
}


@dataclass(frozen=True)
class TableInfo:
    """A table as it is. id: of this one life of it. columns: name -> CQL type. partition, clustering: its key."""

    keyspace: str
    name: str
    id: str
    columns: Mapping[str, str]
    partition: tuple[str, ...]
    clustering: tuple[str, ...]

    @property
    def full_name(self) -> str:
        return f"{self.keyspace}.{self.name}"

    @property
    def cql(self) -> str:
        """The name in a statement, whatever letters it has."""
        return ".".join('"' + part.replace('"', '""') + '"' for part in (self.keyspace, self.name))

    @property
    def key(self) -> tuple[str, ...]:
        return (*self.partition, *self.clustering)


def table_named(cassandra: Cassandra, keyspace: str, name: str) -> TableInfo | None:
    """The table, or None where there is none."""
    found = cassandra.execute(_TABLE, (keyspace, name))
    if not found:
        return None
    columns = cassandra.execute(_COLUMNS, (keyspace, name))
    key = {
        kind: tuple(c.column_name for c in sorted(columns, key=lambda c: c.position) if c.kind == kind)
        for kind in ("partition_key", "clustering")
    }
    types = {column.column_name: column.type for column in columns}
    return TableInfo(keyspace, name, str(found[0].id), types, key["partition_key"], key["clustering"])


def required_table(cassandra: Cassandra, keyspace: str, name: str) -> TableInfo:
    """The table. Raises InputError, naming the nearest one, where there is none."""
    found = table_named(cassandra, keyspace, name)
    if found is not None:
        return found
    keyspaces = [row.keyspace_name for row in cassandra.execute("SELECT keyspace_name FROM system_schema.keyspaces")]
    if keyspace not in keyspaces:
        raise InputError(
            f"there is no keyspace {keyspace!r} at {cassandra.address}",
            nearest=nearest(keyspace, keyspaces),
            do=f"set cassandra.keyspace, or load data: headrace load {name} --to cassandra",
        )
    rows = cassandra.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?", (keyspace,))
    names = [row.table_name for row in rows]
    raise InputError(
        f"there is no table {keyspace}.{name} at {cassandra.address}",
        found=", ".join(names) or "no table",
        nearest=nearest(name, names),
        do=f"set cassandra.keyspace, or load it: headrace load {name} --to cassandra",
    )


def require_columns(table: TableInfo, schema: Schema, needed: tuple[str, ...]) -> None:
    """Raise SchemaError where a column that is needed is missing, or one has a type that does not fit.

    needed: columns that must be there although they may be null; required ones must be, too.
    """
    for field in schema:
        found = table.columns.get(field.name)
        if found is None and (field.required or field.name in needed):
            raise SchemaError(
                f"table {table.full_name} lacks column {field.name!r}",
                found=", ".join(sorted(table.columns)),
                nearest=nearest(field.name, table.columns),
                do="name the column as the definition does",
            )
        if found is not None and not fits(field, found):
            raise SchemaError(
                f"column {field.name!r} of table {table.full_name} has another type than is declared",
                found=found,
                expected=" or ".join(sorted(_FITS.get(field.type, {"decimal"}))),
                do="declare it as it is stored, or store it as it is declared",
            )


def fits(field: Field, stored: str) -> bool:
    """Whether a column of that CQL type is read as the declared one.

    >>> fits(Field("quantity", "int"), "int"), fits(Field("quantity", "int"), "text")
    (True, False)
    """
    return stored in _FITS.get(field.type, frozenset({"decimal"}))


def require_murmur3(cassandra: Cassandra) -> None:
    """Raise TerminalError, with the remedy, where the partitioner is none that the Spark connector reads by."""
    (row,) = cassandra.execute("SELECT partitioner FROM system.local")
    if row.partitioner == _MURMUR3:
        return
    raise TerminalError(
        f"the partitioner of {cassandra.address} is none that Spark can read by",
        found=row.partitioner,
        expected=_MURMUR3,
        do=_REMEDY,
    )


def is_keyspaces(cassandra: Cassandra) -> bool:
    """Whether this is Amazon Keyspaces, where definitions take effect later than they are accepted."""
    return bool(
        cassandra.execute("SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?", (_KEYSPACES,))
    )


def wait_until_active(cassandra: Cassandra, keyspace: str, table: str) -> None:
    """Return when a table that was just made can be used, as Amazon Keyspaces tells; at once elsewhere.

    Raises DatabaseUnavailable where that takes longer than `retry_s`.
    """
    if not is_keyspaces(cassandra):
        return
    until = time.monotonic() + cassandra.settings.retry_s
    while True:
        found = cassandra.execute(_STATUS, (keyspace, table))
        status = found[0].status if found else "not listed yet"
        if status == "ACTIVE":
            return
        if time.monotonic() > until:
            raise DatabaseUnavailable(
                f"table {keyspace}.{table} is not active yet", found=status, expected="ACTIVE", do="run again"
            )
        time.sleep(_POLL_S)
