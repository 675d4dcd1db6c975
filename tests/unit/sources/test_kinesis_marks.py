"""How far shards have landed, and which may be read."""

from __future__ import annotations

import pytest

from headrace.config import load
from headrace.errors import ConfigError
from headrace.sources.kinesis import Shard
from headrace.sources.kinesis_marks import (
    LEAP,
    Mark,
    marks_of,
    may_have_lost,
    ready,
    whole_at,
    with_new,
    without_expired,
)

DAY_S = 86_400.0
SHARDS = [Shard(0, "a", (), True), Shard(1, "b", (), False), Shard(2, "c", (0,), False), Shard(3, "d", (0, 1), False)]


def numbers(shards):
    return [shard.number for shard in shards]


def test_a_child_is_read_when_all_its_parents_have_landed():
    marks = {n: Mark() for n in range(4)}
    assert numbers(ready(SHARDS, marks)) == [0, 1]
    marks[0] = Mark(is_ended=True)
    assert numbers(ready(SHARDS, marks)) == [1, 2]
    marks[1] = Mark(is_ended=True)
    assert numbers(ready(SHARDS, marks)) == [2, 3]
    # A parent that Kinesis lists no more holds nothing.
    assert numbers(ready(SHARDS[2:], {2: Mark(), 3: Mark()})) == [2, 3]


def test_a_stream_that_never_landed_begins_where_it_is_told_and_a_child_at_its_beginning():
    assert set(with_new(SHARDS, {}, "TRIM_HORIZON", "now").values()) == {Mark()}
    latest = with_new(SHARDS, {}, "LATEST", "now")
    assert latest == {0: Mark(since="now", is_ended=True), **{n: Mark(since="now") for n in (1, 2, 3)}}
    assert set(with_new(SHARDS, {}, "2026-01-01T00:00:00+00:00", "now").values()) == {
        Mark(since="2026-01-01T00:00:00+00:00")
    }
    known = {0: Mark(is_ended=True, read_at=5.0), 1: Mark(3, "7", read_at=9.0)}
    assert with_new(SHARDS, known, "LATEST", "now") == {**known, 2: Mark(read_at=5.0), 3: Mark(read_at=5.0)}


def test_marks_survive_their_json_and_what_was_given_up_is_leapt_over():
    mark = Mark(7, "49", "2026-01-01T00:00:00+00:00", is_ended=True, read_at=1.5)
    assert marks_of({3: mark.to_json()}, {3: 7}) == {3: mark}
    assert marks_of({3: mark.to_json()}, {3: 7 + LEAP, 4: 0}) == {3: Mark(7 + LEAP)}


def test_what_was_read_within_the_retention_cannot_have_lost_anything():
    assert not may_have_lost(Mark(), DAY_S, 1e9)  # never read: nothing of it was promised
    assert not may_have_lost(Mark(read_at=1e9 - DAY_S + 61), DAY_S, 1e9)
    assert may_have_lost(Mark(read_at=1e9 - DAY_S + 60), DAY_S, 1e9)


def test_everything_is_below_the_marks_up_to_when_the_last_shard_was_read():
    assert whole_at({}) is None
    assert whole_at({0: Mark(read_at=5.0), 1: Mark(read_at=3.0), 2: Mark(is_ended=True, read_at=1.0)}) == 3.0
    assert whole_at({0: Mark(read_at=5.0), 1: Mark()}) is None


def test_shards_that_are_gone_have_ended():
    marks = {0: Mark(4, "1"), 1: Mark(2, "3")}
    assert without_expired(SHARDS[1:], marks) == {0: Mark(4, "1", is_ended=True), 1: Mark(2, "3")}


def test_the_beginning_is_a_name_or_an_instant():
    assert load(["kinesis.since=2026-11-01"], "local").kinesis.since == "2026-11-01T00:00:00+00:00"
    with pytest.raises(ConfigError, match=r"'kinesis.since' has a bad value; found 'yesterday'; .*TRIM_HORIZON"):
        load(["kinesis.since=yesterday"], "local")
