"""From the events of a stream to the rows a definition counts: copies out, prepared, the rest with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.definitions.definition import DROP_REASON, Definition
from headrace.definitions.load import ship_by_value
from headrace.errors import DefinitionError, nearest
from headrace.schemas import MAX_ENTITY_BYTES, META_COLUMNS
from headrace.schemas.positions import PLACE

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def marked(definition: Definition, events: DataFrame) -> DataFrame:
    """Every event once, prepared, with `drop_reason` telling why a row is not counted (null: it is counted).

    In: the stream's declared columns and the meta columns. Out: what `prepare` returns, and `drop_reason`
    string. Of events that share an `event_id` the one at the least position stays; a null id identifies nothing.
    Streams: batch only where `event_id` is declared, append otherwise.
    Raises DefinitionError when `prepare` loses a column that the definition reads.
    """
    from pyspark.sql import functions as F

    ship_by_value(definition)
    events = _without_copies(definition, events)
    rows = events if definition.prepare is None else definition.prepare(events)
    read = (c for a in definition.features.values() for c in a.columns)
    needed = {definition.entity, *META_COLUMNS, *read, *definition.sample_columns}
    missing = sorted(needed - set(rows.columns))
    if missing:
        raise DefinitionError(
            f"the prepared events of definition {definition.name!r} lack columns it reads",
            found=rows.columns,
            expected=missing,
            nearest=nearest(missing[0], rows.columns),
            do="keep or make them in `prepare`",
        )
    entity = F.col(definition.entity)
    without_key = F.when(entity.isNull(), F.lit(f"no {definition.entity}")).when(
        F.octet_length(entity.cast("string")) > MAX_ENTITY_BYTES, F.lit(f"{definition.entity} too long for a key")
    )
    reason = F.coalesce(F.col(DROP_REASON), without_key) if DROP_REASON in rows.columns else without_key
    return rows.withColumn(DROP_REASON, reason)


def prepared(definition: Definition, events: DataFrame) -> DataFrame:
    """The rows a definition counts: `marked`, of which those without a reason to drop them."""
    from pyspark.sql import functions as F

    return marked(definition, events).where(F.col(DROP_REASON).isNull()).drop(DROP_REASON)


def drop_reasons(definition: Definition, events: DataFrame) -> DataFrame:
    """How many rows are not counted, by reason.

    Out: drop_reason string, rows bigint; one row a reason, most frequent first. Copies of an event by its
    `event_id` are the reason `copy of <event_id>`.
    """
    from pyspark.sql import functions as F

    reasons = marked(definition, events).where(F.col(DROP_REASON).isNotNull()).groupBy(DROP_REASON).agg(_rows())
    if definition.event_id is not None:
        per_event = events.where(F.col(definition.event_id).isNotNull()).groupBy(definition.event_id).agg(_rows())
        copies = per_event.agg(F.sum(F.col("rows") - 1).alias("rows")).where(F.col("rows") > 0)
        reasons = reasons.unionByName(copies.select(F.lit(f"copy of {definition.event_id}").alias(DROP_REASON), "rows"))
    return reasons.orderBy(F.col("rows").desc(), DROP_REASON)


def _rows() -> Column:
    from pyspark.sql import functions as F

    return F.count(F.lit(1)).alias("rows")


def _without_copies(definition: Definition, events: DataFrame) -> DataFrame:
    if definition.event_id is None:
        return events
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    # A null id is made unlike every other by the row's own place.
    same = [F.col(definition.event_id), *(F.when(F.col(definition.event_id).isNull(), F.col(c)) for c in PLACE)]
    first = F.row_number().over(Window.partitionBy(*same).orderBy(*PLACE))
    return events.withColumn("_copy", first).where(F.col("_copy") == 1).drop("_copy")
