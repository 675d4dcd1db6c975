"""Look-ups by key: one champion pointer per request, strongly consistent reads, whole generations only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from headrace.errors import AnswerIsNo, InputError, StoreError
from headrace.serving.merge import Answer, Generation, Served, answer, iso
from headrace.stores.port import Champion, Held, LedgerEntry, ModelItem, Progress

if TYPE_CHECKING:
    from headrace.serving.scoring import Scorer, Scoring

MAX_ENTITIES = 100
MAX_RECORDS = 1000
# A partition key of DynamoDB is at most 2,048 bytes of UTF-8; ours is `<definition>#<entity>`.
MAX_KEY_BYTES = 2048


class Readable(Protocol):
    """The part of a serving store that look-ups use; every `stores.port.Store` is one."""

    def champion(self, definition: str) -> Champion: ...

    def ledger(self, definition: str) -> list[LedgerEntry]: ...

    def progress(self, definition: str, generation: int) -> Progress | None: ...

    def read_speed(self, definition: str, generation: int, entities: Sequence[str]) -> dict[str, Held]: ...

    def read_model(self, definition: str, generation: int) -> ModelItem | None: ...


class UnknownDefinition(AnswerIsNo):
    """No generation of the definition was ever promoted in this store."""


class NoLearner(AnswerIsNo):
    """The definition learns nothing that records could be scored by."""


class UnknownKey(AnswerIsNo):
    """The champion has no prediction for the entity."""


@dataclass(frozen=True)
class _Kept:
    """A pointer in the cache, and the monotonic seconds it was read at."""

    served: Served
    read_at: float


@dataclass(frozen=True)
class Answers:
    """The answers to one batch, and the entities that have none; both in the order asked."""

    answers: list[Answer]
    missing: list[str]


class Lookups:
    """Answers from a store; safe to use from many threads.

    A champion pointer is at most `champion_cache_s` old when a request begins (0: read for each request).
    `clock` gives the aware UTC instant that ages are told at; `elapsed` the monotonic seconds the cache counts.
    """

    def __init__(
        self,
        store: Readable,
        champion_cache_s: float,
        clock: Callable[[], datetime],
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._cache_s = champion_cache_s
        self._clock = clock
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._held: dict[str, _Kept] = {}
        self._flights: dict[str, Future[Served]] = {}

    def one(self, definition: str, entity: str) -> Answer:
        """The answer for one entity. Raises UnknownDefinition, UnknownKey, InputError, StoreUnavailable."""
        found = self.many(definition, [entity])
        if found.missing:
            raise unknown(definition, entity)
        return found.answers[0]

    def many(self, definition: str, entities: Sequence[str]) -> Answers:
        """The answers of one generation for up to 100 entities; one that is named twice is answered once.

        Raises UnknownDefinition, InputError for entities that cannot be keys, StoreUnavailable.
        """
        asked = checked(definition, entities)
        served = self._served(definition)
        held = self._store.read_speed(definition, served.champion.generation, asked) if asked else {}
        return answers_of(definition, asked, served, held, now=self._clock())

    def scorer(self, definition: str, *, live: bool = True) -> Scorer:
        """The champion's learner with live parameters, or with the generation's as fitted.

        Raises UnknownDefinition, NoLearner, InputError where samples make no parameters.
        """
        check_key(definition, "")
        served = self._served(definition)
        item = self._store.read_model(definition, served.generation.number) if live else None
        return self._scoring.scorer(definition, served, item, live=live)

    @cached_property
    def _scoring(self) -> Scoring:
        # Learners bring NumPy and Arrow, which a look-up does without.
        from headrace.serving.scoring import Scoring

        return Scoring()

    def model(self, definition: str) -> dict[str, Any]:
        """What is served under a definition: its champion, cut, features, learner, and the table's generations."""
        check_key(definition, "")
        return model_of(definition, self._served(definition), self._store.ledger(definition), now=self._clock())

    def held(self) -> Mapping[str, Served]:
        """The pointer last read of every definition that was asked for, for metrics."""
        with self._lock:
            return {definition: kept.served for definition, kept in self._held.items()}

    def _served(self, definition: str) -> Served:
        """The pointer of this request, from the cache while it is young; one thread reads for all that wait."""
        if self._cache_s <= 0:
            return self._keep(definition, self._fetch(definition))
        with self._lock:
            held = self._held.get(definition)
            if held is not None and self._elapsed() - held.read_at < self._cache_s:
                return held.served
            flight = self._flights.get(definition)
            reads = flight is None
            if flight is None:
                flight = self._flights[definition] = Future()
        if not reads:
            return flight.result()
        try:
            served = self._keep(definition, self._fetch(definition))
        except BaseException as error:
            self._land(definition)
            flight.set_exception(error)
            raise
        self._land(definition)
        flight.set_result(served)
        return served

    def _fetch(self, definition: str) -> _Kept:
        read_at = self._elapsed()
        champion = self._store.champion(definition)
        if champion.generation == 0:
            with self._lock:
                self._held.pop(definition, None)
            raise nothing_served(definition)
        progress = self._store.progress(definition, champion.generation)
        return _Kept(Served(champion, self._generation(definition, champion), progress), read_at)

    def _generation(self, definition: str, champion: Champion) -> Generation:
        """The champion's generation, from the cache while the champion is the same."""
        kept = self._held.get(definition)
        before = kept.served.champion if kept is not None else Champion()
        if kept is not None and (before.generation, before.epoch) == (champion.generation, champion.epoch):
            return kept.served.generation
        for entry in self._store.ledger(definition):
            if entry.generation == champion.generation:
                return Generation.of(entry)
        raise not_in_ledger(definition, champion.generation)

    def _keep(self, definition: str, kept: _Kept) -> Served:
        with self._lock:
            self._held[definition] = kept
        return kept.served

    def _land(self, definition: str) -> None:
        with self._lock:
            self._flights.pop(definition, None)


