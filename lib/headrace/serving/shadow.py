"""The challenger in the champion's shadow: what readers would be answered if it were promoted now, entity by entity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from headrace.errors import AnswerIsNo
from headrace.evaluate.comparison import Comparison
from headrace.registry.promotion import view
from headrace.serving.merge import Generation, Served, answer
from headrace.serving.overview import served_now
from headrace.stores.port import Held, Store
from headrace.stores.reports import Report

_CHUNK = 100  # what one read takes


@dataclass(frozen=True)
class Shadowed:
    """A comparison, and how far each side had counted when it was made.

    behind, ahead: positions that the champion has counted and the challenger has not, and the other way round: what
    differs because of them is no difference of the generations.
    """

    definition: str
    champion: int
    challenger: int
    behind: int
    ahead: int
    whole: bool
    found: Comparison

    def to_json(self) -> dict[str, Any]:
        own = {"definition": self.definition, "champion": self.champion, "challenger": self.challenger}
        return {**own, "behind": self.behind, "ahead": self.ahead, "whole": self.whole, **self.found.to_json()}

    @property
    def text(self) -> str:
        """The finding in a sentence."""
        found = self.found
        told = (
            f"generation {self.challenger} against champion {self.champion}: {found.differing:,} of {found.compared:,} "
            f"predictions differ ({100 * found.share:.1f} %)"
        )
        if self.behind or self.ahead:
            told += f"; it has counted {self.behind:,} positions less and {self.ahead:,} more"
        return told

    def to_report(self, at: datetime) -> Report:
        """The finding as the store keeps it for the console; examples name entities, and stay out of it."""
        facts = {name: value for name, value in self.to_json().items() if name not in ("examples", "definition")}
        return Report("compare", at, self.challenger, None, self.text, facts)


def shadow(
    store: Store,
    definition: str,
    *,
    now: datetime,
    generation: int | None = None,
    sample: int | None = None,
    advance: Callable[[int], None] = lambda _n: None,
) -> Shadowed:
    """Answer stored entities by the champion and by the challenger, each at all that it has counted, and compare.

    generation: compare that one; None: the challenger that is named. sample: at most so many entities, in the table's
    own order, which for DynamoDB is that of a hash of the key. Compares predictions; where there are none, features.
    Raises UnknownDefinition without a champion, AnswerIsNo without a challenger or for one that is not sealed here.
    """
    champion = served_now(store, definition)
    ledger = {entry.generation: entry for entry in store.ledger(definition)}
    chosen = generation or champion.champion.challenger
    entry = ledger.get(chosen)
    if entry is None or entry.status != "sealed":
        raise AnswerIsNo(
            f"{definition!r} has no challenger"
            if not chosen
            else f"generation {chosen} of {definition!r} cannot be compared",
            found="none is named" if not chosen else entry.status if entry is not None else "it is not in the table",
            do=f"name one: headrace promote {definition} -g N --as challenger",
        )
    # The pointer that a promotion would write, but for what it changes of nobody's answers.
    challenger = Served(view(ledger.values(), chosen), Generation.of(entry), store.progress(definition, chosen))
    found = Comparison()
    entities = _entities(store, definition)
    chosen_ones = islice(entities, sample)
    count = 0
    while some := list(islice(chosen_ones, _CHUNK)):
        told = [_outputs(store, definition, some, served, now) for served in (champion, challenger)]
        for entity in some:
            found.add(entity, told[0].get(entity), told[1].get(entity))
        count += len(some)
        advance(len(some))
    return Shadowed(
        definition=definition,
        champion=champion.generation.number,
        challenger=chosen,
        behind=challenger.vector.lacks(champion.vector),
        ahead=champion.vector.lacks(challenger.vector),
        whole=sample is None or count < sample,
        found=found,
    )


def _entities(store: Store, definition: str) -> Iterator[str]:
    """Every entity with an item: those with versions, then those that only the stream knows."""
    for entity, _versions in store.scan(definition):
        yield entity
    told: set[str] = set()
    keys = store.speed_keys(definition)
    while some := {entity for entity, _generation in islice(keys, _CHUNK)}:
        new = some.difference(store.read(definition, sorted(some)), told)
        told |= new
        yield from sorted(new)


def _outputs(
    store: Store, definition: str, entities: list[str], served: Served, now: datetime
) -> dict[str, dict[str, Any]]:
    held = store.read_speed(definition, served.generation.number, entities)
    found = {}
    for entity in entities:
        said = answer(definition, entity, served, held.get(entity, Held()), now=now)
        if said is not None:
            found[entity] = dict(said.prediction or said.features)
    return found
