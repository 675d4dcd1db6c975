"""Why an answer is what it is."""

from __future__ import annotations

import pytest
from overseen import STREAM, overseen
from published import NOW, version

from headrace.schemas import Vector
from headrace.serving.arbitration import Explanation, explain
from headrace.serving.merge import Served
from headrace.serving.overview import served_now
from headrace.stores.port import TOMBSTONE, Champion, Held, SpeedItem


def told(entity: str) -> Explanation:
    store = overseen()
    served = served_now(store, "segments")
    held = store.read_speed("segments", 3, [entity])
    return explain("segments", entity, served, held.get(entity, Held()), now=NOW)


def test_a_speed_item_comes_before_every_version() -> None:
    found = told("17850")
    assert found.answer is not None
    assert (found.answer.layer, found.answer.prediction["segment"]) == ("speed", "Champions")
    assert [(c.layer, c.generation, c.taken, c.counts) for c in found.candidates] == [
        ("speed", 3, True, True),
        ("batch", 4, False, False),
        ("batch", 3, False, True),
        ("batch", 2, False, False),
        ("batch", 1, False, True),
    ]
    why = [c.why for c in found.candidates]
    assert "1 position ahead" in why[0]
    assert why[1:] == [
        "Above the champion (3): published, not promoted.",
        "The newest version that the champion sees; its state is in the speed item, which answers.",
        "Left out by the champion: rolled back, abandoned, half published or a rival.",
        "Older than generation 3, which the champion sees too.",
    ]
    assert found.verdict == "The speed layer answers: the stream has counted this entity since the cut of 3."


def test_an_older_version_answers_while_nothing_changed() -> None:
    found = told("13047")
    assert found.answer is not None
    assert [(c.generation, c.taken, c.why) for c in found.candidates] == [
        (1, True, "The newest version that the champion sees: nothing of this entity changed from generation 1 to 3.")
    ]
    assert found.verdict.startswith("The batch layer answers, by version 1")


def test_what_has_no_answer_is_explained_too() -> None:
    assert told("gone").verdict.startswith("The newest version that the champion sees is a tombstone")
    assert [(c.taken, c.tombstone) for c in told("gone").candidates] == [(False, True), (False, False)]
    assert told("nobody").verdict.startswith("No item is held")
    assert told("nobody").candidates == []


@pytest.mark.parametrize(
    ("champion", "versions"),
    [
        (Champion(3, floor=2), {1: version(0, 1)}),
        (Champion(3, floor=1, skip=frozenset({2})), {2: version(0, 2), 4: version(0, 4)}),
    ],
)
def test_versions_that_nobody_sees_do_not_answer(champion: Champion, versions: dict[int, object]) -> None:
    generation = served_now(overseen(), "segments").generation
    found = explain("segments", "e", Served(champion, generation), Held(versions), now=NOW)  # type: ignore[arg-type]
    assert found.answer is None
    assert not any(c.counts or c.taken for c in found.candidates)
    assert found.verdict == "Versions are held, but the champion sees none of them."


@pytest.mark.parametrize(
    "speed", [None, SpeedItem(b"{}", '{"features":{},"prediction":{}}', Vector({(STREAM, "0"): 9}))]
)
@pytest.mark.parametrize("versions", [{}, {1: version(0, 1)}, {1: version(0, 1), 3: TOMBSTONE}, {4: version(0, 4)}])
def test_it_never_says_other_than_the_answer(speed: SpeedItem | None, versions: dict[int, object]) -> None:
    served = served_now(overseen(), "segments")
    found = explain("segments", "e", served, Held(versions, speed), now=NOW)  # type: ignore[arg-type]
    taken = [c for c in found.candidates if c.taken]
    assert len(taken) == (found.answer is not None)
    assert [c.layer for c in taken] == ([found.answer.layer] if found.answer is not None else [])
