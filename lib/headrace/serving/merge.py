"""How a stored item becomes an answer: the champion chooses the version, its generation says cut and age. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from headrace.errors import StoreError
from headrace.stores.port import Champion, LedgerEntry, Version

if TYPE_CHECKING:
    from headrace.algebra import Aggregate


@dataclass(frozen=True)
class Answer:
    """What is served for one entity.

    `generation` is the champion: its cut is `vector` and its theta made the prediction, also where the stored
    version is older because nothing changed since. `as_of` is the arrival time up to which everything is counted.
    """

    definition: str
    entity: str
    prediction: Mapping[str, Any]
    features: Mapping[str, Any]
    generation: int
    vector: list[list[object]]
    as_of: datetime
    age_s: float
    stale: bool
    layer: str = "batch"

    def to_json(self) -> dict[str, Any]:
        """The answer as the contract spells it."""
        return {
            "definition": self.definition,
            "entity": self.entity,
            "prediction": dict(self.prediction),
            "features": dict(self.features),
            "layer": self.layer,
            "generation": self.generation,
            "vector": self.vector,
            "as_of": iso(self.as_of),
            "age_s": self.age_s,
            "stale": self.stale,
        }


@dataclass(frozen=True)
class Generation:
    """What a reader needs of the generation it serves, as the table's ledger holds it."""

    number: int
    cut: list[list[object]]
    as_of: datetime
    definition_sha256: str
    max_age_s: float | None
    clock: str
    description: Mapping[str, Any]
    theta: Mapping[str, Any]

    @classmethod
    def of(cls, entry: LedgerEntry) -> Generation:
        """Read a ledger entry. Raises StoreError when it lacks what readers need.

        >>> info = {"cut": [["", "f", 3]], "as_of": "2026-01-02T00:00:00Z", "definition_sha256": "d",
        ...         "max_age_s": None, "clock": "cut", "description": {}, "theta": {}}
        >>> Generation.of(LedgerEntry(4, "sealed", None, "m", info=info)).cut
        [['', 'f', 3]]
        """
        info = entry.info
        try:
            as_of = datetime.fromisoformat(info["as_of"])
            if as_of.tzinfo is None:
                raise ValueError("as_of has no time zone")  # noqa: TRY301
            return cls(
                number=entry.generation,
                cut=[list(row) for row in info["cut"]],
                as_of=as_of.astimezone(UTC),
                definition_sha256=str(info["definition_sha256"]),
                max_age_s=None if info["max_age_s"] is None else float(info["max_age_s"]),
                clock=str(info["clock"]),
                description=info["description"],
                theta=info["theta"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"the ledger entry of generation {entry.generation} cannot be read", found=repr(error)
            ) from error

    def age_s(self, now: datetime) -> float:
        """Seconds from `as_of` to `now`, to the millisecond; 0 when the reader's clock is behind."""
        return max(0.0, round((now - self.as_of).total_seconds(), 3))

    def stale(self, now: datetime) -> bool:
        return self.max_age_s is not None and self.age_s(now) > self.max_age_s

    @cached_property
    def aggregates(self) -> dict[str, Aggregate]:
        """The features as archived with the generation, for a definition whose clock is the reader's."""
        from headrace.definitions.archive import features_from

        return features_from(dict(self.description))


def answer(
    definition: str,
    entity: str,
    champion: Champion,
    generation: Generation,
    versions: Mapping[int, Version],
    *,
    now: datetime,
) -> Answer | None:
    """The answer for one entity, or None when the champion sees no version of it, or a tombstone.

    `generation` is the champion's. With clock `reader` the features are finished at `now` from the stored state;
    the prediction is always what was stored. Raises StoreError for outputs that are not as published.
    """
    chosen = champion.choose(versions)
    if chosen is None or chosen[1].is_tombstone:
        return None
    stored = chosen[1]
    try:
        outputs = json.loads(stored.outputs or "")
        features, prediction = outputs["features"], outputs["prediction"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"the outputs of an entity of {definition!r} cannot be read",
            found=f"{type(error).__name__} in version {chosen[0]}",
            do=f"publish the definition again: headrace run {definition}",
        ) from error
    if generation.clock == "reader" and stored.state is not None:
        from headrace.serving.display import features_at

        features = features_at(generation, stored.state, now)
    return Answer(
        definition=definition,
        entity=entity,
        prediction=prediction,
        features=features,
        generation=champion.generation,
        vector=generation.cut,
        as_of=generation.as_of,
        age_s=generation.age_s(now),
        stale=generation.stale(now),
    )


def iso(instant: datetime) -> str:
    """ISO 8601 in UTC with Z.

    >>> iso(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05Z'
    """
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
