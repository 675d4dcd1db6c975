"""The law of promotion: whatever was published, half published, promoted, rolled back and purged, a reader of the
champion sees every key as a naive model does that keeps each generation in full."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from headrace.batch.promote import promote, rollback
from headrace.batch.purge import purge
from headrace.errors import AnswerIsNo, StoreError
from headrace.registry.promotion import chain, successor, superfluous, view
from headrace.stores.memory import MemoryStore
from headrace.stores.port import TOMBSTONE, Champion, LedgerEntry, Version, Write

NAME = "segments"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TTL = timedelta(seconds=30)
KEYS = "abcd"
CONTENTS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from("xyz"), max_size=len(KEYS))


def version(text: str) -> Version:
    return Version(text.encode(), text)


@dataclass
class Naive:
    """Every generation in full, and who is champion."""

    contents: dict[int, dict[str, str]] = field(default_factory=dict)
    champion: int = 0
    former: list[int] = field(default_factory=list)
    half: set[int] = field(default_factory=set)  # begun and not given up

    def retained(self, window: int) -> set[int]:
        back = [g for g in self.former if g < self.champion][:window]
        served = {self.champion} if self.champion else set()
        return served | set(back) | {g for g in self.contents.keys() | self.half if g > self.champion}

    def promote(self, generation: int) -> None:
        if generation != self.champion:
            before = [self.champion] if self.champion else []
            self.former = [g for g in [*before, *self.former] if g != generation]
            self.champion = generation


class Histories(RuleBasedStateMachine):
    """Random histories of one definition in one table."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.naive = Naive()
        self.number = 0

    def ledger(self) -> dict[int, LedgerEntry]:
        return {entry.generation: entry for entry in self.store.ledger(NAME)}

    def sealed(self) -> list[int]:
        return [g for g, entry in self.ledger().items() if entry.status == "sealed"]

    @rule(
        content=CONTENTS,
        gap=st.sampled_from([1, 1, 3, 90]),
        base=st.integers(0, 5),
        landed=st.sampled_from([1.0, 1.0, 1.0, 0.5]),
        abandon=st.booleans(),
    )
    def publish(self, content: dict[str, str], gap: int, base: int, landed: float, abandon: bool) -> None:
        """In full, or as the difference from any sealed generation; perhaps given up half-way."""
        self.number = max(self.number, self.naive.champion) + gap
        sealed = self.sealed()
        against = sealed[-base] if 0 < base <= len(sealed) else None
        before = self.naive.contents[against] if against else {}
        writes = [Write(k, version(v), k in before) for k, v in content.items() if before.get(k) != v]
        writes += [Write(k, TOMBSTONE, True) for k in before if k not in content]
        lease = self.store.acquire_lease(NAME, "me", NOW, TTL)
        self.store.open_publication(lease, LedgerEntry(self.number, "publishing", against, f"sha{self.number}"))
        self.store.write_versions(NAME, self.number, writes[: int(len(writes) * landed)])
        if landed == 1.0:
            self.store.seal_publication(lease, self.number, len(writes))
            self.naive.contents[self.number] = content
        elif not abandon:
            self.naive.half.add(self.number)
        else:
            self.store.mark(NAME, self.number, "abandoned")
        self.store.release_lease(lease)

    @precondition(lambda self: self.store.ledger(NAME))
    @rule(pick=st.integers(0, 1000))
    def promote_any(self, pick: int) -> None:
        entries = self.store.ledger(NAME)
        entry = entries[pick % len(entries)]
        try:
            promote(self.store, NAME, entry.generation, now=NOW)
        except AnswerIsNo:
            assert entry.status == "closed"
        except StoreError:
            assert entry.status in ("publishing", "abandoned")
        else:
            self.naive.promote(entry.generation)

    @rule()
    def promote_newest(self) -> None:
        if self.sealed():
            newest = max(self.sealed())
            promote(self.store, NAME, newest, now=NOW)
            self.naive.promote(newest)

    @rule()
    def roll_back(self) -> None:
        back = [g for g in self.naive.former if g < self.naive.champion]
        if back:
            assert rollback(self.store, NAME).generation == back[0]
            self.naive.promote(back[0])
        else:
            with pytest.raises(AnswerIsNo):
                rollback(self.store, NAME)

    @rule(window=st.integers(0, 3))
    def purge_all(self, window: int) -> None:
        expected = self.naive.retained(window)
        report = purge(self.store, NAME, window=window, now=NOW)
        assert set(report.kept) == expected
        assert {g for g, entry in self.ledger().items() if entry.status == "closed"} == set(self.ledger()) - expected
        self.naive.former = [g for g in self.naive.former if g in expected]
        self.naive.contents = {g: content for g, content in self.naive.contents.items() if g in expected}
        self.naive.half &= expected

    @invariant()
    def every_key_is_as_the_model_says(self) -> None:
        champion = self.store.champion(NAME)
        assert champion.generation == self.naive.champion
        assert champion.previous == tuple(self.naive.former)
        self.agrees(champion, self.naive.contents.get(champion.generation, {}))

    @invariant()
    def every_sealed_generation_could_be_served(self) -> None:
        champion, ledger = self.store.champion(NAME), self.store.ledger(NAME)
        for generation in self.sealed():
            self.agrees(successor(champion, ledger, generation), self.naive.contents[generation])

    def agrees(self, champion: Champion, content: dict[str, str]) -> None:
        items = self.store.read(NAME, KEYS)
        for key in KEYS:
            chosen = champion.choose(items.get(key, {}))
            seen = None if chosen is None or chosen[1].is_tombstone else chosen[1].outputs
            assert seen == content.get(key), (key, champion, items)