def checked(definition: str, entities: Sequence[str]) -> list[str]:
    """The entities of one request, each once, in their order. Raises InputError for what cannot be asked."""
    if len(entities) > MAX_ENTITIES:
        raise InputError("too many entities in one request", found=len(entities), expected=f"<= {MAX_ENTITIES}")
    asked = list(dict.fromkeys(entities))
    for entity in asked:
        check_key(definition, entity)
    return asked


def past(at: datetime, now: datetime) -> datetime:
    """The instant to answer as of, if it has come. Raises InputError for one that has not: more may count by then."""
    if at > now:
        raise InputError(
            "the instant to answer as of has not come",
            found=iso(at),
            expected=f"one up to {iso(now)}",
            do="leave it out for what is answered now",
        )
    return at


def answers_of(
    definition: str, asked: Sequence[str], served: Served, held: Mapping[str, Held], *, now: datetime
) -> Answers:
    """The answers that what is held of each entity makes."""
    answers: list[Answer] = []
    missing: list[str] = []
    for entity in asked:
        found = answer(definition, entity, served, held.get(entity, Held()), now=now)
        if found is None:
            missing.append(entity)
        else:
            answers.append(found)
    return Answers(answers, missing)


def model_of(definition: str, served: Served, ledger: Sequence[LedgerEntry], *, now: datetime) -> dict[str, Any]:
    """What `Lookups.model` answers."""
    generation, description = served.generation, served.generation.description
    return {
        "definition": definition,
        "generation": generation.number,
        "cut": generation.cut,
        "vector": served.vector.to_json(),
        "as_of": iso(served.as_of),
        "age_s": served.age_s(now),
        "stale": served.stale(now),
        "max_age_s": generation.max_age_s,
        "clock": generation.clock,
        "theta": {name: generation.theta.get(name) for name in ("reference", "zone", "types")},
        "definition_sha256": generation.definition_sha256,
        "entity": description.get("entity"),
        "features": description.get("features"),
        "learner": description.get("learner"),
        "derived": (description.get("derive") or {}).get("outputs"),
        "generations": [
            {"generation": e.generation, "status": e.status, "base": e.base, "items": e.items} for e in ledger
        ],
    }


def unknown(definition: str, entity: str) -> UnknownKey:
    """The error for an entity that has no answer."""
    return UnknownKey(
        f"{definition!r} has no prediction for entity {entity!r}",
        do="keys are exact text; it may have no events that count",
    )


def nothing_served(definition: str) -> UnknownDefinition:
    """The error for a definition without a champion."""
    return UnknownDefinition(
        f"nothing is served under definition {definition!r}",
        do=f"check the spelling, or make it: headrace run {definition}",
    )


def not_in_ledger(definition: str, generation: int) -> StoreError:
    """The error for a champion whose ledger entry is gone."""
    return StoreError(
        f"the champion of {definition!r} is not in the table's ledger",
        found=f"generation {generation}",
        do=f"publish the definition again: headrace run {definition}",
    )


def check_key(definition: str, entity: str) -> None:
    """InputError unless the store can hold such a key."""
    try:
        size = len(f"{definition}#{entity}".encode())
    except UnicodeEncodeError:
        raise InputError("an entity is not text", found="half of a surrogate pair", expected="valid Unicode") from None
    if not definition or size > MAX_KEY_BYTES:
        raise InputError(
            "a key is too long" if definition else "the definition has no name",
            found=f"{size} bytes with the definition's name",
            expected=f"1 to {MAX_KEY_BYTES}",
        )
