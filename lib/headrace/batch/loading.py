"""Load a file into a table of Cassandra: slice by slice, so that a load that was killed goes on where it stopped.

A slice is whole partitions of the table, chosen by a hash of their key. So the lines of a partition are numbered within
its slice, as that is written, and no numbered copy of the whole file is made first.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.batch.tables import ensured_table
from headrace.config import Settings
from headrace.errors import DatabaseRefused, DatabaseUnavailable, InputError, nearest
from headrace.schemas import Schema
from headrace.sinks.cassandra import Shape, append, cql_type
from headrace.sources.cassandra import Cassandra, TableInfo, catalog, require_murmur3, table_in
from headrace.sources.cassandra.refusals import named
from headrace.sources.files import FileFingerprint, fingerprint, read_events
from headrace.transforms.retail import PURCHASE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from headrace.sources.decoded import Decoded

# Rows of one slice, about: what a load that was killed writes again. Every slice looks through all rows that are held,
# so more rows make larger slices rather than more of them.
SLICE_ROWS, MOST_SLICES = 200_000, 10


@dataclass(frozen=True)
class Layout:
    """How rows of a known data set are kept.

    partition: its column; line: a column that numbers the rows of a partition in the file's order, from 1, since the
    file has rows that are equal in every column, and all of them count.
    """

    schema: Schema
    event_time: str
    partition: str
    line: str

    @property
    def shape(self) -> Shape:
        """A price is a double, as the definition reads it: the double that the file's text gives comes back bit for
        bit, where a decimal would go through 38 digits at each end to become it again."""
        types = {one.name: cql_type(one.type) for one in self.schema}
        columns = {self.partition: types.pop(self.partition), self.line: "int", **types}
        return Shape(columns, (self.partition,), (self.line,))


LAYOUTS = {"online_retail": Layout(PURCHASE, "invoice_date", "invoice", "line")}


@dataclass(frozen=True)
class LoadReport:
    """What a load came to. resumed: rows that an earlier, interrupted load had written already."""

    table: str
    source: str
    rows: int
    written: int
    resumed: int
    in_table: int
    quarantined_by_reason: dict[str, int] = field(default_factory=dict)


def layout_of(name: str) -> Layout:
    if name not in LAYOUTS:
        raise InputError(
            f"there is no table {name!r} to load", expected=", ".join(LAYOUTS), nearest=nearest(name, LAYOUTS)
        )
    return LAYOUTS[name]


def load_file(
    spark: SparkSession,
    settings: Settings,
    cassandra: Cassandra,
    name: str,
    path: Path,
    *,
    now: datetime,
    advance: Callable[[int], None] = lambda _: None,
) -> LoadReport:
    """Write a file's rows into the table `name` of the configured keyspace, and count them there.

    What a load of the same file that was interrupted has written is not written again, and a slice that was half
    written is written again by key. Raises InputError, before anything is written, for a file with too many bad rows
    or a table that holds other rows; DatabaseUnavailable, resumable, where Cassandra goes away.
    """
    layout = layout_of(name)
    file = fingerprint(path)
    require_murmur3(cassandra)
    with read_events(
        spark, file, layout.schema, layout.event_time, arrival_ts=now, multiline=settings.ingest.multiline
    ) as decoded:
        _refuse_bad(settings, decoded, file)
        table, _ = ensured_table(settings, cassandra, name, layout.shape, now=now)
        kept_at = settings.home / "loads" / f"{table.id}.json"
        ledger = _Ledger.opened(kept_at, file, slices_of(decoded.good), cassandra, table)
        with named(settings.cassandra, f"loading {table.full_name}"):
            target = table_in(spark, catalog(spark, settings), table, settings.cassandra.retry_s)
            before = _write_slices(decoded.events, layout, target, ledger, advance)
            in_table = spark.table(target).count()
    _refuse_miscount(ledger, table, in_table, decoded.good)
    return LoadReport(
        table=table.full_name,
        source=file.name,
        rows=decoded.good,
        written=decoded.good - before,
        resumed=before,
        in_table=in_table,
        quarantined_by_reason=decoded.by_reason,
    )


def slices_of(rows: int) -> int:
    """How many slices so many rows are written in; by the rows alone, so that a load resumes on any cluster.

    >>> slices_of(20), slices_of(541_909), slices_of(100_000_000)
    (1, 3, 10)
    """
    return min(MOST_SLICES, -(-rows // SLICE_ROWS))


def numbered(events: DataFrame, layout: Layout) -> DataFrame:
    """The columns of the table, with the line of each row within its partition.

    In: the declared columns and `_position`, of every row of each partition that is in it. Streams: batch only.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    order = Window.partitionBy(layout.partition).orderBy("_position")
    return events.withColumn(layout.line, F.row_number().over(order)).select(*layout.shape.columns)


