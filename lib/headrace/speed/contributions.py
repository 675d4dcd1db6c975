"""What the events of an interval add to each entity, in Spark: one row of states an entity and log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.algebra import Max, Min, states_by_entity
from headrace.definitions import Definition, prepared
from headrace.errors import DefinitionError
from headrace.schemas import Vector
from headrace.speed.counting import Part

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

LOG = ("_incarnation", "_partition")
_SPAN = {"_first": Min("_position"), "_last": Max("_position"), "_arrived": Max("_arrival_ts")}


def refuse_unstreamable(definition: Definition) -> None:
    """DefinitionError for what the speed layer cannot keep exact."""
    if definition.event_id is not None:
        raise DefinitionError(
            f"definition {definition.name!r} cannot be kept current by a stream",
            found=f"event_id {definition.event_id!r}, whose copies may be anywhere in the log",
            do="leave event_id out where history and stream do not overlap, or serve the batch layer alone",
        )


def contributions(definition: Definition, events: DataFrame, beyond: Mapping[str, Vector] | None = None) -> DataFrame:
    """One row an entity and log, all rows of an entity in one partition.

    In: decoded events. Out: entity string, _incarnation string, _partition string, the states of the features, and
    those of `_first`, `_last` (positions) and `_arrived` (the latest arrival).
    beyond: count the entities it names alone, and of them events at or beyond their vectors.
    """
    from pyspark.sql import functions as F

    counted = prepared(definition, events)
    if beyond is not None:
        counted = _beyond(definition, counted, beyond)
    # One exchange for everything: all aggregations of an entity are satisfied by it.
    spread = counted.repartition(F.col(definition.entity).cast("string"))
    return states_by_entity(spread, definition.entity, {**definition.features, **_SPAN}, apart=LOG)


def _beyond(definition: Definition, counted: DataFrame, beyond: Mapping[str, Vector]) -> DataFrame:
    from pyspark.sql import functions as F

    rows = [(entity, *log, n) for entity, vector in beyond.items() for log, n in (*vector.items(), (("", ""), 0))]
    bounds = counted.sparkSession.createDataFrame(rows, "_who string, _i string, _p string, _next bigint")
    who = F.col(definition.entity).cast("string")
    named = counted.join(F.broadcast(bounds.select("_who").distinct()), who == F.col("_who"), "left_semi")
    own = (who == F.col("_who")) & (F.col("_incarnation") == F.col("_i")) & (F.col("_partition") == F.col("_p"))
    bounded = named.join(F.broadcast(bounds), own, "left")
    return bounded.where(F.col("_position") >= F.coalesce("_next", F.lit(0))).drop("_who", "_i", "_p", "_next")


def parts_of(definition: Definition, batches: Iterable[pa.RecordBatch]) -> dict[str, list[Part]]:
    """entity -> its parts, from the rows of `contributions`."""
    names = tuple(definition.features)
    found: dict[str, list[Part]] = {}
    for row in (row for batch in batches for row in batch.to_pylist()):
        log = (row["_incarnation"], row["_partition"])
        states = {name: row[name] for name in names}
        found.setdefault(row["entity"], []).append(Part(log, row["_first"], row["_last"], states, row["_arrived"]))
    return found
