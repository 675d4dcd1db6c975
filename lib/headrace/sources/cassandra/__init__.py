"""Cassandra and Amazon Keyspaces: connection, tables, and reading them with Spark; by one code path."""

from headrace.sources.cassandra.catalog import catalog
from headrace.sources.cassandra.connection import Cassandra, connected
from headrace.sources.cassandra.reading import columns_of, read_table, table_in
from headrace.sources.cassandra.tables import (
    RESULTS,
    TableInfo,
    require_murmur3,
    required_table,
    table_named,
    wait_until_active,
)

__all__ = [
    "RESULTS",
    "Cassandra",
    "TableInfo",
    "catalog",
    "columns_of",
    "connected",
    "read_table",
    "require_murmur3",
    "required_table",
    "table_in",
    "table_named",
    "wait_until_active",
]
