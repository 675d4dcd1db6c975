"""Write a sealed generation to the serving store: what differs from its base, from the executors, in batches."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import pyarrow as pa

from headrace.batch.lease import Clock, Heartbeat, Say, holding
from headrace.batch.tasks import interruptible, watching
from headrace.config import PublishSettings, StoreSettings
from headrace.errors import HeadraceError, StoreError, StoreUnavailable, TransientError
from headrace.registry import Generation
from headrace.stores import Opening
from headrace.stores.port import TOMBSTONE, LedgerEntry, Store, Version, Write, WriteReport

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)
Mode = Literal["diff", "full"]
# One row a task; a store's refusal is data, so that Spark does not repeat what the store already repeated.
_COUNTS = ("changed", "removed", "items", "calls", "retried", "throttled")
_ROW = pa.schema([*((name, pa.int64()) for name in _COUNTS), ("error", pa.string()), ("transient", pa.bool_())])
_ROW_SQL = ", ".join(f"{name} bigint" for name in _COUNTS) + ", error string, transient boolean"


@dataclass(frozen=True)
class PublishReport:
    """What one publication did; counts are entities.

    sent = changed + removed for a whole publication; 0 when the generation was sealed in the table already.
    """

    generation: int
    mode: Mode
    changed: int
    removed: int
    unchanged: int
    sent: int
    report: WriteReport
    seconds: float


def publish(
    spark: SparkSession,
    store_settings: StoreSettings,
    endpoint: str | None,
    generation: Generation,
    base: Generation | None,
    *,
    owner: str,
    now: datetime,
    settings: PublishSettings,
    progress: bool = True,
    say: Say = log.info,
) -> PublishReport:
    """Write `generation` to the table and seal it there; readers see nothing of it before it is promoted.

    Only what differs from `base` is sent, if the table's own ledger says that very base is sealed in it; else all.
    An interrupted publication stays `publishing` and is taken up by the next call, whoever makes it.
    owner: `batch.lease.owner_name()`, so that a dead publisher is replaced at once.
    Raises StoreError for a generation that is not above the champion, LeaseHeld, StoreUnavailable.
    """
    if store_settings.kind == "memory":
        raise StoreError("a store in memory cannot be written from executors", do="set store.kind=dynamodb")
    started = monotonic()
    definition, number = generation.manifest.definition, generation.manifest.generation
    opening = Opening(store_settings, endpoint, settings.retry_s)
    store = opening.open()
    try:
        if store_settings.create_table:
            store.prepare()
        with holding(
            store, definition, owner, clock=Clock(now), ttl=timedelta(seconds=settings.lease_s), say=say
        ) as heartbeat:
            ledger = {entry.generation: entry for entry in store.ledger(definition)}
            standing = ledger.get(number)
            against = base if base is not None and _is_sealed(ledger.get(base.manifest.generation), base) else None
            store.open_publication(heartbeat.lease, _entry(generation, against))
            if standing is not None and _is_sealed(standing, generation):
                return _nothing_to_do(standing, generation, monotonic() - started)
            with interruptible(spark):
                changes = _changes(spark, generation, against, written_before=bool(ledger))
                counts = _write(spark, changes, generation, heartbeat, opening=opening, progress=progress)
            store.seal_publication(heartbeat.lease, number, counts["items"])
    finally:
        store.close()
    report = PublishReport(
        generation=number,
        mode="full" if against is None else "diff",
        changed=counts["changed"],
        removed=counts["removed"],
        unchanged=generation.manifest.entities - counts["changed"],
        sent=counts["items"],
        report=WriteReport(*(counts[name] for name in ("items", "calls", "retried", "throttled"))),
        seconds=round(monotonic() - started, 3),
    )
    log.info("published %s: %s", definition, report)
    return report


def _is_sealed(entry: LedgerEntry | None, generation: Generation) -> bool:
    return entry is not None and entry.status == "sealed" and entry.manifest_sha256 == generation.manifest_sha256


def _entry(generation: Generation, base: Generation | None) -> LedgerEntry:
    """What the table's ledger says of a generation: all that readers need, so that serving has no registry."""
    manifest, theta = generation.manifest, generation.theta()
    info: dict[str, Any] = {
        "cut": manifest.cut,
        "as_of": manifest.as_of.isoformat(),
        "definition_sha256": manifest.definition_sha256,
        "max_age_s": manifest.max_age_s,
        "clock": manifest.clock,
        "description": generation.description(),
        # What a reader scores by; generations of an earlier version tell no ranges.
        "theta": {name: theta.get(name) for name in ("reference", "zone", "types", "learner", "ranges")},
        **({"gate": manifest.gate} if manifest.gate is not None else {}),
    }
    return LedgerEntry(
        generation=manifest.generation,
        status="publishing",
        base=None if base is None else base.manifest.generation,
        manifest_sha256=generation.manifest_sha256,
        info=info,
    )


