"""Writing Cassandra: tables, rows in bulk from executors, and results by prepared statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_TYPES = {"string": "text"}


class Cql(Protocol):
    """What runs small statements, as `sources.cassandra.Cassandra` does."""

    def execute(
        self, statement: str, values: Sequence[Any] = (), *, idempotent: bool = True, doing: str = "asking it"
    ) -> list[Any]: ...


def create_keyspace(cql: Cql, keyspace: str, replication: Mapping[str, str | int]) -> None:
    """Make a keyspace where there is none."""
    said = ", ".join(f"'{key}': '{value}'" for key, value in replication.items())
    cql.execute(
        f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {{{said}}}", doing=f"making keyspace {keyspace}"
    )


@dataclass(frozen=True)
class Shape:
    """What a table is to look like. columns: name -> CQL type, in order. partition, clustering: its key."""

    columns: Mapping[str, str]
    partition: tuple[str, ...]
    clustering: tuple[str, ...]

    @property
    def key(self) -> tuple[str, ...]:
        return (*self.partition, *self.clustering)


def create_table(cql: Cql, keyspace: str, name: str, shape: Shape) -> None:
    """Make a table where there is none."""
    body = ", ".join(f"{column} {kind}" for column, kind in shape.columns.items())
    key = ", ".join([f"({', '.join(shape.partition)})", *shape.clustering])
    cql.execute(
        f"CREATE TABLE IF NOT EXISTS {keyspace}.{name} ({body}, PRIMARY KEY ({key}))",
        doing=f"making table {keyspace}.{name}",
    )


def cql_type(spark_type: str) -> str:
    """The CQL type of a column.

    >>> cql_type("string"), cql_type("double"), cql_type("decimal(10,2)")
    ('text', 'double', 'decimal')
    """
    return "decimal" if spark_type.startswith("decimal") else _TYPES.get(spark_type, spark_type)


def append(rows: DataFrame, table: str) -> None:
    """Write rows into `<catalog>.<keyspace>.<table>` by key: written twice, they are there once.

    A null is left out, so it makes no tombstone; it does not undo a value that is there.
    """
    rows.writeTo(table).append()


def write_results(cql: Cql, table: str, run_id: str, run_date: date, sizes: Mapping[int, int]) -> None:
    """Write one row a cluster of a run: its number as `segment`, and how many customers it has."""
    statement = f"INSERT INTO {table} (run_id, segment, total_customers, run_date) VALUES (?, ?, ?, ?)"
    for segment, customers in sorted(sizes.items()):
        cql.execute(statement, (run_id, segment, customers, run_date), doing=f"writing {table}")


def delete_results(cql: Cql, table: str, run_id: str) -> None:
    """Delete the rows of one run."""
    cql.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,), doing=f"deleting a run from {table}")


def drop_table(cql: Cql, keyspace: str, name: str) -> None:
    cql.execute(f"DROP TABLE IF EXISTS {keyspace}.{name}", doing=f"dropping table {keyspace}.{name}")


def drop_keyspace(cql: Cql, keyspace: str) -> None:
    cql.execute(f"DROP KEYSPACE IF EXISTS {keyspace}", doing=f"dropping keyspace {keyspace}")
