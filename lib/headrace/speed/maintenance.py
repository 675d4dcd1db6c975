"""Keep a stream's tables in the lake small and quick, without taking away what retained generations read."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from headrace.config import Settings
from headrace.errors import InputError
from headrace.registry import Registry
from headrace.registry.promotion import retained
from headrace.schemas.lake import events_path, quarantine_path
from headrace.sources.lake import is_table, latest_version
from headrace.stores.port import Store

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)
_LOG_DAYS = 30  # what Delta keeps of a table's log by itself
_CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"
_INVENTORY = "path string, length bigint, isDir boolean, modificationTime bigint"
_VIEW = "headrace_files_to_vacuum"


@dataclass(frozen=True)
class Compacted:
    """What became of one table's files; rows and versions stay as they are."""

    table: str
    removed: int
    added: int


@dataclass(frozen=True)
class Pin:
    """A version of the events that generations still in use were trained on."""

    version: int
    generations: tuple[tuple[str, int], ...]  # definition and generation

    def __str__(self) -> str:
        named = ", ".join(f"{definition} {generation}" for definition, generation in self.generations)
        return f"version {self.version} (generations {named})"


@dataclass(frozen=True)
class Vacuumed:
    """What one vacuum did. removed: files by table. kept: files of the events that only pinned versions read."""

    removed: Mapping[str, int]
    kept: int
    pins: tuple[Pin, ...]
    log_days: int = field(default=_LOG_DAYS)


def compact(spark: SparkSession, settings: Settings, stream: str) -> list[Compacted]:
    """Merge the small files of a stream's events and quarantine.

    No row changes, readers of older versions keep their files until a vacuum, and a stream may land meanwhile.
    Raises InputError when the stream has no tables.
    """
    from delta.tables import DeltaTable

    done = []
    for table, path in _tables(spark, settings, stream):
        metrics = DeltaTable.forPath(spark, str(path)).optimize().executeCompaction().collect()[0]["metrics"]
        done.append(Compacted(table, metrics["numFilesRemoved"], metrics["numFilesAdded"]))
    return done


def vacuum(
    spark: SparkSession, settings: Settings, stream: str, store: Store, *, hours: float, now: datetime
) -> Vacuumed:
    """Remove files of a stream's tables that no current version has had for `hours` and no generation in use reads.

    In use are, of every definition over the stream, the generations that are retained for readers and those that are
    not published yet. Files of their versions stay, and so does the table's log, so that the versions can be read.
    hours: no less than the longest write or read of another process takes.
    Raises InputError when the stream has no tables, or where a version in use can no longer be read.
    """
    tables = _tables(spark, settings, stream)
    pins = pinned(settings, stream, store)
    removed, kept, days = {}, 0, _LOG_DAYS
    for table, path in tables:
        needed: set[str] = set()
        if path == events_path(settings.lake, stream) and pins:
            needed = {file for pin in pins for file in _files_of(spark, path, pin)}
            kept = len(needed - _files(spark.read.format("delta").load(str(path))))
            days = _keep_log(spark, path, pins[0], now)
        removed[table] = _remove(spark, path, needed, hours)
    return Vacuumed(removed, kept, tuple(pins), days)


def pinned(settings: Settings, stream: str, store: Store) -> list[Pin]:
    """The versions of a stream's events that generations in use were trained on, the oldest first."""
    registry = Registry(settings.registry)
    found: dict[int, list[tuple[str, int]]] = {}
    for name in registry.definitions():
        champion, ledger = store.champion(name), store.ledger(name)
        kept = retained(champion, ledger, settings.publish.rollback_window)
        published = {entry.generation for entry in ledger}
        for generation in registry.sealed(name):
            is_new = generation > champion.generation and generation not in published
            manifest = registry.peek(name, generation)
            if manifest.stream == stream and (generation in kept or is_new):
                found.setdefault(manifest.delta_version, []).append((name, generation))
    return [Pin(version, tuple(sorted(generations))) for version, generations in sorted(found.items())]


