"""A ledger says what arrived, whatever it was cut off in."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.sources.files import FileFingerprint
from headrace.sources.streams import Topic
from headrace.speed.ledger import Ledger, RowSet, _ranges

FILE = FileFingerprint(Path("a.csv"), "5" * 64, 10, 1_000)
TOPIC = Topic("clicks", "t-1", (0, 1))


def ledger(folder: Path, ends=None) -> Ledger:
    opened = Ledger(folder, FILE, TOPIC)
    opened.open(ends or {0: 100, 1: 100})
    return opened


@given(st.sets(st.integers(0, 300)))
def test_ranges_hold_each_number_once(numbers):
    ranges = list(_ranges(sorted(numbers)))
    assert [n for first, behind in ranges for n in range(first, behind)] == sorted(numbers)
    assert all(behind < first for (_, behind), (first, _) in pairwise(ranges))
    held = RowSet(301)
    for first, behind in ranges:
        held.add(first, behind)
    assert {n for n in range(301) if n in held} == numbers


def test_what_was_noted_is_taken_up(tmp_path):
    first = ledger(tmp_path, {0: 5, 1: 7})
    assert (first.offsets, first.is_certain) == ({0: 5, 1: 7}, True)
    first.begin()
    first.note([3, 1, 2, 9], {0: 8})
    first.close()
    second = ledger(tmp_path)
    assert [n for n in range(1_000) if n in second.sent] == [1, 2, 3, 9]
    assert (second.offsets, second.is_certain) == ({0: 8, 1: 7}, False)
    second.end()
    second.close()
    assert ledger(tmp_path).is_certain


@pytest.mark.parametrize("kept", range(0, 130, 7))
def test_a_cut_ledger_claims_no_more_than_it_holds(tmp_path, kept):
    first = ledger(tmp_path)
    first.begin()
    safe = first.path.stat().st_size  # what begin() has made sure of
    first.note(range(10), {0: 110})
    first.note(range(10, 20), {1: 105})
    first.close()
    whole = first.path.read_bytes()
    first.path.write_bytes(whole[: safe + kept])
    second = ledger(tmp_path)
    sent = [n for n in range(1_000) if n in second.sent]
    assert sent == list(range(10 * (whole[safe : safe + kept].count(b"\n"))))
    assert not second.is_certain
    assert second.offsets == {0: 110 if sent else 100, 1: 105 if len(sent) == 20 else 100}
    second.note([500], {})
    second.close()
    third = ledger(tmp_path)
    assert [n for n in range(1_000) if n in third.sent] == [*sent, 500]
