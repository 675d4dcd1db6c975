"""Predictions for records, by the champion's parameters as its samples have moved them. Spark-free."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.errors import InputError, nearest
from headrace.models.description import learner_from
from headrace.models.learner import Learner, OfCategories
from headrace.models.texts import coded, known_texts
from headrace.schemas import Vector
from headrace.serving.lookup import MAX_RECORDS, NoLearner
from headrace.serving.merge import Served
from headrace.serving.scores import Outside, Predictions
from headrace.stores.port import ModelItem

_KEPT = 16  # parameters kept solved


@dataclass(frozen=True)
class Scorer:
    """A learner with the parameters it scores with, read once, and what is counted in them."""

    definition: str
    served: Served
    learner: Learner
    parameters: Mapping[str, Any]
    vector: Vector

    def predict(self, records: Sequence[Mapping[str, Any] | None], *, now: datetime) -> Predictions:
        """The learner's outputs for each record that its rule for unseen categories does not set aside.

        records: the learner's inputs by name, finite numbers or texts, as each was in training, or null where it fills
        one in; None has no prediction.
        Raises InputError naming record, field, nearest match.
        """
        if len(records) > MAX_RECORDS:
            raise InputError("too many records in one request", found=len(records), expected=f"<= {MAX_RECORDS}")
        names, texts = tuple(self.parameters["features"]), known_texts(self.parameters)
        there = {number: record for number, record in enumerate(records) if record is not None}
        optional = getattr(self.learner, "optional", ())
        values = [_row(number, record, names, texts, optional) for number, record in there.items()]
        rows = np.array(values, dtype=object if texts else np.float64).reshape(len(there), len(names))
        aside = self.learner.set_aside(self.parameters, rows) if isinstance(self.learner, OfCategories) else {}
        of_row = list(there)
        kept = [row for row in range(len(there)) if row not in aside]
        with np.errstate(over="ignore", invalid="ignore"):  # looked at below
            outputs = self.learner.score(self.parameters, rows[kept])
        columns = {name: told.tolist() for name, told in outputs.items()}
        made: list[dict[str, Any] | None] = [None] * len(records)
        for place, row in zip(kept, zip(*columns.values(), strict=True), strict=True):
            number = of_row[place]
            if any(isinstance(value, float) and not math.isfinite(value) for value in row):
                raise InputError(f"record {number} has no finite prediction", found=dict(there[number]))
            made[number] = dict(zip(columns, row, strict=True))
        return Predictions(
            definition=self.definition,
            predictions=made,
            quarantined={of_row[place]: reason for place, reason in sorted(aside.items())},
            generation=self.served.generation.number,
            vector=self.served.vector,
            parameters_vector=self.vector,
            as_of=self.served.as_of,
            age_s=self.served.age_s(now),
            stale=self.served.stale(now),
            outside=tuple(
                Outside(of_row[kept[place]], name, found, trained)
                for place, name, found, trained in self._outside(names, rows[kept])
            ),
        )

    def completed(
        self,
        records: Sequence[Mapping[str, Any]],
        entities: Sequence[str],
        features: Mapping[str, Mapping[str, Any]],
    ) -> list[Mapping[str, Any] | None]:
        """Each record with what it leaves out of the learner's inputs, taken from its entity's features.

        records: as many as entities, or none: then all is taken from the features. None for an entity without any.
        """
        names = tuple(self.parameters["features"])
        made: list[Mapping[str, Any] | None] = []
        for record, entity in zip(records or [{}] * len(entities), entities, strict=True):
            known = features.get(entity)
            taken = None if known is None else {name: known[name] for name in names if name in known}
            made.append(None if taken is None else {**taken, **record})
        return made

    def _outside(
        self, names: Sequence[str], rows: npt.NDArray[Any]
    ) -> Iterator[tuple[int, str, float, tuple[float, float]]]:
        """Row, name, value and range of what is beyond the training samples'; none where theta does not tell them."""
        trained = self.served.generation.theta.get("ranges") or {}
        limits = np.array([trained.get(name, (-math.inf, math.inf)) for name in names]).reshape(len(names), 2)
        numbers = coded(known_texts(self.parameters), names, rows)  # texts have no range
        for row, place in np.argwhere((numbers < limits[:, 0]) | (numbers > limits[:, 1])).tolist():
            name = names[place]
            yield row, name, float(numbers[row, place]), tuple(trained[name])


class Scoring:
    """Solves each model item once; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._solved: OrderedDict[tuple[str, int, int], Mapping[str, Any]] = OrderedDict()

    def scorer(self, definition: str, served: Served, item: ModelItem | None, *, live: bool) -> Scorer:
        """The champion's learner with its parameters: live, or as fitted.

        item: the model item, read after `served` was; None where there is none, or fitted parameters are wanted.
        Raises NoLearner, InputError when the samples make no parameters.
        """
        generation = served.generation
        described, fitted = generation.description.get("learner"), generation.theta.get("learner")
        if described is None or fitted is None:
            raise NoLearner(f"{definition!r} has no learner", do="look its entities up instead")
        learner, cut = learner_from(described), Vector.from_json(generation.cut)
        # Below the progress everything is counted, in the model item too where events are the samples.
        base = served.vector if live and learner.sample == "event" else cut
        if item is None:
            return Scorer(definition, served, learner, fitted, base)
        key = (definition, generation.number, item.writes)
        with self._lock:
            values = self._solved.get(key)
        if values is None:
            values = learner.live(fitted, json.loads(item.contribution))
            with self._lock:
                self._solved[key] = values
                while len(self._solved) > _KEPT:
                    self._solved.popitem(last=False)
        return Scorer(definition, served, learner, values, base.join(item.vector))


def _row(
    number: int, record: Mapping[str, Any], names: tuple[str, ...], texts: Container[str], optional: Sequence[str]
) -> list[float | str]:
    """The numbers and texts of a record; a number that may be missing is then no number."""
    unknown = sorted(set(record) - set(names))
    if unknown:
        raise InputError(
            f"record {number} has a field that the model does not read",
            found=repr(unknown[0]),
            expected=f"exactly {list(names)}",
            nearest=nearest(unknown[0], names),
        )
    row: list[float | str] = []
    for name in names:
        value = record.get(name)
        if value is None and name in optional:
            row.append(math.nan)
        elif name in texts:
            if not isinstance(value, str):
                raise InputError(
                    f"record {number} lacks a text in {name!r}",
                    found=repr(value) if name in record else f"fields {sorted(record)}",
                    expected="a text, as in training",
                )
            row.append(value)
        elif isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            raise InputError(
                f"record {number} lacks a number in {name!r}",
                found=repr(value) if name in record else f"fields {sorted(record)}",
                expected="a finite number",
            )
        else:
            row.append(float(value))
    return row


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no double holds
        return False