def _tables(spark: SparkSession, settings: Settings, stream: str) -> list[tuple[str, Path]]:
    paths = {"events": events_path(settings.lake, stream), "quarantine": quarantine_path(settings.lake, stream)}
    found = [(table, path) for table, path in paths.items() if is_table(spark, path)]
    if not found:
        raise InputError(f"stream {stream!r} has no tables in the lake", found=settings.lake)
    return found


def _files_of(spark: SparkSession, path: Path, pin: Pin) -> set[str]:
    """The data files of a version. Raises InputError when the table's log no longer tells them."""
    from pyspark.errors import AnalysisException

    try:
        return _files(spark.read.format("delta").option("versionAsOf", pin.version).load(str(path)))
    except AnalysisException as error:
        raise InputError(
            f"{path} can no longer be read as of {pin}",
            found=str(error).splitlines()[0],
            do="nothing was removed; train and promote new generations until it is out of publish.rollback_window, or "
            "make that smaller",
        ) from error


def _files(rows: DataFrame) -> set[str]:
    return {unquote(urlparse(name).path) for name in rows.inputFiles()}


def _keep_log(spark: SparkSession, path: Path, oldest: Pin, now: datetime) -> int:
    """Have Delta keep the table's log for twice the age of the oldest version in use; the days it is kept."""
    from delta.tables import DeltaTable

    table = DeltaTable.forPath(spark, str(path))
    since = latest_version(spark, path) - oldest.version + 1
    made = table.history(since).where(f"version = {oldest.version}").select("timestamp").head()
    properties: dict[str, str] = table.detail().select("properties").collect()[0][0]
    held = properties.get("delta.logRetentionDuration", f"interval {_LOG_DAYS} days").split()
    days = int(held[1]) if held[-1].startswith("day") else _LOG_DAYS
    age = (now - _aware(made["timestamp"])).days if made is not None else 0
    if 2 * age <= days:
        return days
    wanted = _LOG_DAYS * math.ceil(3 * age / _LOG_DAYS)
    log.warning("%s keeps its log for %d days, since %s is %d days old", path, wanted, oldest, age)
    spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('delta.logRetentionDuration' = 'interval {wanted} days')")
    return wanted


def _remove(spark: SparkSession, path: Path, needed: set[str], hours: float) -> int:
    """Vacuum a table but for the files that are needed; how many were removed.

    Delta forgets after a week which files it took out of the table, and then takes any that it does not know for
    left-overs, so it is shown only the files that may go.
    """
    from delta.tables import DeltaTable

    listed = [
        (f"file:{file}", facts.st_size, False, int(facts.st_mtime * 1000))
        for file in path.rglob("*.parquet")
        if "_delta_log" not in file.relative_to(path).parts and str(file) not in needed
        for facts in [file.stat()]
    ]
    spark.createDataFrame(listed, _INVENTORY).createOrReplaceTempView(_VIEW)
    try:
        with _short_retention(spark):
            spark.sql(f"VACUUM delta.`{path}` USING INVENTORY (TABLE {_VIEW}) RETAIN {hours:g} HOURS")
    finally:
        spark.catalog.dropTempView(_VIEW)
    last: Any = DeltaTable.forPath(spark, str(path)).history(1).collect()[0]
    return int(last["operationMetrics"].get("numDeletedFiles", 0)) if last["operation"] == "VACUUM END" else 0


@contextmanager
def _short_retention(spark: SparkSession) -> Iterator[None]:
    before = spark.conf.get(_CHECK, "true") or "true"
    spark.conf.set(_CHECK, "false")
    try:
        yield
    finally:
        spark.conf.set(_CHECK, before)


def _aware(instant: datetime) -> datetime:
    return instant if instant.tzinfo else instant.astimezone(UTC)
