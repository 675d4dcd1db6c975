"""PostgreSQL as a source: the result of a query as one Parquet file, read by a cursor in bounded memory."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError, InputError, SourceUnavailable

if TYPE_CHECKING:
    import pg8000.native as pg
    import pyarrow as pa

FETCHED = 10_000  # rows held at a time, and of a row group
_CURSOR = "headrace_rows"
_REFUSED = ("28", "42501")  # wrong password or role, no privilege
_PASSING = ("08", "53", "57P", "40", "55P03")  # connection, resources, shutdown, conflict, lock
_NUMERIC = 1700


@dataclass(frozen=True)
class Server:
    """Where a database is, and who asks."""

    host: str
    port: int
    database: str
    user: str
    password: str
    tls: bool = False

    @property
    def shown(self) -> str:
        """For messages; without the password."""
        return f"{self.user}@{self.host}:{self.port}/{self.database}"


@contextmanager
def connected(server: Server, timeout_s: float = 10.0) -> Iterator[pg.Connection]:
    """A connection for the length of a block; the server's refusals in it are named.

    Raises SourceUnavailable where it does not answer, and as `named_refusals`.
    """
    import pg8000.exceptions
    import pg8000.native as pg

    try:
        with named_refusals(server.shown):
            sock = socket.create_connection((server.host, server.port), timeout_s)
            sock.settimeout(None)  # of connecting alone: a query may take its time
            connection = pg.Connection(
                server.user,
                sock=sock,
                host=server.host,
                database=server.database,
                password=server.password,
                ssl_context=True if server.tls else None,
                application_name="headrace",
            )
    except (pg8000.exceptions.InterfaceError, OSError) as error:
        raise SourceUnavailable(
            f"PostgreSQL does not answer at {server.host}:{server.port}",
            found=str(error),
            do="look whether it runs: of a local one, headrace up postgres",
        ) from error
    try:
        with named_refusals(server.shown):
            yield connection
    finally:
        with suppress(pg8000.exceptions.InterfaceError, OSError):
            connection.close()


@contextmanager
def named_refusals(where: str) -> Iterator[None]:
    """Raise what the server refuses as ours: InputError, or SourceUnavailable for what may pass."""
    import pg8000.exceptions

    try:
        yield
    except pg8000.exceptions.DatabaseError as error:
        told = error.args[0] if error.args and isinstance(error.args[0], Mapping) else {"M": str(error)}
        raise refusal(told, where) from error


def refusal(told: Mapping[str, str], where: str) -> HeadraceError:
    """The error of a server's answer: C its SQLSTATE, M the message, P where in the query, H the hint.

    >>> str(refusal({"C": "42P01", "M": 'relation "sale" does not exist', "P": "15"}, "me@db"))
    'the query is refused by me@db; found relation "sale" does not exist (42P01) at character 15; mend the query'
    """
    code = told.get("C", "")
    found = f"{told.get('M', 'no message')} ({code})" + (f" at character {told['P']}" if "P" in told else "")
    if code.startswith(_REFUSED):
        return InputError(f"the role is refused by {where}", found=found, do="grant it SELECT, or name another role")
    if code.startswith(_PASSING):
        return SourceUnavailable(f"{where} cannot answer now", found=found, do="run again")
    return InputError(f"the query is refused by {where}", found=found, do=told.get("H") or "mend the query")


def query_to_parquet(server: Server, query: str, path: Path) -> int:
    """Write the rows of one query to `path`, whole or not at all, in the order it gives them; how many there are.

    The query runs in a transaction that can only read, and is one statement. numeric(p,s) becomes decimal, numeric
    without a scale double; timestamps are UTC in microseconds. Equal rows give equal bytes.
    Raises InputError for a refused or empty query, a column of another type, or two of one name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    statement = query.strip().rstrip(";")
    if not statement:
        raise InputError("there is no query", expected="one SELECT")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with connected(server) as connection:
            connection.run("BEGIN READ ONLY")
            connection.run("SET LOCAL TIME ZONE 'UTC'")
            # Prepared, so that the server takes one statement and no second behind a semicolon.
            connection.prepare(f"DECLARE {_CURSOR} NO SCROLL CURSOR FOR {statement}").run()
            written = 0
            with ExitStack() as opened:
                out = opened.enter_context(pa.OSFile(str(partial), "wb"))
                writer: pq.ParquetWriter | None = None
                while rows := connection.run(f"FETCH {FETCHED} FROM {_CURSOR}"):
                    schema = _schema(connection.columns or ())
                    writer = writer or opened.enter_context(pq.ParquetWriter(out, schema, compression="zstd"))
                    writer.write_table(_table(rows, schema))
                    written += len(rows)
            connection.run("ROLLBACK")
        if not written:
            raise InputError("the query gives no row", do="mend its conditions, or load the tables first")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return written


def _schema(columns: Sequence[Mapping[str, Any]]) -> pa.Schema:
    import pyarrow as pa

    types = {
        16: pa.bool_(),
        **dict.fromkeys((21, 23), pa.int32()),
        20: pa.int64(),
        **dict.fromkeys((700, 701), pa.float64()),
        **dict.fromkeys((18, 19, 25, 1042, 1043), pa.string()),
        1082: pa.date32(),
        **dict.fromkeys((1114, 1184), pa.timestamp("us", tz="UTC")),
    }
    names = [column["name"] for column in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError("the query gives two columns of one name", found=twice, do="name them apart: ... AS name")
    fields = []
    for column in columns:
        kind = _decimal(column["type_modifier"]) if column["type_oid"] == _NUMERIC else types.get(column["type_oid"])
        if kind is None:
            raise InputError(
                f"column {column['name']!r} of the query has a type that is not read",
                found=f"PostgreSQL type {column['type_oid']}",
                expected="boolean, integers, numeric, floats, text, date or timestamp",
                do="cast it in the query, for instance to text",
            )
        fields.append(pa.field(column["name"], kind))
    return pa.schema(fields)


def _decimal(modifier: int) -> pa.DataType:
    """Source: numeric's type modifier is precision << 16 | scale, plus 4; -1 without them."""
    import pyarrow as pa

    if modifier < 4:
        return pa.float64()
    precision, scale = (modifier - 4) >> 16, (modifier - 4) & 0xFFFF
    return pa.decimal128(precision, scale) if precision <= 38 else pa.float64()


def _table(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = []
    for values, field in zip(zip(*rows, strict=True), schema, strict=True):
        plain = [float(v) if isinstance(v, Decimal) else v for v in values] if field.type == pa.float64() else values
        columns.append(pa.array(plain, field.type))
    return pa.Table.from_arrays(columns, schema=schema)
