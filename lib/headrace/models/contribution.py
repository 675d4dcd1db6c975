"""What a frame of samples contributes to a learner, added up where the samples are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from headrace.models.learner import Contribution, Learner
from headrace.models.samples import as_numbers

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def contributed(
    learner: Learner, parameters: Mapping[str, Any], samples: DataFrame, columns: tuple[str, ...]
) -> Contribution:
    """The contribution of all rows, in one job whose tasks send one value each.

    In: `columns`, numeric: the learner's inputs, and of an event the target after them.
    Raises DefinitionError for a column that is missing or not numeric.
    """

    def parts(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        whole = learner.empty(parameters)
        for batch in batches:
            rows = np.column_stack([column.to_numpy(zero_copy_only=False) for column in batch.columns])
            whole = learner.merge(whole, learner.contribution(parameters, rows.astype(np.float64, copy=False)))
        yield pa.RecordBatch.from_pydict({"contribution": [json.dumps(whole)]})

    found = as_numbers(samples, columns).mapInArrow(parts, "contribution string").collect()
    return reduce(learner.merge, (json.loads(row.contribution) for row in found), learner.empty(parameters))
