"""States to finished rows, in Spark, by the same Spark-free `finish` that serving uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.algebra import encode
from headrace.definitions import Definition
from headrace.definitions.finish import finish, stored_outputs

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Theta = Mapping[str, Any]


def features_of(states: DataFrame, definition: Definition, theta: Theta) -> DataFrame:
    """The features alone, as a learner reads them.

    In: entity, one state column a feature. Out: entity, one column a feature. One row an entity on both sides.
    """
    plain = definition.features_only()
    return _mapped(states, lambda table: finish(plain, dict(theta), table))


def finished(states: DataFrame, definition: Definition, theta: Theta) -> DataFrame:
    """What a generation seals and a reader is served.

    In: entity, one state column a feature. Out: entity, state (canonical bytes), outputs (canonical JSON text),
    features (struct), prediction (struct). One row an entity on both sides; nothing is null but features of
    entities whose aggregate saw no value.
    """
    names = tuple(definition.features)

    def table_of(table: pa.Table) -> pa.Table:
        done = finish(definition, dict(theta), table)
        features = done.select(list(names))
        prediction = done.drop_columns(["entity", *names])
        state = [encode(row) for row in table.select(list(names)).to_pylist()]
        outputs = stored_outputs(definition, done)
        columns = {
            "entity": done["entity"],
            "state": pa.array(state, pa.binary()),
            "outputs": pa.array(outputs, pa.string()),
            "features": _struct(features),
        }
        if prediction.num_columns:
            columns["prediction"] = _struct(prediction)
        return pa.table(columns)

    return _mapped(states, table_of)


def _struct(table: pa.Table) -> pa.Array:
    arrays = [column.combine_chunks() for column in table.columns]
    return pa.StructArray.from_arrays(arrays, fields=list(table.schema))


def _mapped(states: DataFrame, table_of: Callable[[pa.Table], pa.Table]) -> DataFrame:
    from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

    empty = table_of(to_arrow_schema(states.schema).empty_table())

    def batches(incoming: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in incoming:
            yield from table_of(pa.Table.from_batches([batch])).to_batches()

    return states.mapInArrow(batches, from_arrow_schema(empty.schema))
