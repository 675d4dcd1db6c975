"""How a definition stands, as the store alone tells it: aliases, generations, cut, lag, age."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from headrace.errors import StoreError
from headrace.schemas import HISTORY, Vector
from headrace.serving.lookup import Readable, UnknownDefinition
from headrace.serving.merge import Generation, Served, iso
from headrace.stores.port import Champion, LedgerEntry, Progress
from headrace.stores.reports import Report


class Watched(Readable, Protocol):
    """The part of a serving store that the console reads; every `stores.port.Store` is one."""

    def definitions(self) -> list[str]: ...

    def reports(self, definition: str) -> list[Report]: ...


@dataclass(frozen=True)
class Standing:
    """A definition as one reading of the store has it; the champion's progress was read before any item."""

    definition: str
    champion: Champion
    ledger: Mapping[int, LedgerEntry]
    progress: Mapping[int, Progress]

    @classmethod
    def of(cls, store: Watched, definition: str) -> Standing:
        """Read it. Raises UnknownDefinition where nothing of it was ever published."""
        champion = store.champion(definition)
        ledger = {entry.generation: entry for entry in store.ledger(definition)}
        if not ledger:
            raise UnknownDefinition(
                f"nothing was published under definition {definition!r}",
                do=f"check the spelling, or make it: headrace run {definition}",
            )
        open_ones = [g for g, entry in ledger.items() if entry.status == "sealed"]
        read = {g: store.progress(definition, g) for g in open_ones}
        return cls(definition, champion, ledger, {g: p for g, p in read.items() if p is not None})

    @property
    def served(self) -> Served | None:
        """What a reader uses now; None before the first promotion."""
        number = self.champion.generation
        if number == 0:
            return None
        if number not in self.ledger:
            raise _not_in_ledger(self.definition, number)
        return Served(self.champion, Generation.of(self.ledger[number]), self.progress.get(number))

    def summary(self, now: datetime) -> dict[str, Any]:
        """One line of a list of definitions; what is not known before the first promotion is None."""
        served = self.served
        newest = max(self.ledger)
        told = {"definition": self.definition, "generation": None, "generations": len(self.ledger), "newest": newest}
        if served is None:
            return {**told, "as_of": None, "age_s": None, "max_age_s": None, "stale": None, "lag": None}
        return {
            **told,
            "generation": served.generation.number,
            "as_of": iso(served.as_of),
            "age_s": served.age_s(now),
            "max_age_s": served.generation.max_age_s,
            "stale": served.stale(now),
            "lag": _lag(served.progress),
        }

    def detail(self, now: datetime) -> dict[str, Any]:
        """All of it: what is served, and every generation of the table's ledger, newest first."""
        served = self.served
        description: Mapping[str, Any] = served.generation.description if served is not None else {}
        learner = description.get("learner")
        return {
            **self.summary(now),
            "challenger": self.champion.challenger or None,
            "entity": description.get("entity"),
            "features": [feature["name"] for feature in description.get("features", ())],
            "learner": learner.get("kind") if isinstance(learner, Mapping) else None,
            "stream": (description.get("stream") or {}).get("name"),
            "clock": served.generation.clock if served is not None else None,
            "reference": served.generation.theta.get("reference") if served is not None else None,
            "definition_sha256": served.generation.definition_sha256 if served is not None else None,
            "cut": served.generation.cut if served is not None else [],
            "vector": served.vector.to_json() if served is not None else [],
            "owed": self.champion.owed.to_json(),
            "pointer": {
                "epoch": self.champion.epoch,
                "floor": self.champion.floor,
                "skip": sorted(self.champion.skip),
                "previous": list(self.champion.previous),
            },
            "rows": [self._row(self.ledger[g], now) for g in sorted(self.ledger, reverse=True)],
        }

    def _row(self, entry: LedgerEntry, now: datetime) -> dict[str, Any]:
        progress = self.progress.get(entry.generation)
        return {
            "generation": entry.generation,
            "alias": self._alias(entry.generation),
            "status": entry.status,
            "base": entry.base,
            "items": entry.items,
            "as_of": entry.info.get("as_of"),
            "events": sum(int(n) for _, _, n in entry.info.get("cut", ())),
            "gate": _gate(entry),
            "stream": None if progress is None else _stream(progress, now),
        }

    def _alias(self, generation: int) -> str | None:
        if generation == self.champion.generation:
            return "champion"
        if generation == self.champion.challenger:
            return "challenger"
        if generation in self.champion.previous:
            return "former"
        return "skipped" if generation in self.champion.skip else None


def served_now(store: Readable, definition: str, known: Served | None = None) -> Served:
    """What a reader of a definition uses now; of `known`, what was read before, the generation is taken if it is that.

    Raises UnknownDefinition where nothing is promoted.
    """
    champion = store.champion(definition)
    if champion.generation == 0:
        raise UnknownDefinition(
            f"nothing is served under definition {definition!r}",
            do=f"promote a generation: headrace promote {definition}",
        )
    progress = store.progress(definition, champion.generation)
    if known is not None and known.generation.number == champion.generation:
        return Served(champion, known.generation, progress)
    for entry in store.ledger(definition):
        if entry.generation == champion.generation:
            return Served(champion, Generation.of(entry), progress)
    raise _not_in_ledger(definition, champion.generation)


def _gate(entry: LedgerEntry) -> dict[str, Any] | None:
    sealed = entry.info.get("gate")
    if sealed is None:
        return None
    # It brings NumPy, which most definitions do without here.
    from headrace.evaluate.gate import Verdict

    verdict = Verdict.of(sealed)
    return {"passes": not verdict.fails_by, "text": verdict.text}


def _stream(progress: Progress, now: datetime) -> dict[str, Any]:
    return {
        "counted": _of_stream(progress.vector),
        "lag": _lag(progress),
        "as_of": iso(progress.as_of),
        "age_s": max(0.0, round((now - progress.as_of).total_seconds(), 3)),
        "owner": progress.owner,
        "epoch": progress.epoch,
    }


def _lag(progress: Progress | None) -> int | None:
    """Records of the stream that are not counted, of those its driver has heard of; None where none was ever heard."""
    return progress.vector.lacks(progress.head) if progress is not None and progress.head else None


def _of_stream(vector: Vector) -> int:
    return sum(n for (incarnation, _), n in vector.items() if incarnation != HISTORY)


def _not_in_ledger(definition: str, number: int) -> StoreError:
    return StoreError(
        f"the champion of {definition!r} is not in the table's ledger",
        found=f"generation {number}",
        do=f"publish the definition again: headrace run {definition}",
    )
