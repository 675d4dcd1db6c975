"""How far the speed layer of each generation is, as the store and the stream tell it, without Spark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from headrace.schemas import HISTORY, Vector
from headrace.stores.port import Store


@dataclass(frozen=True)
class Standing:
    """One generation whose stream was counted at least once.

    role: champion, challenger or former. counted: records of the stream below its progress. lag: records the stream
    holds beyond it, None where the stream does not answer. age_s: seconds since everything up to then is counted.
    """

    definition: str
    generation: int
    role: str
    counted: int
    lag: int | None
    age_s: float
    owner: str
    epoch: int


def standings(store: Store, definition: str, head: Callable[[str], Vector | None], now: datetime) -> list[Standing]:
    """The generations of a definition that a stream keeps, or kept, current; by number.

    head: where the stream of a name ends, None where it does not answer.
    """
    champion = store.champion(definition)
    found = []
    for entry in store.ledger(definition):
        progress = store.progress(definition, entry.generation)
        if progress is None or entry.status == "closed":
            continue
        below = champion.generation > entry.generation or entry.generation in champion.previous
        role = "champion" if entry.generation == champion.generation else "former" if below else "challenger"
        stream = entry.info["description"]["stream"]["name"]
        found.append(
            Standing(
                definition=definition,
                generation=entry.generation,
                role=role,
                counted=sum(n for (incarnation, _), n in progress.vector.items() if incarnation != HISTORY),
                lag=_lag(head(stream), progress.vector),
                age_s=max(0.0, round((now - progress.as_of).total_seconds(), 3)),
                owner=progress.owner,
                epoch=progress.epoch,
            )
        )
    return found


def _lag(head: Vector | None, vector: Vector) -> int | None:
    return None if head is None else vector.lacks(head)
