"""Keep the events a definition counts clustered by entity, so that one entity's are found without Spark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.config import Settings
from headrace.definitions import Definition
from headrace.definitions.archive import definition_sha256
from headrace.definitions.events import prepared
from headrace.errors import DefinitionError
from headrace.schemas import META_COLUMNS, Vector
from headrace.schemas.lake import by_entity_path
from headrace.sources.by_entity import ENTITY, SEARCHED, note, noted
from headrace.sources.lake import is_table, snapshot
from headrace.speed.ranges import between

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, Row, SparkSession

# An entity is looked for in the files whose span of entities holds it, so files are small, and merged before a look-up
# opens many of them.
_FILE_ROWS = 50_000
_MERGED_AFTER = 12  # runs
_MERGED_FILE_BYTES = 4 << 20


@dataclass(frozen=True)
class Indexed:
    """What one run did. rows: events added; covered: below what everything is in the table now."""

    rows: int
    covered: Vector
    merged: bool


def index(spark: SparkSession, settings: Settings, definition: Definition) -> Indexed:
    """Add what has landed since the last run to the definition's events by entity.

    Runs one after the other; of two at the same time one fails and has done nothing. Raises DefinitionError for a
    definition whose events are told apart by `event_id`, InputError where nothing has landed.
    """
    if definition.event_id is not None:
        raise DefinitionError(
            f"definition {definition.name!r} cannot be answered as of a past instant",
            found=f"event_id {definition.event_id!r}: which copy counts may change with what lands later",
            do="leave event_id out where history and stream do not overlap",
        )
    path = by_entity_path(settings.lake, definition.name, definition_sha256(definition))
    seen = snapshot(spark, settings.lake, definition.source.name)
    run, covered = _standing(spark, path)
    if covered.covers(seen.cut):
        return Indexed(0, covered, merged=False)
    added = _counted(definition, between(seen.events, covered, seen.cut))
    run, covered = run + 1, covered.join(seen.cut)
    once = {"txnAppId": f"headrace/index/{definition.name}", "txnVersion": str(run), "userMetadata": note(run, covered)}
    (
        added.repartitionByRange(ENTITY)
        .sortWithinPartitions(ENTITY)
        .write.format("delta")
        .mode("append")
        .options(maxRecordsPerFile=str(_FILE_ROWS), **once)
        .save(str(path))
    )
    rows = int(_history(spark, path, 1)[0]["operationMetrics"]["numOutputRows"])
    merged = run % _MERGED_AFTER == 0
    if merged:
        _merge(spark, path)
    return Indexed(rows, covered, merged)


def _counted(definition: Definition, events: DataFrame) -> DataFrame:
    """What features read of the prepared events, with the lake's own columns and the entity as text."""
    from pyspark.sql import functions as F

    read = {column for feature in definition.features.values() for column in feature.columns} - META_COLUMNS.keys()
    columns = [F.col(name) for name in (*sorted(read), *META_COLUMNS)]
    return prepared(definition, events).select(F.col(definition.entity).cast("string").alias(ENTITY), *columns)


def _standing(spark: SparkSession, path: Path) -> tuple[int, Vector]:
    """The last run, and below what everything is in the table."""
    if not is_table(spark, path):
        return 0, Vector()
    said = (noted(commit["userMetadata"]) for commit in _history(spark, path, SEARCHED))
    return next((found for found in said if found is not None), (0, Vector()))


def _history(spark: SparkSession, path: Path, count: int) -> list[Row]:
    from delta.tables import DeltaTable

    return DeltaTable.forPath(spark, str(path)).history(count).select("userMetadata", "operationMetrics").collect()


def _merge(spark: SparkSession, path: Path) -> None:
    from delta.tables import DeltaTable

    with _setting(spark, "spark.databricks.delta.optimize.maxFileSize", str(_MERGED_FILE_BYTES)):
        DeltaTable.forPath(spark, str(path)).optimize().executeZOrderBy(ENTITY)


@contextmanager
def _setting(spark: SparkSession, name: str, value: str) -> Iterator[None]:
    before = spark.conf.get(name, None)
    spark.conf.set(name, value)
    try:
        yield
    finally:
        if before is None:
            spark.conf.unset(name)
        else:
            spark.conf.set(name, before)
