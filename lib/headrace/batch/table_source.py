"""A table as the history of a definition: read once into a snapshot in the lake, which later runs land from."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.batch.made import Made, remember
from headrace.batch.tables import ensured_table
from headrace.config import Settings
from headrace.definitions import Definition
from headrace.errors import InputError
from headrace.schemas import Schema
from headrace.schemas.lake import table_snapshot_path
from headrace.sinks.cassandra import Shape, write_results
from headrace.sinks.parquet import write_in_order
from headrace.sources.cassandra import (
    RESULTS,
    Cassandra,
    TableInfo,
    catalog,
    columns_of,
    read_table,
    require_murmur3,
    required_table,
    table_in,
)
from headrace.sources.cassandra.refusals import named
from headrace.sources.files import fingerprint
from headrace.sources.lake import landed_logs

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Source: the published walkthrough; its column `segment` holds the number of the cluster.
_RESULTS_SHAPE = Shape(
    {"run_id": "text", "segment": "int", "total_customers": "int", "run_date": "date"}, ("run_id",), ("segment",)
)


@dataclass(frozen=True)
class TableSnapshot:
    """One reading of a table, as a Parquet file whose rows are in the order of the table's key.

    sha256: of the file; the same rows give the same. former: those of snapshots that it took the place of.
    """

    table: str
    table_id: str
    file: str
    sha256: str
    rows: int
    read_at: datetime
    former: tuple[str, ...] = ()

    def age(self, now: datetime) -> str:
        """How old it is, for people.

        >>> from datetime import UTC
        >>> TableSnapshot("t", "", "", "", 0, datetime(2024, 5, 1, tzinfo=UTC)).age(datetime(2024, 5, 2, 4, tzinfo=UTC))
        '1 day 4 h'
        """
        minutes = max(0, int((now - self.read_at).total_seconds()) // 60)
        days, hours = minutes // 1440, minutes // 60 % 24
        if days:
            return f"{days} day{'s' * (days > 1)}" + (f" {hours} h" if hours else "")
        return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


@dataclass(frozen=True)
class Landing:
    """What to land: the snapshot's file, whether it takes the place of a former one, and what people should know."""

    path: Path
    replace: bool
    note: str
    snapshot: TableSnapshot


def table_of(definition: Definition) -> str:
    """The name of the table that holds a definition's history. Raises InputError where it has none."""
    if definition.source.history is None:
        raise InputError(
            f"definition {definition.name!r} names no table of its history",
            do="declare it: Stream(..., history=Table('NAME')), or name a file with --input",
        )
    return definition.source.history.name


def checked_table(settings: Settings, cassandra: Cassandra, definition: Definition) -> TableInfo:
    """The table, fit to be read. Raises InputError or SchemaError where it is missing, empty or has other columns."""
    return readable_table(settings, cassandra, table_of(definition), definition.source.schema, (definition.entity,))


def readable_table(
    settings: Settings, cassandra: Cassandra, name: str, schema: Schema, needed: tuple[str, ...] = ()
) -> TableInfo:
    """The table of that name, with those columns and at least one row. Raises as `checked_table` does."""
    table = required_table(cassandra, settings.cassandra.keyspace, name)
    columns_of(table, schema, needed)
    if not cassandra.execute(f"SELECT * FROM {table.cql} LIMIT 1"):
        raise InputError(
            f"table {table.full_name} is empty",
            expected="at least one row",
            do=f"load it: headrace load {table.name} --to cassandra",
        )
    require_murmur3(cassandra)
    return table


def kept_snapshot(settings: Settings, table: str) -> TableSnapshot | None:
    """The snapshot of `keyspace.table` that is in the lake, whole; None without one."""
    folder = table_snapshot_path(settings.lake, table)
    try:
        said: dict[str, Any] = json.loads((folder / "snapshot.json").read_text("utf-8"))
        read_at, former = datetime.fromisoformat(said.pop("read_at")), tuple(said.pop("former"))
        found = TableSnapshot(**said, read_at=read_at, former=former)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if (folder / found.file).is_file() else None