def test_histories() -> None:
    run_state_machine_as_test(Histories, settings=settings(max_examples=150, stateful_step_count=30, deadline=None))


LEDGERS = st.lists(st.tuples(st.booleans(), st.integers(1, 6)), min_size=1, max_size=12).map(
    lambda rows: [
        LedgerEntry(g, "sealed", None if full or g - back < 1 else g - back, f"{g}")
        for g, (full, back) in enumerate(rows, start=1)
    ]
)


@given(LEDGERS)
def test_a_view_sees_exactly_its_chain(ledger: list[LedgerEntry]) -> None:
    for entry in ledger:
        seen = view(ledger, entry.generation)
        assert tuple(e.generation for e in reversed(ledger) if seen.sees(e.generation)) == chain(
            ledger, entry.generation
        )


@given(
    LEDGERS,
    st.dictionaries(st.integers(1, 12), st.sampled_from([version("x"), TOMBSTONE])),
    st.sets(st.integers(1, 12)),
)
def test_removing_the_superfluous_changes_no_view_and_leaves_nothing_to_remove(
    ledger: list[LedgerEntry], versions: dict[int, Version], kept: set[int]
) -> None:
    views = [view(ledger, entry.generation) for entry in ledger if entry.generation in kept]
    left = dict(versions)

    def told() -> list[Version | None]:
        chosen = [seen.choose(left) for seen in views]
        return [None if one is None or one[1].is_tombstone else one[1] for one in chosen]

    before = told()
    for generation in superfluous(versions, views):
        del left[generation]
        # Also half-way: a purge that is cut short has changed nothing either.
        assert told() == before
    assert superfluous(left, views) == []


def test_a_ledger_with_a_hole_is_refused_by_name() -> None:
    with pytest.raises(StoreError, match="what generation 3 is made of; found 2 as the base of 3"):
        chain([LedgerEntry(3, "sealed", 2, "a")], 3)
    with pytest.raises(StoreError, match="found no entry for 4"):
        chain([LedgerEntry(3, "sealed", 2, "a")], 4)


def test_a_ledger_that_runs_in_a_circle_is_refused() -> None:
    with pytest.raises(StoreError, match="found 3 as the base of 3"):
        chain([LedgerEntry(3, "sealed", 3, "a")], 3)
