"""A view in memory gives back what it was given, to the character, and holds a million keys in little."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headrace.schemas import Vector
from headrace.serving.view import Columns, Rows

VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.lists(st.integers(0, 3), max_size=3)
)
OUTPUTS = st.fixed_dictionaries(
    {
        "features": st.dictionaries(st.sampled_from(["a", "b%s", 'c"', "ü"]), VALUES, max_size=4),
        "prediction": st.dictionaries(st.sampled_from(["p", "q"]), VALUES, max_size=2),
    }
)
ENTITIES = st.text(st.characters(codec="utf-8"), max_size=4)


def text(outputs: Any) -> str:
    return json.dumps(outputs, ensure_ascii=False, separators=(",", ":"))


@given(
    st.lists(
        st.tuples(ENTITIES, OUTPUTS | st.none(), st.sampled_from(["batch", "speed"]), st.integers(0, 2)), max_size=30
    )
)
def test_what_was_put_last_is_what_is_held(puts: list[tuple[str, Any, Any, int]]) -> None:
    columns, held = Columns(), {}
    for entity, outputs, layer, position in puts:
        if outputs is None:
            columns.drop(entity)
            held.pop(entity, None)
        else:
            columns.put(entity, text(outputs), layer, Vector({("t", "0"): position}))
            held[entity] = (text(outputs), layer, Vector({("t", "0"): position}))
    assert {entity: columns.get(entity) for entity in held} == held
    assert len(columns) == len(held)
    for entity, *_ in puts:
        if entity not in held:
            assert columns.get(entity) is None
            assert columns.layer_of(entity) is None


def test_rows_of_numbers_and_names_are_not_kept_as_text() -> None:
    columns = Columns()
    for n in range(1000):
        named = None if n % 7 == 0 else f"s{n % 5}"
        columns.put(
            str(n), text({"features": {"n": n, "x": n / 3 if n else None}, "prediction": {"s": named}}), "batch"
        )
    assert columns.aside == 0
    columns.put("odd", '{"features": {}, "prediction": {}}', "batch")
    assert (columns.aside, columns.get("odd")) == (1, ('{"features": {}, "prediction": {}}', "batch", Vector()))
    columns.put("odd", text({"features": {"n": 1, "x": 2.0}, "prediction": {"s": "s1"}}), "batch")
    assert columns.aside == 0


def test_a_column_of_too_many_texts_is_kept_as_text_and_forgets_what_was_replaced() -> None:
    columns = Columns()
    made = [text({"features": {"last": f"text {n}"}, "prediction": {}}) for n in range(70_000)]
    for n, outputs in enumerate(made):
        columns.put(str(n % 100), outputs, "speed", Vector({("t", "0"): n + 1}))
    assert [columns.get(str(n))[0] for n in range(100)] == made[-100:]  # type: ignore[index]
    assert columns.aside <= 100


def test_rows_are_found_among_many() -> None:
    rows = Rows()
    names = [f"k{n}" for n in range(5000)]
    assert [rows.add(name) for name in names] == list(range(5000))
    assert [rows.find(name) for name in names] == list(range(5000))
    assert rows.find("k5000") == -1
    assert rows.find("") == -1
