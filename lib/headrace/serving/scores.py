"""What `:predict` answers, for the server and the client alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headrace.schemas import Vector
from headrace.serving.merge import iso


@dataclass(frozen=True)
class Outside:
    """A value of a record that is less than the least or more than the greatest one that was trained on."""

    record: int
    field: str
    found: float
    trained: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        return {"record": self.record, "field": self.field, "found": self.found, "trained": list(self.trained)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Outside:
        least, greatest = told["trained"]
        return cls(told["record"], told["field"], told["found"], (least, greatest))


@dataclass(frozen=True)
class Predictions:
    """One prediction a record, and what made them.

    quarantined: record number -> why it was set aside; its prediction is None.
    outside: values beyond what any training sample had; they are scored all the same.
    missing: entities that were to complete a record and have no features; the predictions are None.
    vector: what is counted of every entity. parameters_vector: what is counted in the parameters: every sample below
    it, and none from it on; for fitted parameters the generation's cut.
    """

    definition: str
    predictions: list[dict[str, Any] | None]
    quarantined: dict[int, str]
    generation: int
    vector: Vector
    parameters_vector: Vector
    as_of: datetime
    age_s: float
    stale: bool
    outside: Sequence[Outside] = ()
    missing: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """The answer as the contract spells it."""
        return {
            "definition": self.definition,
            "predictions": self.predictions,
            "quarantined": [{"record": number, "reason": reason} for number, reason in self.quarantined.items()],
            "generation": self.generation,
            "vector": self.vector.to_json(),
            "parameters_vector": self.parameters_vector.to_json(),
            "as_of": iso(self.as_of),
            "age_s": self.age_s,
            "stale": self.stale,
            "outside": [one.to_json() for one in self.outside],
            "missing": list(self.missing),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Predictions:
        """Read what `to_json` told.

        >>> told = {"definition": "rides", "predictions": [{"prediction": 1.5}, None], "generation": 2,
        ...         "quarantined": [{"record": 1, "reason": "new"}], "vector": [],
        ...         "parameters_vector": [], "as_of": "2026-01-02T00:00:00Z", "age_s": 3.0, "stale": False,
        ...         "outside": [{"record": 0, "field": "wind", "found": 99.0, "trained": [0.0, 57.0]}], "missing": []}
        >>> Predictions.from_json(told).to_json() == told
        True
        """
        vectors = {name: Vector.from_json(told[name]) for name in ("vector", "parameters_vector")}
        aside = {one["record"]: one["reason"] for one in told["quarantined"]}
        beyond = tuple(Outside.from_json(one) for one in told["outside"])
        at = datetime.fromisoformat(told["as_of"])
        read = {"quarantined": aside, "as_of": at, "outside": beyond, "missing": tuple(told["missing"])}
        return cls(**{**told, **vectors, **read})
