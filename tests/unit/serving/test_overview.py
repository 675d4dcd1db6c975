"""How definitions stand, from the store, and what a server itself has seen."""

from __future__ import annotations

from datetime import timedelta

import pytest
from overseen import overseen
from published import NOW, promote

from headrace.batch.promote import challenge
from headrace.serving.lookup import UnknownDefinition
from headrace.serving.overview import Standing, served_now
from headrace.serving.watch import KEPT, SHOWN, Watch


def test_a_definition_in_one_line() -> None:
    assert Standing.of(overseen(), "segments").summary(NOW) == {
        "definition": "segments",
        "generation": 3,
        "generations": 4,
        "newest": 4,
        "as_of": "2026-03-01T11:59:58Z",
        "age_s": 2.0,
        "max_age_s": 120.0,
        "stale": False,
        "lag": 2,
    }


def test_before_the_first_promotion_and_without_a_stream() -> None:
    store = overseen()
    assert Standing.of(store, "rides").summary(NOW)["generation"] is None
    assert Standing.of(store, "rides").detail(NOW)["vector"] == []
    assert Standing.of(store, "plain").summary(NOW)["lag"] is None
    with pytest.raises(UnknownDefinition, match="headrace run nothing"):
        Standing.of(store, "nothing")
    with pytest.raises(UnknownDefinition, match="headrace promote rides"):
        served_now(store, "rides")


def test_every_generation_has_its_alias_gate_and_stream() -> None:
    detail = Standing.of(overseen(), "segments").detail(NOW)
    assert [(row["generation"], row["alias"]) for row in detail["rows"]] == [
        (4, None),
        (3, "champion"),
        (2, "skipped"),
        (1, "former"),
    ]
    assert [row["gate"] and row["gate"]["passes"] for row in detail["rows"]] == [False, None, None, None]
    stream = detail["rows"][1]["stream"]
    assert (stream["counted"], stream["lag"], stream["age_s"]) == (65, 2, 2.0)
    assert (detail["learner"], detail["features"], detail["stream"]) == ("kmeans", ["recency"], "purchases")


def test_a_named_challenger_has_its_alias() -> None:
    store = overseen()
    challenge(store, "segments", 4)
    detail = Standing.of(store, "segments").detail(NOW)
    assert (detail["challenger"], detail["rows"][0]["alias"], detail["generation"]) == (4, "challenger", 3)


def test_a_generation_is_read_once_while_it_is_the_champion() -> None:
    store = overseen()
    known = served_now(store, "segments")
    assert served_now(store, "segments", known).generation is known.generation
    promote(store, "segments", 4)
    assert served_now(store, "segments", known).generation.number == 4


def test_a_watch_keeps_ages_and_answers() -> None:
    now = NOW
    watch = Watch(overseen(), lambda: now, every_s=5)
    watch.answered("segments", {"batch": 3, "missing": 1})
    watch.look()
    now = NOW + timedelta(seconds=200)
    watch.answered("segments", {"speed": 2})
    watch.look()
    told = watch.told("segments")
    assert told["answers"] == {"batch": 3, "speed": 2, "missing": 1}
    assert [(p["age_s"], p["stale"], p["batch"], p["speed"]) for p in told["points"]] == [
        (2.0, False, 3, 0),
        (202.0, True, 0, 2),
    ]
    assert watch.told("rides")["points"] == []


def test_a_long_series_is_told_in_few_points_that_lose_no_peak_and_no_answer() -> None:
    now = NOW
    watch = Watch(overseen(), lambda: now, every_s=5)
    for look in range(KEPT + 10):
        now = NOW + timedelta(seconds=5 * look if look != 2000 else 10**6)
        watch.answered("segments", {"batch": 1})
        watch.look()
    points = watch.told("segments")["points"]
    assert len(points) <= SHOWN
    assert max(p["age_s"] for p in points) == 10**6 + 2
    assert sum(p["batch"] for p in points) == KEPT
