"""Batch prediction: of events of the lake, or of a file with the schema of training."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.batch.evaluate import held_out_part
from headrace.batch.scored import required_learner
from headrace.batch.sharding import Predicted, predict_batch
from headrace.config import Settings
from headrace.definitions import Definition
from headrace.definitions.events import marked
from headrace.errors import SchemaError, nearest
from headrace.evaluate.splitting import Splitting, with_row_number
from headrace.registry import Registry
from headrace.registry.manifest import require_same
from headrace.sources.failures import named_failures
from headrace.sources.files import fingerprint, read_events
from headrace.sources.lake import events_at

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from headrace.sources.decoded import Decoded


def predict_events(
    spark: SparkSession,
    settings: Settings,
    definition: Definition,
    folder: Path,
    *,
    generation: int,
    part: Splitting | None = None,
    every: bool = False,
    single: bool = False,
    replace: bool = False,
) -> Predicted:
    """Score events of the generation's own snapshot: a part of them (None: what the definition holds out), or every.

    Raises as `predict_batch`, and InputError where nothing says which part.
    """
    required_learner(definition)
    chosen = None if every else held_out_part(definition, part)
    sealed = Registry(settings.registry).load(definition.name, generation)
    version = sealed.manifest.delta_version
    rows = marked(definition, events_at(spark, settings.lake, sealed.manifest.stream, version))
    return predict_batch(
        definition,
        sealed,
        chosen.numbered(rows) if chosen else with_row_number(rows),
        folder,
        {"delta_version": version, **(chosen.to_json() if chosen else {"splitting": None})},
        single=single,
        replace=replace,
    )


def predict_file(
    spark: SparkSession,
    settings: Settings,
    definition: Definition,
    path: Path,
    folder: Path,
    *,
    generation: int,
    now: datetime,
    single: bool = False,
    replace: bool = False,
) -> Predicted:
    """Score the records of a file, which need not be in the lake; the target may be absent.

    Raises SchemaError, before anything is written, for a column that training did not have or that is not there, and
    as `predict_batch`. Rows that cannot be read as declared are counted as failed.
    """
    required_learner(definition)
    sealed = Registry(settings.registry).load(definition.name, generation)
    require_same(definition, sealed.manifest, do="predict with the definition it was trained with, or train again")
    file = fingerprint(path)
    with (
        named_failures(file.name),
        read_events(
            spark,
            file,
            definition.source.schema,
            definition.event_time,
            arrival_ts=now,
            multiline=settings.ingest.multiline,
        ) as decoded,
    ):
        _require_schema(definition, file.name, decoded)
        return predict_batch(
            definition,
            sealed,
            with_row_number(marked(definition, decoded.events)),
            folder,
            {"input_sha256": file.sha256},
            single=single,
            replace=replace,
            failed_before=decoded.by_reason,
        )


def _require_schema(definition: Definition, name: str, decoded: Decoded) -> None:
    """The columns of training, each of them and no other; the target may be told or not."""
    names = definition.source.schema.names
    if decoded.ignored:
        raise SchemaError(
            f"{name} has a column that training did not have",
            found=repr(decoded.ignored[0]),
            expected=f"exactly {list(names)}",
            nearest=nearest(decoded.ignored[0], names),
            do="leave it out",
        )
    absent = [column for column in decoded.absent if column != definition.target]
    if absent:
        raise SchemaError(
            f"{name} lacks column {absent[0]!r}, which training had",
            expected=f"exactly {list(names)}",
            do="add it; its values may be empty where `prepare` allows that",
        )
