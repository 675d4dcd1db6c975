"""How changes are cut into calls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.stores.port import Version, Write
from headrace.stores.statements import MAX_CALL_BYTES, MAX_STATEMENTS, SetVersion, chunked

WRITES = st.lists(st.tuples(st.integers(0, 40), st.sampled_from([10, 1000, 390_000])), max_size=120)


@given(WRITES)
def test_calls_keep_the_order_lose_nothing_and_respect_the_limits(rows: list[tuple[int, int]]) -> None:
    changes = [
        SetVersion("headrace", "segments", 1, Write(f"{key}", Version(b"x" * size, "{}"), False)) for key, size in rows
    ]
    chunks = list(chunked(changes))
    assert [change for chunk in chunks for change in chunk] == changes
    for chunk in chunks:
        entities = [change.entity for change in chunk]
        assert 1 <= len(chunk) <= MAX_STATEMENTS
        assert len(set(entities)) == len(entities)
        assert len(chunk) == 1 or sum(change.size for change in chunk) <= MAX_CALL_BYTES


def test_no_value_stands_in_a_statement() -> None:
    odd = "'; DROP TABLE headrace --"
    for exists in (True, False):
        made = SetVersion("headrace", "segments", 1, Write(odd, Version(odd.encode(), odd), exists)).statement()
        assert odd not in made["Statement"]
        assert made["Statement"].count("?") == len(made["Parameters"])
