"""Records as they stand in DynamoDB."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import StoreError
from headrace.stores import items
from headrace.stores.port import TOMBSTONE, Champion, Lease, LedgerEntry, Version

NUMBERS = st.integers(1, 99_999_999)


@given(st.binary(), st.none() | st.text(st.characters(codec="utf-8")), NUMBERS)
def test_versions_come_back_as_they_went(state: bytes, outputs: str | None, generation: int) -> None:
    version = Version(state, outputs)
    item = {items.attribute(generation): items.version_value(version), "mark": items.text("x")}
    assert items.versions_of(item) == {generation: version}


def test_a_tombstone_is_told_from_an_empty_state() -> None:
    held = {
        items.attribute(1): items.version_value(TOMBSTONE),
        items.attribute(2): items.version_value(Version(b"", "")),
    }
    assert items.versions_of(held) == {1: TOMBSTONE, 2: Version(b"", "")}


def test_only_version_attributes_are_versions() -> None:
    held = items.version_value(Version(b"x", "{}"))
    names = ["v0000001", "v000000001", "v0000000x", "w00000001", "mark", "pk"]
    assert items.versions_of(dict.fromkeys(names, held)) == {}


@given(NUMBERS, st.frozensets(NUMBERS), st.integers(0, 9), st.integers(1, 99), st.lists(NUMBERS))
def test_champions_come_back(g: int, skip: frozenset[int], floor: int, epoch: int, previous: list[int]) -> None:
    champion = Champion(g, skip, floor, epoch, tuple(previous))
    assert items.champion_of(items.champion_item("segments", champion, "token")) == champion


@pytest.mark.parametrize("base", [None, 6])
def test_ledger_entries_and_leases_come_back(base: int | None) -> None:
    entry = LedgerEntry(7, "sealed", base, "sha", 3, {"cut": [["", "f", 1]], "max_age_s": None})
    assert items.entry_of(items.ledger_item("segments", entry)) == entry
    lease = Lease("segments", "host:1:2.00", 4, datetime(2026, 1, 1, 0, 0, 0, 5, tzinfo=UTC))
    assert items.lease_of(items.lease_item(lease)) == lease


@pytest.mark.parametrize(("outputs", "fits"), [("x" * 409_000, True), ("é" * 204_500, True), ("é" * 204_800, False)])
def test_sizes_are_bytes_not_characters(outputs: str, fits: bool) -> None:
    if fits:
        assert items.check_size("segments", "a", b"", outputs) <= items.MAX_ITEM_BYTES
    else:
        with pytest.raises(StoreError, match="entity 'a' does not fit"):
            items.check_size("segments", "a", b"", outputs)