def take_snapshot(
    spark: SparkSession, settings: Settings, table: TableInfo, schema: Schema, *, now: datetime
) -> TableSnapshot:
    """Read the table whole, in parallel by token ranges, into one file of the lake, in the order of its key."""
    folder = table_snapshot_path(settings.lake, table.full_name)
    scratch = folder / f".reading-{os.getpid()}"
    shutil.rmtree(scratch, ignore_errors=True)
    former = kept_snapshot(settings, table.full_name)
    try:
        with named(settings.cassandra, f"reading {table.full_name}"):
            name = table_in(spark, catalog(spark, settings), table, settings.cassandra.retry_s)
            rows = read_table(spark, name, table, schema)
            part = write_in_order(rows, table.key, columns_of(table, schema), scratch)
        if part is None:
            raise InputError(f"table {table.full_name} is empty", expected="at least one row")
        snapshot = _kept(folder, part, table, former, now)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    remember(settings.made, Made("snapshot", str(folder)), now)
    return snapshot


def landing(
    spark: SparkSession, settings: Settings, definition: Definition, table: TableInfo, *, refresh: bool, now: datetime
) -> Landing:
    """The snapshot to land: the one there is, or with `refresh` or without one a new one."""
    found = None if refresh else kept_snapshot(settings, table.full_name)
    was_read = found is None
    found = found or take_snapshot(spark, settings, table, definition.source.schema, now=now)
    logs = landed_logs(spark, settings.lake, definition.source.name) if found.former else []
    at = f"{found.read_at:%Y-%m-%d %H:%M:%SZ}"
    note = (
        f"{found.rows:,} rows of {found.table} were read at {at}"
        if was_read
        else f"{found.table} as it was read at {at}, {found.age(now)} ago; --refresh reads it anew"
    )
    path = table_snapshot_path(settings.lake, found.table) / found.file
    return Landing(path, any(log.partition in found.former for log in logs), note, found)


def write_back(
    settings: Settings, cassandra: Cassandra, run_id: str, made_at: datetime, sizes: dict[int, int], *, now: datetime
) -> str:
    """Write a run's clusters and their sizes to `ml_clustering_results`; the table's full name."""
    table, is_new = ensured_table(settings, cassandra, RESULTS, _RESULTS_SHAPE, now=now)
    made_here = Made("table", table.full_name, cassandra.address, table.id)
    if not is_new and not _is_recorded(settings, made_here):
        remember(settings.made, Made("rows", table.full_name, cassandra.address, table.id, run_id), now)
    write_results(cassandra, table.full_name, run_id, made_at.date(), sizes)
    return table.full_name


def _is_recorded(settings: Settings, made: Made) -> bool:
    from headrace.batch.made import record

    return any((one.kind, one.id) == (made.kind, made.id) for one in record(settings.made))


def _kept(folder: Path, part: Path, table: TableInfo, former: TableSnapshot | None, now: datetime) -> TableSnapshot:
    """Put the file that was written in place, and then the note that names it: whole at any moment."""
    import pyarrow.parquet as pq

    rows = pq.read_metadata(part).num_rows
    sha256 = fingerprint(part).sha256
    path = folder / f"{table.name}-{sha256[:12]}.parquet"
    part.replace(path)
    gone = () if former is None else tuple(dict.fromkeys((*former.former, former.sha256)))
    snapshot = TableSnapshot(
        table.full_name, table.id, path.name, sha256, rows, now, tuple(one for one in gone if one != sha256)
    )
    note = folder / f".snapshot-{os.getpid()}.json"
    note.write_text(json.dumps(asdict(snapshot), default=datetime.isoformat) + "\n", "utf-8")
    note.replace(folder / "snapshot.json")
    for old in folder.glob("*.parquet"):
        if old != path:
            old.unlink()
    return snapshot
