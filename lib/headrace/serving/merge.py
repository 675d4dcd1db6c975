"""How stored items become an answer: the champion chooses the layer, and the answer says what is counted. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from headrace.errors import StoreError
from headrace.schemas import Vector
from headrace.stores.port import Champion, Held, LedgerEntry, Progress

if TYPE_CHECKING:
    from headrace.algebra import Aggregate


@dataclass(frozen=True)
class Answer:
    """What is served for one entity.

    `generation` is the champion, whose theta made the prediction, also where the stored version is older because
    nothing changed since. `vector` tells what is counted: for each log every event of the entity below it, and none
    from it on. `layer` is where the prediction comes from. `as_of` is the arrival time up to which everything counts.
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

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Answer:
        """Read what `to_json` told.

        >>> told = {"definition": "segments", "entity": "1", "prediction": {"cluster": 3}, "features": {},
        ...         "layer": "batch", "generation": 2, "vector": [["", "file", 7]], "as_of": "2026-01-02T00:00:00Z",
        ...         "age_s": 3.0, "stale": False}
        >>> Answer.from_json(told).to_json() == told
        True
        """
        return cls(**{**told, "as_of": datetime.fromisoformat(told["as_of"])})


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

    @cached_property
    def aggregates(self) -> dict[str, Aggregate]:
        """The features as archived with the generation, for a definition whose clock is the reader's."""
        from headrace.definitions.archive import features_from

        return features_from(dict(self.description))


@dataclass(frozen=True)
class Served:
    """What one request reads once and uses for every key: the pointer, its generation, and how far its stream is.

    The progress must have been read before the items are: an item may only have counted more since.
    """

    champion: Champion
    generation: Generation
    progress: Progress | None = None

    @cached_property
    def vector(self) -> Vector:
        """What is counted of every entity."""
        return self.progress.vector if self.progress is not None else Vector.from_json(self.generation.cut)

    @cached_property
    def as_of(self) -> datetime:
        as_of = self.generation.as_of
        return as_of if self.progress is None else max(as_of, self.progress.as_of)

    def age_s(self, now: datetime) -> float:
        """Seconds from `as_of` to `now`, to the millisecond; 0 when the reader's clock is behind."""
        return max(0.0, round((now - self.as_of).total_seconds(), 3))

    def stale(self, now: datetime) -> bool:
        """Whether the answer is older than the definition allows, or lacks what was served before a flip at once."""
        max_age_s = self.generation.max_age_s
        return self.owes or (max_age_s is not None and self.age_s(now) > max_age_s)

    @cached_property
    def vector_text(self) -> str:
        """`vector` as JSON."""
        return json.dumps(self.vector.to_json(), ensure_ascii=False, separators=(",", ":"))

    @cached_property
    def as_of_text(self) -> str:
        return iso(self.as_of)

    @cached_property
    def owes(self) -> bool:
        """Whether the champion before had counted what this one has not yet."""
        return not self.vector.covers(self.champion.owed)


@dataclass(frozen=True)
class Chosen:
    """What the store holds of one entity that is served: outputs as JSON text, from which layer and item.

    vector: what is counted of this entity beyond what is counted of all.
    """

    outputs: str
    layer: str
    item: str
    vector: Vector = Vector()  # noqa: RUF009 - immutable


def choose(served: Served, held: Held) -> Chosen | None:
    """What of an entity's items is served, or None when the champion sees no version, or a tombstone, and no event
    since.

    held: the batch versions, and the speed item of the champion's generation.
    """
    if held.speed is not None:
        return Chosen(held.speed.outputs, "speed", "the speed item", held.speed.vector)
    chosen = served.champion.choose(held.versions)
    if chosen is None or chosen[1].is_tombstone:
        return None
    return Chosen(chosen[1].outputs or "", "batch", f"version {chosen[0]}")


def read_outputs(definition: str, chosen: Chosen) -> dict[str, Any]:
    """`features` and `prediction`. Raises StoreError for outputs that are not as published."""
    try:
        outputs: dict[str, Any] = json.loads(chosen.outputs)
        outputs["features"], outputs["prediction"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"the outputs of an entity of {definition!r} cannot be read",
            found=f"{type(error).__name__} in {chosen.item}",
            do=f"publish the definition again: headrace run {definition}",
        ) from error
    return outputs


def features_now(served: Served, held: Held, now: datetime) -> dict[str, Any]:
    """The features of an entity at `now`, from its stored states, where the definition's clock is the reader's."""
    from headrace.serving.display import features_at

    batch = served.champion.choose(held.versions)
    states = (batch[1].state if batch is not None else None, held.speed.state if held.speed is not None else None)
    return features_at(served.generation, [state for state in states if state is not None], now)


def answer(definition: str, entity: str, served: Served, held: Held, *, now: datetime) -> Answer | None:
    """The answer for one entity, or None where `choose` finds none.

    With clock `reader` the features are finished at `now` from the stored states; the prediction is always what was
    stored. Raises StoreError for outputs that are not as published.
    """
    chosen = choose(served, held)
    if chosen is None:
        return None
    outputs = read_outputs(definition, chosen)
    features = features_now(served, held, now) if served.generation.clock == "reader" else outputs["features"]
    return Answer(
        definition=definition,
        entity=entity,
        prediction=outputs["prediction"],
        features=features,
        generation=served.champion.generation,
        vector=served.vector.join(chosen.vector).to_json(),
        as_of=served.as_of,
        age_s=served.age_s(now),
        stale=served.stale(now),
        layer=chosen.layer,
    )


def iso(instant: datetime) -> str:
    """ISO 8601 in UTC with Z.

    >>> iso(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05Z'
    """
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
