"""The log of what was served when: the champion of an instant, and the most it had counted by then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import AnswerIsNo, InputError
from headrace.registry.timeline import FLIPS, Moment, Timeline
from headrace.schemas import Vector
from headrace.schemas.lake import timeline_path

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def _moment(minutes: float, generation: int, counted: int) -> Moment:
    at = NOON + timedelta(minutes=minutes)
    return Moment(at, generation, Vector({("t", "0"): counted}), at - timedelta(seconds=1))


def test_nothing_was_served_before_the_first_champion(tmp_path: Path) -> None:
    timeline = Timeline(tmp_path, "spend")
    with pytest.raises(AnswerIsNo, match="no record"):
        timeline.at(NOON)
    timeline.flipped(_moment(0, 1, 5))
    with pytest.raises(AnswerIsNo, match="first champion"):
        timeline.at(NOON - timedelta(seconds=1))
    with pytest.raises(InputError, match="time zone"):
        timeline.at(datetime(2026, 1, 31))  # noqa: DTZ001


def test_a_champion_is_said_once_and_a_rollback_is_a_flip(tmp_path: Path) -> None:
    timeline = Timeline(tmp_path, "spend")
    for minutes, generation in ((0, 1), (1, 1), (2, 2), (3, 1)):
        timeline.flipped(_moment(minutes, generation, generation))
    lines = (timeline_path(tmp_path, "spend") / FLIPS).read_text("utf-8").split()
    assert len(lines) == 3
    assert [timeline.at(NOON + timedelta(minutes=m)).generation for m in (0, 1.5, 2, 2.5, 4)] == [1, 1, 2, 2, 1]


def test_a_line_that_a_crash_cut_off_takes_no_other_with_it(tmp_path: Path) -> None:
    timeline = Timeline(tmp_path, "spend")
    timeline.flipped(_moment(0, 1, 5))
    timeline.counted(_moment(1, 1, 7), epoch=1)
    (file,) = timeline_path(tmp_path, "spend").glob("*T*/*.jsonl")
    with file.open("a", encoding="utf-8") as out:
        out.write('\n{"visible_at": "2026-01-3')
    timeline.counted(_moment(3, 1, 9), epoch=1)
    assert timeline.at(NOON + timedelta(minutes=2)).vector == Vector({("t", "0"): 7})
    assert timeline.at(NOON + timedelta(minutes=4)).vector == Vector({("t", "0"): 9})


@given(
    said=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 3), st.integers(1, 2)), max_size=25),
    flips=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 3)), min_size=1, max_size=4, unique_by=lambda f: f[0]),
    asked=st.integers(0, 400),
)
def test_the_latest_of_the_champion_is_found_in_any_hour(
    tmp_path_factory: pytest.TempPathFactory,
    said: list[tuple[int, int, int]],
    flips: list[tuple[int, int]],
    asked: int,
) -> None:
    timeline = Timeline(tmp_path_factory.mktemp("timeline"), "spend")
    for minutes, generation in sorted(flips):
        timeline.flipped(_moment(minutes, generation, 1))
    # What a generation has counted only grows.
    for minutes, generation, epoch in said:
        timeline.counted(_moment(minutes, generation, 10 + minutes), epoch)
    champions = [generation for minutes, generation in sorted(flips) if minutes <= asked]
    if not champions:
        with pytest.raises(AnswerIsNo):
            timeline.at(NOON + timedelta(minutes=asked))
        return
    found = timeline.at(NOON + timedelta(minutes=asked))
    counted = [minutes for minutes, generation, _ in said if generation == champions[-1] and minutes <= asked]
    assert found.generation == champions[-1]
    assert found.vector == Vector({("t", "0"): 10 + max(counted) if counted else 1})
