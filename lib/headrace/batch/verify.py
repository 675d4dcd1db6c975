"""The proof: what is served equals a recomputation from the lake, key by key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.batch.finished import finished
from headrace.batch.train import countable_states
from headrace.config import Settings
from headrace.definitions import Definition
from headrace.definitions.archive import definition_sha256
from headrace.errors import AnswerIsNo, DefinitionError
from headrace.registry import Generation, Registry
from headrace.sources.lake import snapshot
from headrace.stores import open_store

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

SCAN_SEGMENTS = 4
MAX_EXAMPLES = 10


@dataclass(frozen=True)
class Verified:
    """Counts of keys: compared, different, recomputed but not served, served but not recomputed."""

    generation: int
    checked: int
    mismatched: int
    missing: int
    extra: int
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return not (self.mismatched or self.missing or self.extra)

    def to_json(self) -> dict[str, Any]:
        return {
            "checked": self.checked,
            "mismatched": self.mismatched,
            "missing": self.missing,
            "extra": self.extra,
            "examples": self.examples,
            "generation": self.generation,
        }


def verify(
    spark: SparkSession,
    settings: Settings,
    definition: Definition,
    endpoint: str | None,
    *,
    sample: int | None = None,
) -> Verified:
    """Recompute the champion's snapshot from the lake and compare state and outputs with the served items.

    sample: compare that many keys, the same ones each time, instead of all.
    Raises AnswerIsNo where nothing is served yet, DefinitionError when the definition is not the champion's.
    """
    store = open_store(settings.store, endpoint)
    try:
        champion = store.champion(definition.name)
    finally:
        store.close()
    if not champion.generation:
        raise AnswerIsNo(
            f"nothing is served for {definition.name!r} yet", do=f"run it first: headrace run {definition.name}"
        )
    generation = Registry(settings.registry).load(definition.name, champion.generation)
    _require_same_definition(definition, generation)
    events = snapshot(spark, settings.lake, definition.source.name, generation.manifest.delta_version).events
    states, _ = countable_states(definition, events)
    recomputed = finished(states, definition, generation.theta()).select("entity", "state", "outputs")
    served = _served(spark, settings, definition.name, endpoint)
    if sample is not None:
        keep = _sampled(recomputed.select("entity").unionByName(served.select("entity")), sample)
        recomputed, served = (frame.join(keep, "entity", "left_semi") for frame in (recomputed, served))
    return _compared(recomputed, served, champion.generation)


def _require_same_definition(definition: Definition, generation: Generation) -> None:
    ours, archived = definition_sha256(definition), generation.manifest.definition_sha256
    if ours != archived:
        raise DefinitionError(
            f"definition {definition.name!r} changed since generation {generation.manifest.generation} was trained",
            found=f"hash {ours[:16]}",
            expected=f"hash {archived[:16]}",
            do=f"train and promote a generation of it first (headrace run {definition.name}), or verify with the old",
        )


def _served(spark: SparkSession, settings: Settings, name: str, endpoint: str | None) -> DataFrame:
    """One row a key that readers get an answer for: entity, state, outputs."""
    store_settings = settings.store

    def scanned(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        store = open_store(store_settings, endpoint)
        champion = store.champion(name)
        for batch in batches:
            for segment in batch.column(0).to_pylist():
                rows = (
                    (entity, version.state, version.outputs)
                    for entity, versions in store.scan(name, segment, SCAN_SEGMENTS)
                    for _, version in filter(None, [champion.choose(versions)])
                    if not version.is_tombstone
                )
                yield from _in_batches(rows)
        store.close()

    segments = spark.range(SCAN_SEGMENTS, numPartitions=SCAN_SEGMENTS)
    return segments.mapInArrow(scanned, "entity string, state binary, outputs string")


def _in_batches(rows: Iterator[tuple[str, bytes | None, str | None]]) -> Iterator[pa.RecordBatch]:
    schema = pa.schema([("entity", pa.string()), ("state", pa.binary()), ("outputs", pa.string())])
    while held := list(islice(rows, 5000)):
        columns = [pa.array(column, kind.type) for column, kind in zip(zip(*held, strict=True), schema, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _sampled(entities: DataFrame, count: int) -> DataFrame:
    from pyspark.sql import functions as F

    return entities.distinct().orderBy(F.xxhash64("entity"), "entity").limit(count)


def _compared(recomputed: DataFrame, served: DataFrame, generation: int) -> Verified:
    from pyspark.sql import functions as F

    pairs = (
        recomputed.withColumn("here", F.lit(1))
        .alias("r")
        .join(served.withColumn("here", F.lit(1)).alias("s"), "entity", "full_outer")
        .select(
            "entity",
            F.when(F.col("s.here").isNull(), F.lit("missing"))
            .when(F.col("r.here").isNull(), F.lit("extra"))
            .when(_differs("state") | _differs("outputs"), F.lit("mismatched"))
            .alias("finding"),
            F.col("s.outputs").alias("served"),
            F.col("r.outputs").alias("recomputed"),
        )
        .persist()
    )
    try:
        counts = {row["finding"]: row["count"] for row in pairs.groupBy("finding").count().collect()}
        found = pairs.where("finding IS NOT NULL").orderBy("entity").limit(MAX_EXAMPLES).collect()
    finally:
        pairs.unpersist(blocking=True)
    return Verified(
        generation=generation,
        checked=sum(counts.values()),
        mismatched=counts.get("mismatched", 0),
        missing=counts.get("missing", 0),
        extra=counts.get("extra", 0),
        examples=[row.asDict() for row in found],
    )


def _differs(column: str) -> Column:
    from pyspark.sql import functions as F

    return ~F.col(f"r.{column}").eqNullSafe(F.col(f"s.{column}"))