def _write_slices(
    events: DataFrame, layout: Layout, target: str, ledger: _Ledger, advance: Callable[[int], None]
) -> int:
    """Write what is not written yet; the number of rows that were."""
    from pyspark.sql import functions as F

    # By another hash than Spark shuffles by, since with that a slice would fall to some of the tasks only.
    slice_of = F.pmod(F.xxhash64(layout.partition), F.lit(ledger.slices))
    sizes = {row["slice"]: row["count"] for row in events.groupBy(slice_of.alias("slice")).count().collect()}
    before = 0
    for number, rows in sorted(sizes.items()):
        if number in ledger.done:
            before += rows
        else:
            append(numbered(events.where(slice_of == number), layout), target)
            ledger.add(number)
        advance(rows)
    return before


def _refuse_bad(settings: Settings, decoded: Decoded, file: FileFingerprint) -> None:
    limit = settings.ingest.max_quarantine_share
    if decoded.good and decoded.bad / decoded.rows <= limit:
        return
    said = "; ".join(f"{n:,} x {reason}" for reason, n in decoded.by_reason.items())
    raise InputError(
        f"too many rows of {file.name} are bad",
        found=f"{decoded.bad:,} of {decoded.rows:,}: {said}",
        expected=f"at most {limit:.1%}",
        do="nothing was written; to load the others: --set ingest.max_quarantine_share=SHARE",
    )


def _refuse_miscount(ledger: _Ledger, table: TableInfo, found: int, expected: int) -> None:
    if found == expected:
        return
    if found < expected:
        ledger.path.unlink(missing_ok=True)
        raise DatabaseUnavailable(
            f"table {table.full_name} lacks rows after the load",
            found=f"{found:,}",
            expected=f"{expected:,}",
            do="drop the table and load again; every write was acknowledged, so rows were lost or deleted since",
        )
    raise DatabaseRefused(
        f"table {table.full_name} has rows that this file has not",
        found=f"{found:,}",
        expected=f"{expected:,}",
        do="see who else writes it",
    )


@dataclass(frozen=True)
class _Ledger:
    """Which of the slices of which file are in one life of a table, by their numbers."""

    path: Path
    sha256: str
    slices: int
    done: set[int]

    @classmethod
    def opened(cls, path: Path, file: FileFingerprint, slices: int, cassandra: Cassandra, table: TableInfo) -> _Ledger:
        """What an earlier load noted. Raises InputError where the table holds other rows."""
        held = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        if held.get("sha256") == file.sha256:
            # Slices that were cut otherwise are written again: the same rows, by the same keys.
            done = set(held["done"]) if held.get("slices") == slices else set()
            return cls(path, file.sha256, slices, done)
        if cassandra.execute(f"SELECT * FROM {table.cql} LIMIT 1"):
            raise InputError(
                f"table {table.full_name} holds rows that a load of {file.name} did not write",
                do="nothing was written; name another keyspace with --set cassandra.keyspace=NAME, or drop the table "
                "(`headrace cleanup` drops one that a load made)",
            )
        ledger = cls(path, file.sha256, slices, set())
        ledger._write()
        return ledger

    def add(self, number: int) -> None:
        self.done.add(number)
        self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(f".{os.getpid()}")
        said = {"sha256": self.sha256, "slices": self.slices, "done": sorted(self.done)}
        part.write_text(json.dumps(said) + "\n", "utf-8")
        part.replace(self.path)