def _nothing_to_do(entry: LedgerEntry, generation: Generation, seconds: float) -> PublishReport:
    mode: Mode = "full" if entry.base is None else "diff"
    return PublishReport(
        entry.generation, mode, 0, 0, generation.manifest.entities, 0, WriteReport(), round(seconds, 3)
    )


def _changes(
    spark: SparkSession, generation: Generation, base: Generation | None, *, written_before: bool
) -> DataFrame:
    """What is to be written: entity, state and outputs (both null: a tombstone), exists (a guess, for the store).

    Grain: one row an entity whose state or outputs differ from the base's, byte by byte.
    """
    from pyspark.sql import functions as F

    ours = spark.read.parquet(str(generation.state_path)).select("entity", "state", "outputs")
    if base is None:
        return ours.withColumn("exists", F.lit(written_before))
    theirs = spark.read.parquet(str(base.state_path)).select(
        "entity", F.col("state").alias("base_state"), F.col("outputs").alias("base_outputs")
    )
    same = F.col("state").eqNullSafe(F.col("base_state")) & F.col("outputs").eqNullSafe(F.col("base_outputs"))
    return (
        ours.join(theirs, "entity", "full_outer")
        .where(~same)
        .select("entity", "state", "outputs", F.col("base_state").isNotNull().alias("exists"))
    )


def _write(
    spark: SparkSession,
    changes: DataFrame,
    generation: Generation,
    heartbeat: Heartbeat,
    *,
    opening: Opening,
    progress: bool,
) -> dict[str, int]:
    """Write every change from the executors; the counts of all tasks together."""
    definition, number = generation.manifest.definition, generation.manifest.generation

    def written(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        store = opening.open()
        try:
            yield _written(store, definition, number, batches)
        finally:
            store.close()

    group = f"publish {definition} {number} {uuid4()}"
    heartbeat.on_loss = lambda: spark.sparkContext.cancelJobGroup(group)
    try:
        with watching(spark, group, f"publishing {definition} {number}", shown=progress):
            rows = changes.mapInArrow(written, _ROW_SQL).collect()  # one row a task
    except Exception:
        heartbeat.check()
        raise
    heartbeat.check()
    for row in rows:
        if row.error is not None:
            raise StoreUnavailable(row.error) if row.transient else StoreError(row.error)
    return {name: sum(row[name] for row in rows) for name in _COUNTS}


def _written(store: Store, definition: str, generation: int, batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """Write one task's rows; its counts, or the error that ended it."""
    counts = dict.fromkeys(_COUNTS, 0)
    error, transient = None, False

    def writes() -> Iterator[Write]:
        for batch in batches:
            columns = (batch.column(name).to_pylist() for name in ("entity", "state", "outputs", "exists"))
            for entity, state, outputs, exists in zip(*columns, strict=True):
                version = TOMBSTONE if state is None else Version(state, outputs)
                counts["removed" if state is None else "changed"] += 1
                yield Write(entity, version, exists)

    try:
        report = store.write_versions(definition, generation, writes())
        counts |= {name: getattr(report, name) for name in ("items", "calls", "retried", "throttled")}
    except HeadraceError as refusal:
        error, transient = str(refusal), isinstance(refusal, TransientError)
    return pa.RecordBatch.from_pylist([{**counts, "error": error, "transient": transient}], schema=_ROW)
