"""What a frame of samples contributes to a learner, added up where the samples are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.models.learner import Contribution, Learner
from headrace.models.samples import as_numbers
from headrace.models.texts import as_rows, known_texts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def contributed(
    learner: Learner, parameters: Mapping[str, Any], samples: DataFrame, columns: tuple[str, ...]
) -> Contribution:
    """The contribution of all rows, in one job whose tasks send one value each.

    In: `columns`: the learner's inputs, and of an event the target after them; numeric, or the texts of its parameters.
    Raises DefinitionError for a column that is missing or of another kind.
    """
    texts = known_texts(parameters)

    def parts(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        whole = learner.empty(parameters)
        for batch in batches:
            whole = learner.merge(whole, learner.contribution(parameters, as_rows(batch.columns)))
        yield pa.RecordBatch.from_pydict({"contribution": [json.dumps(whole)]})

    found = as_numbers(samples, columns, texts).mapInArrow(parts, "contribution string").collect()
    return reduce(learner.merge, (json.loads(row.contribution) for row in found), learner.empty(parameters))
