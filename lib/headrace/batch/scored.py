"""Samples scored where they are, by the code that scores one record of a request: the same numbers to the last bit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.definitions.definition import DROP_REASON, Definition
from headrace.definitions.events import marked
from headrace.errors import DefinitionError, InputError
from headrace.evaluate.splitting import Splitting
from headrace.models.each import score_each
from headrace.models.learner import Learner
from headrace.models.samples import require_kinds
from headrace.models.texts import as_rows, known_texts
from headrace.schemas.positions import PLACE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

REASON = "reason"
LABEL = "label"
ACTUAL = "actual"


_REFUSED = re.compile(r"headrace\.errors\.InputError: (.+)")


@contextmanager
def named_refusals() -> Iterator[None]:
    """Raise as InputError what a task refused, such as an unseen category where the rule for it is `fail`."""
    try:
        yield
    except Exception as error:
        refused = _REFUSED.search(str(error))
        if refused is None:
            raise
        raise InputError(refused.group(1)) from error


def required_learner(definition: Definition) -> Learner:
    """The learner of events, or DefinitionError: only these have a label to be told and judged by."""
    if definition.event_learner is None:
        raise DefinitionError(
            f"definition {definition.name!r} has no learner of events",
            found=definition.learner.kind if definition.learner else "no learner",
            expected="a learner whose samples are events, and a target",
            do="look its entities up instead: headrace lookup",
        )
    return definition.event_learner


def part_of(definition: Definition, events: DataFrame, part: Splitting | None) -> DataFrame:
    """The events of a part (None: all) as `marked` gives them, so that dropped ones count in the percentages too."""
    rows = marked(definition, events)
    return rows if part is None else part.parts(rows).training(0)


def inputs_of(definition: Definition, parameters: Mapping[str, Any], rows: DataFrame, *carried: str) -> DataFrame:
    """What is needed of marked events to score them by a learner's parameters.

    Out: the positions; the learner's inputs, doubles or texts as in training; the target as `actual`, a double, and as
    `label`, a text; `drop_reason`; and columns that are `carried` along.
    Raises DefinitionError for a column that is missing or of another kind than in training.
    """
    from pyspark.sql import functions as F

    *inputs, target = definition.sample_columns
    texts = known_texts(parameters)
    require_kinds(rows, definition.sample_columns, texts)
    read = [name if name in texts else F.col(name).cast("double").alias(name) for name in inputs]
    actual = F.col(target).cast("double").alias(ACTUAL)
    return rows.select(*PLACE, *read, actual, F.col(target).cast("string").alias(LABEL), DROP_REASON, *carried)


def told(
    learner: Learner, parameters: Mapping[str, Any], batch: pa.RecordBatch, inputs: tuple[str, ...]
) -> tuple[dict[str, Any], list[str | None]]:
    """The outputs of a batch of `inputs_of`, and why a row has none: dropped in `prepare`, or not to be scored."""
    outputs, refused = score_each(learner, parameters, as_rows(batch.column(name) for name in inputs), inputs)
    dropped = batch.column(DROP_REASON).to_pylist()
    return outputs, [why or refused.get(row) for row, why in enumerate(dropped)]


def scored(definition: Definition, parameters: Mapping[str, Any], rows: DataFrame) -> DataFrame:
    """Marked events with the learner's outputs.

    Out: the positions, `actual` double, `label` string, the outputs as doubles, `reason` string: why there are none.
    """
    learner, inputs = required_learner(definition), definition.sample_columns[:-1]
    outputs = ", ".join(f"`{name}` double" for name in learner.outputs)
    kept = (*PLACE, ACTUAL, LABEL)

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            made, reasons = told(learner, parameters, batch, inputs)
            columns = [batch.column(name) for name in kept] + [pa.array(made[name]) for name in learner.outputs]
            names = [*kept, *learner.outputs, REASON]
            yield pa.RecordBatch.from_arrays([*columns, pa.array(reasons, pa.string())], names=names)

    schema = f"_incarnation string, _partition string, _position bigint, {ACTUAL} double, {LABEL} string"
    return inputs_of(definition, parameters, rows).mapInArrow(score, f"{schema}, {outputs}, {REASON} string")
