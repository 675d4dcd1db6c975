"""The proof: what is served equals a recomputation from the lake, key by key, at the generation and vector served."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.algebra import decode, encode
from headrace.batch.finished import finished
from headrace.batch.train import countable_states
from headrace.config import Settings
from headrace.definitions import Definition
from headrace.definitions.load import ship_by_value
from headrace.errors import ChampionMoved
from headrace.registry import Generation
from headrace.schemas import HISTORY, META_COLUMNS, Vector
from headrace.sources.lake import events_at
from headrace.speed.counting import merged
from headrace.speed.lake_wait import LAKE_WAIT_S, await_lake
from headrace.speed.ranges import between
from headrace.speed.served import generation_served
from headrace.speed.verify_model import model_finding
from headrace.stores import Opening
from headrace.stores.port import Champion
from headrace.stores.reports import Report

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

SCAN_SEGMENTS = 4
MAX_EXAMPLES = 10
_BATCH = pa.schema([("entity", pa.string()), ("state", pa.binary()), ("outputs", pa.string())])
_PLACE = pa.struct([("incarnation", pa.string()), ("partition", pa.string()), ("next", pa.int64())])
_SPEED = pa.schema([*_BATCH, ("vector", pa.list_(_PLACE))])


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

    def to_report(self, at: datetime) -> Report:
        """The finding as the store keeps it for the console."""
        if self.equal:
            told = f"all {self.checked:,} keys compared are as recomputed from the lake"
        else:
            told = (
                f"{self.checked:,} keys: {self.mismatched:,} mismatched, {self.missing:,} missing, {self.extra:,} extra"
            )
        # Examples name entities: they are for the terminal of whoever ran the proof.
        facts = {name: value for name, value in self.to_json().items() if name != "examples"}
        return Report("verify", at, self.generation, self.equal, told, facts)


def verify(
    spark: SparkSession,
    settings: Settings,
    definition: Definition,
    endpoint: str | None,
    *,
    sample: int | None = None,
    lake_wait_s: float = LAKE_WAIT_S,
) -> Verified:
    """Recompute from the lake what readers are served now, and compare state and outputs of every key.

    What samples have added to the learner's parameters is compared too, and is a mismatch of its own.

    Each key is recomputed at the vector its answer carries: the progress of the champion's stream, and beyond it what
    its own item has counted. sample: compare that many keys, the same ones each time, instead of all.
    Raises AnswerIsNo where nothing is served yet, DefinitionError when the definition is not the champion's,
    TransientError when the lake does not hold yet what is served, ChampionMoved when there was a flip meanwhile.
    """
    opening = Opening(settings.store, endpoint, settings.publish.retry_s)
    store = opening.open()
    try:
        champion = store.champion(definition.name)
        generation = generation_served(settings, definition, champion, ", or verify with the old")
        # Before the items: they may only have counted more since.
        progress = store.progress(definition.name, champion.generation)
        cut = Vector.from_json(generation.manifest.cut)
        counted = progress.vector if progress is not None else cut
        ship_by_value(definition)
        speed = _speed_items(spark, opening, definition.name, champion.generation).persist()
        try:
            events = _events(spark, settings, definition, generation, counted=counted, speed=speed, wait_s=lake_wait_s)
            states, _ = countable_states(definition, events)
            recomputed = finished(states, definition, generation.theta()).select("entity", "state", "outputs")
            served = _merged(definition, _batch_items(spark, opening, definition.name, champion), speed)
            if sample is not None:
                keep = _sampled(recomputed.select("entity").unionByName(served.select("entity")), sample)
                recomputed, served = (frame.join(keep, "entity", "left_semi") for frame in (recomputed, served))
            found = _compared(recomputed, served, champion.generation)
            model = store.read_model(definition.name, champion.generation)
            differing = model_finding(
                spark, settings, definition, generation, counted=counted, item=model, wait_s=lake_wait_s
            )
            if differing is not None:
                found = replace(
                    found, mismatched=found.mismatched + 1, examples=[differing, *found.examples][:MAX_EXAMPLES]
                )
        finally:
            speed.unpersist(blocking=True)
        if store.champion(definition.name).generation != champion.generation:
            raise ChampionMoved(f"the champion of {definition.name!r} changed while it was verified", do="verify again")
        return found
    finally:
        store.close()


def _events(
    spark: SparkSession,
    settings: Settings,
    definition: Definition,
    generation: Generation,
    *,
    counted: Vector,
    speed: DataFrame,
    wait_s: float,
) -> DataFrame:
    """The events each key has counted: those before the cut as they were trained on, then those of the stream."""
    from pyspark.sql import functions as F

    stream, manifest = definition.source.name, generation.manifest
    cut = Vector.from_json(manifest.cut)
    columns = [*definition.source.schema.names, *META_COLUMNS]
    before = events_at(spark, settings.lake, stream, manifest.delta_version).select(*columns)
    # Names with an underscore, which no column of an event has.
    names = ("_life", "_part", "_next")
    places = speed.select(F.col("entity").alias("_who"), F.explode("vector").alias("_at")).select("_who", "_at.*")
    places = places.toDF("_who", *names)
    ends = places.groupBy("_life", "_part").agg(F.max("_next")).collect()
    furthest = counted.join(Vector({(end[0], end[1]): end[2] for end in ends}))
    live = Vector({log: n for log, n in furthest.items() if log[0] != HISTORY and n > cut.get(log, 0)})
    if not live:
        return between(before, Vector(), cut)
    await_lake(spark, settings, stream, live, wait_s)
    since = between(events_at(spark, settings.lake, stream).select(*columns), cut, live)
    base = spark.createDataFrame([(*log, n) for log, n in counted.items()], "_life string, _part string, _base bigint")
    own = (F.col("_incarnation") == F.col("_life")) & (F.col("_partition") == F.col("_part"))
    is_its = F.col(definition.entity).cast("string") == F.col("_who")
    reached = since.join(F.broadcast(base), own, "left").drop("_life", "_part").join(places, own & is_its, "left")
    is_counted = F.col("_position") < F.greatest(F.coalesce("_base", F.lit(0)), F.coalesce("_next", F.lit(0)))
    return between(before, Vector(), cut).unionByName(reached.where(is_counted).select(*columns))


def _batch_items(spark: SparkSession, opening: Opening, name: str, champion: Champion) -> DataFrame:
    """One row a key that the champion sees a version of: entity, state, outputs."""

    def rows(segment: int) -> Iterator[tuple[Any, ...]]:
        store = opening.open()
        for entity, versions in store.scan(name, segment, SCAN_SEGMENTS):
            chosen = champion.choose(versions)
            if chosen is not None and not chosen[1].is_tombstone:
                yield entity, chosen[1].state, chosen[1].outputs
        store.close()

    return _scanned(spark, rows, _BATCH)


def _speed_items(spark: SparkSession, opening: Opening, name: str, generation: int) -> DataFrame:
    """One row a key with a speed item: entity, state, outputs, vector."""

    def rows(segment: int) -> Iterator[tuple[Any, ...]]:
        store = opening.open()
        for entity, item in store.scan_speed(name, generation, segment, SCAN_SEGMENTS):
            places = [{"incarnation": i, "partition": p, "next": n} for (i, p), n in item.vector.items()]
            yield entity, item.state, item.outputs, places
        store.close()

    return _scanned(spark, rows, _SPEED)


def _scanned(spark: SparkSession, rows: Callable[[int], Iterator[tuple[Any, ...]]], schema: pa.Schema) -> DataFrame:
    from pyspark.sql.pandas.types import from_arrow_schema

    def scanned(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for segment in batch.column(0).to_pylist():
                found = rows(segment)
                while held := list(islice(found, 5000)):
                    columns = [pa.array(c, kind.type) for c, kind in zip(zip(*held, strict=True), schema, strict=True)]
                    yield pa.RecordBatch.from_arrays(columns, schema=schema)

    segments = spark.range(SCAN_SEGMENTS, numPartitions=SCAN_SEGMENTS)
    return segments.mapInArrow(scanned, from_arrow_schema(schema))


def _merged(definition: Definition, batch: DataFrame, speed: DataFrame) -> DataFrame:
    """What readers get of each key: entity, the state of both layers together, outputs (the speed layer's if any)."""
    from pyspark.sql import functions as F
    from pyspark.sql.pandas.types import from_arrow_schema

    features = definition.features
    both = batch.join(
        speed.select("entity", F.col("state").alias("since"), F.col("outputs").alias("live")), "entity", "full_outer"
    )

    def whole(row: Mapping[str, Any]) -> bytes:
        if row["state"] is None or row["since"] is None:
            return bytes(row["state"] or row["since"])
        return encode(merged(features, decode(row["state"]), decode(row["since"])))

    def table_of(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for one in batches:
            rows = one.to_pylist()
            columns = (
                [row["entity"] for row in rows],
                [whole(row) for row in rows],
                [row["live"] or row["outputs"] for row in rows],
            )
            arrays = [pa.array(c, kind.type) for c, kind in zip(columns, _BATCH, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=_BATCH)

    return both.mapInArrow(table_of, from_arrow_schema(_BATCH))


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
