"""From states to what is served: features, learner outputs and derived outputs, columnar and without Spark."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.algebra import Clock
from headrace.definitions.definition import Definition
from headrace.errors import DefinitionError, InputError

ENTITY = "entity"


def finish(
    definition: Definition, theta: Mapping[str, Any], states: pa.Table, *, now: datetime | None = None
) -> pa.Table:
    """Finished rows of a generation, a pure function of states, theta and clock.

    In: `entity` string and one column of states per feature. Out: `entity`, the features, the learner's outputs,
    the derived outputs, under their declared names and in that order; as many rows, in the same order.
    `now`, aware, is the instant of the features shown when the definition's clock is `READER`; what a learner or
    a derivation reads is finished at theta's reference always.
    Raises InputError when a learner is given a null or a number that is not finite.
    """
    entity = _whole(states[ENTITY])
    reference = Clock(datetime.fromisoformat(theta["reference"]), theta["zone"])
    features = _features(definition, states, reference, theta)
    columns: dict[str, npt.NDArray[Any]] = {ENTITY: _numpy(entity), **{n: _numpy(a) for n, a in features.items()}}
    outputs: dict[str, pa.Array] = {}
    learner = definition.entity_learner
    if learner is not None and theta.get("learner") is not None:
        names = learner.inputs(tuple(features))
        inputs = np.column_stack([_number(name, columns[name]) for name in names])
        made = learner.score(theta["learner"], inputs)
        outputs |= _declared("learner", learner.outputs, made, len(states))
        columns |= made
    if definition.derive is not None:
        made = definition.derive.apply(columns, theta.get("derive") or {})
        outputs |= _declared("derive", definition.derive.outputs, made, len(states))
    if definition.clock.kind == "reader" and now is not None:
        features = _features(definition, states, Clock(now.astimezone(UTC), theta["zone"]), theta)
    return pa.table({ENTITY: entity, **features, **outputs})


def outputs_json(features: Mapping[str, Any], prediction: Mapping[str, Any]) -> str:
    """What is stored for a reader: one canonical JSON text, keys in declared order, no spaces.

    Timestamps are ISO 8601 in UTC, a list is that of its values; a float that is not finite is refused (InputError).

    >>> outputs_json({"recency": 1, "spent": 2.5}, {"cluster": 3, "segment": "Can't Lose"})
    '{"features":{"recency":1,"spent":2.5},"prediction":{"cluster":3,"segment":"Can\\'t Lose"}}'
    """
    shown = {
        "features": {name: _shown(name, value) for name, value in features.items()},
        "prediction": {name: _shown(name, value) for name, value in prediction.items()},
    }
    return json.dumps(shown, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def stored_outputs(definition: Definition, done: pa.Table) -> list[str]:
    """The canonical JSON text that is stored of each row `finish` gave.

    Features shown at the reader's own now are finished at read time, and left out here.
    """
    names = list(definition.features)
    shows_features = definition.clock.kind != "reader"
    prediction = done.drop_columns([ENTITY, *names])
    shown: list[dict[str, Any]] = done.select(names).to_pylist() if shows_features else [{}] * len(done)
    said: list[dict[str, Any]] = prediction.to_pylist() if prediction.num_columns else [{}] * len(done)
    return [outputs_json(f, p) for f, p in zip(shown, said, strict=True)]


def _features(definition: Definition, states: pa.Table, clock: Clock, theta: Mapping[str, Any]) -> dict[str, pa.Array]:
    return {name: a.finish(_whole(states[name]), clock, theta["types"]) for name, a in definition.features.items()}


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole if isinstance(whole, pa.Array) else pa.concat_arrays(whole.chunks)


def _numpy(array: pa.Array) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values


def _number(name: str, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    if values.dtype.kind not in "iufb":
        raise DefinitionError(
            f"feature {name!r} cannot be an input of a learner",
            found=f"values of type {values.dtype}",
            expected="numbers",
            do="name the features to read in the learner's `features`",
        )
    return values.astype(np.float64)


def _declared(who: str, names: tuple[str, ...], made: Mapping[str, npt.NDArray[Any]], rows: int) -> dict[str, pa.Array]:
    if tuple(made) != names or any(len(values) != rows for values in made.values()):
        raise DefinitionError(
            f"the {who} step did not return what it declares",
            found={name: len(values) for name, values in made.items()},
            expected=f"{list(names)} in this order, {rows} values each",
        )
    # Text has no type of its own in NumPy, and an empty object array none at all.
    return {
        name: pa.array(values, type=pa.string() if values.dtype.kind in "OU" else None) for name, values in made.items()
    }


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"output {name!r} cannot be served", found=value, expected="a finite number or null")
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InputError(f"output {name!r} cannot be served", found=f"{value} without a time zone")
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_shown(name, one) for one in value]
    raise InputError(
        f"output {name!r} cannot be served",
        found=type(value).__name__,
        expected="a number, a text, a timestamp, null or a list of them",
    )
