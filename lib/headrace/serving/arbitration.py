"""Why an answer is what it is: each item that is held of an entity, and whether readers take it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headrace.serving.merge import Answer, Served, answer
from headrace.stores.port import Champion, Held, SpeedItem, Version


@dataclass(frozen=True)
class Candidate:
    """One item, or one version in it, that could have answered.

    layer: batch or speed. generation: the one it was written for. taken: whether the prediction is from it. counts:
    whether readers look at it at all. why: the rule that decided, as a sentence.
    """

    layer: str
    generation: int
    taken: bool
    counts: bool
    why: str
    tombstone: bool = False
    writes: int | None = None
    vector: list[list[object]] | None = None

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Explanation:
    """The answer for an entity (None: it has none), the pointer it was read by, and the items it was chosen from."""

    definition: str
    entity: str
    answer: Answer | None
    champion: Champion
    candidates: list[Candidate]
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """The explanation as the HTTP API spells it."""
        champion = self.champion
        return {
            "definition": self.definition,
            "entity": self.entity,
            "verdict": self.verdict,
            "answer": None if self.answer is None else self.answer.to_json(),
            "pointer": {
                "generation": champion.generation,
                "floor": champion.floor,
                "skip": sorted(champion.skip),
                "epoch": champion.epoch,
            },
            "candidates": [candidate.to_json() for candidate in self.candidates],
        }


def explain(definition: str, entity: str, served: Served, held: Held, *, now: datetime) -> Explanation:
    """What `answer` says of these items, and why. Raises as `answer`."""
    champion = served.champion
    chosen = champion.choose(held.versions)
    best = chosen[0] if chosen is not None else None
    candidates = [] if held.speed is None else [_speed(held.speed, served)]
    candidates += [
        _batch(number, held.versions[number], champion, best, beaten=held.speed is not None)
        for number in sorted(held.versions, reverse=True)
    ]
    found = answer(definition, entity, served, held, now=now)
    return Explanation(definition, entity, found, champion, candidates, _verdict(held, best, champion, found))


def _speed(item: SpeedItem, served: Served) -> Candidate:
    generation, ahead = served.champion.generation, served.vector.lacks(item.vector)
    why = (
        f"The speed item of the champion, generation {generation}: what the stream added since the cut, finished "
        "together with the batch state; it comes before every batch version."
    )
    if ahead:
        by = f"{ahead:,} position{'s' if ahead > 1 else ''}"
        why += f" It is {by} ahead of the stream's progress: a micro-batch is being written."
    return Candidate(
        "speed",
        served.champion.generation,
        taken=True,
        counts=True,
        why=why,
        writes=item.writes,
        vector=item.vector.to_json(),
    )


def _batch(number: int, version: Version, champion: Champion, best: int | None, *, beaten: bool) -> Candidate:
    taken = number == best and not beaten and not version.is_tombstone
    if number == best:
        why = "The newest version that the champion sees"
        if version.is_tombstone:
            why += ": a tombstone, the entity has no events that count in it."
        elif beaten:
            why += "; its state is in the speed item, which answers."
        elif number < champion.generation:
            why += f": nothing of this entity changed from generation {number} to {champion.generation}."
        else:
            why += "."
    elif number > champion.generation:
        why = f"Above the champion ({champion.generation}): published, not promoted."
    elif number in champion.skip:
        why = "Left out by the champion: rolled back, abandoned, half published or a rival."
    elif number < champion.floor:
        why = f"Below generation {champion.floor}, which was published in full."
    else:
        why = f"Older than generation {best}, which the champion sees too."
    return Candidate(
        "batch", number, taken=taken, counts=champion.sees(number), why=why, tombstone=version.is_tombstone
    )


def _verdict(held: Held, best: int | None, champion: Champion, found: Answer | None) -> str:
    if found is not None and found.layer == "speed":
        return f"The speed layer answers: the stream has counted this entity since the cut of {champion.generation}."
    if found is not None:
        return (
            f"The batch layer answers, by version {best}: the stream has counted nothing of this entity since the cut."
        )
    if not held.versions:
        return "No item is held of this entity: it is unknown, or has no events that count. Keys are exact text."
    if best is None:
        return "Versions are held, but the champion sees none of them."
    return "The newest version that the champion sees is a tombstone: the entity has no events that count any more."
