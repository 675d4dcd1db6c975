"""The rows of the `sales` query, staged as one Parquet file; in the local PostgreSQL its tables are made before."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from headrace import config
from headrace.config import Settings
from headrace.errors import InputError
from headrace.local.endpoints import ENGINE
from headrace.sources.postgres import Server, connected
from headrace.sources.progress import say
from headrace.sources.tickit.query import QUERY
from headrace.sources.tickit.tables import (
    DDL,
    SEED,
    SOLD_LISTINGS,
    Dimensions,
    Row,
    invented,
    listings_and_sales,
    published,
)
from headrace.sources.warehouse import rows_of, server_of

if TYPE_CHECKING:
    import pg8000.native as pg

SCHEMA = "tickit"
# Raised when the generator makes other rows of the same arguments.
_GENERATOR = 1
_CHUNK = 20_000


def staged(settings: Settings) -> tuple[Path, str]:
    """The file of the query's rows, and what people should know about them.

    sales.source says which warehouse is asked. The local PostgreSQL is filled first, once; any other is only read.
    Raises as `rows_of`.
    """
    query = _query(settings)
    path = settings.staged / f"sales-{hashlib.sha256(query.encode()).hexdigest()[:12]}.parquet"
    engine = settings.sales.source == "postgres" and settings.postgres.address == ENGINE
    note = load(server_of(settings)) if engine else ""
    rows_of(settings, query, path)
    return path, note


def load(server: Server, sold: int = SOLD_LISTINGS, known: Dimensions | None = None) -> str:
    """Make the tables in the schema `tickit`, in one transaction; those of the same rows are left as they are.

    Returns what people should know about the data.
    """
    folder = config.data_folder()
    known = known or (published(folder / "tickit") if folder else None) or invented()
    mark = f"headrace {_GENERATOR} seed {SEED} {sold} {known.origin}"
    with connected(server) as connection:
        held = connection.run("SELECT obj_description(oid) FROM pg_namespace WHERE nspname = :name", name=SCHEMA)
        if not held or held[0][0] != mark:
            if held and not str(held[0][0] or "").startswith("headrace "):
                raise InputError(
                    f"the schema {SCHEMA!r} of {server.shown} is not ours to fill",
                    do="read it with postgres.address set to its server, which writes nothing",
                )
            say(f"filling {SCHEMA} in {server.shown} with {known.origin} dimensions and generated sales")
            _fill(connection, known, sold, mark)
    return (
        "THE SALES ARE GENERATED: TICKIT'S OWN SALES TABLE IS NOT TO BE HAD. "
        f"{sold:,} listings with sales from seed {SEED}, {known.origin} events, venues, categories and days."
    )


def _fill(connection: pg.Connection, known: Dimensions, sold: int, mark: str) -> None:
    connection.run("BEGIN")
    connection.run(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    connection.run(f"CREATE SCHEMA {SCHEMA}")
    for table, columns in DDL.items():
        connection.run(f"CREATE TABLE {SCHEMA}.{table} ({columns})")
    listings, sales = listings_and_sales(known, sold)
    for table, rows in (*known.tables.items(), ("listing", listings), ("sales", sales)):
        connection.run(f"COPY {SCHEMA}.{table} FROM STDIN", stream=_copied(rows))
    connection.run(f"COMMENT ON SCHEMA {SCHEMA} IS '{mark}'")
    connection.run("COMMIT")
    connection.run(f"ANALYZE {', '.join(f'{SCHEMA}.{table}' for table in DDL)}")


def _copied(rows: Iterable[Row]) -> Iterator[bytes]:
    """Rows as COPY reads them, some at a time."""
    out = io.StringIO()
    for number, row in enumerate(rows, 1):
        out.write("\t".join(_field(value) for value in row) + "\n")
        if number % _CHUNK == 0:
            yield out.getvalue().encode()
            out = io.StringIO()
    yield out.getvalue().encode()


def _field(value: object) -> str:
    if value is None:
        return "\\N"
    text = str(value)
    for letter, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(letter, escaped)
    return text


def _query(settings: Settings) -> str:
    named = settings.sales.query_file
    if not named:
        return QUERY.format(schema=SCHEMA)
    return config.text_of(Path(named), "sales.query_file")
