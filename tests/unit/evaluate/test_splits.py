"""Splits: the parts never overlap and always cover, the same on any partitioning."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.errors import DefinitionError
from headrace.evaluate.splits import Parts, by_hash, folds, latest
from headrace.schemas.positions import PLACE

pytestmark = pytest.mark.spark
SCHEMA = "_incarnation string, _partition string, _position bigint"
_logs = st.sampled_from([("", "a"), ("t", "0"), ("t", "1")])
_rows = st.lists(st.tuples(_logs, st.integers(0, 50)).map(lambda row: (*row[0], row[1])), max_size=30)
_seeds = st.integers(0, 999)
_splits = st.one_of(
    st.tuples(st.integers(2, 5), _seeds).map(lambda split: lambda rows: folds(rows, PLACE, *split)),
    st.tuples(st.floats(0.01, 0.99), _seeds).map(lambda split: lambda rows: by_hash(rows, PLACE, *split)),
    st.floats(0.01, 0.99).map(lambda share: lambda rows: latest(rows, share)),
)


def parts_of(parts: Parts) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in parts.rows.select(*PLACE, "_part").collect())


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_rows, _splits, st.integers(1, 4))
def test_every_row_is_in_one_part_on_any_partitioning(spark: Any, rows: Any, split: Any, partitions: int) -> None:
    samples = spark.createDataFrame(rows, SCHEMA)
    parts = split(samples)
    found = parts_of(parts)
    assert [row[:3] for row in found] == sorted(rows)
    assert {part for *_, part in found} <= set(range(max(2, parts.turns)))
    assert len(set(found)) == len(set(rows)), "equal keys are in one part"
    assert parts_of(split(samples.repartition(partitions))) == found


def test_what_is_not_held_out_is_trained_on(spark: Any) -> None:
    parts = folds(spark.range(60), ["id"], 3, seed=1)
    every, held_out = list(range(60)), []
    for turn in range(3):
        sides = [[row.id for row in side.collect()] for side in (parts.training(turn), parts.held_out(turn))]
        assert sorted(sides[0] + sides[1]) == every
        held_out += sides[1]
    assert sorted(held_out) == every


def test_sizes_and_seeds(spark: Any) -> None:
    samples = spark.range(5_000)
    held_out = by_hash(samples, ["id"], 0.2, seed=1).held_out(0)
    assert held_out.count() == pytest.approx(1_000, abs=100)
    assert held_out.join(by_hash(samples, ["id"], 0.2, seed=2).held_out(0), "id").count() < 300
    parts = folds(samples, ["id"], 5, seed=1)
    assert all(parts.held_out(turn).count() == pytest.approx(1_000, abs=100) for turn in range(5))
    assert parts.held_out(0).columns == parts.training(0).columns == ["id"]


def test_the_latest_are_the_highest_positions_of_every_partition(spark: Any) -> None:
    rows = [("", "a", n) for n in range(10)] + [("t", "0", n) for n in (5, 100, 104)]
    parts = latest(spark.createDataFrame(rows, SCHEMA), 0.3)
    kept = [("", "a", 7), ("", "a", 8), ("", "a", 9), ("t", "0", 100), ("t", "0", 104)]
    assert sorted(tuple(row) for row in parts.held_out(0).select(*PLACE).collect()) == kept


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_shares_and_counts_that_cannot_be(spark: Any, share: float) -> None:
    samples = spark.createDataFrame([], SCHEMA)
    for split in (lambda: by_hash(samples, PLACE, share, 1), lambda: latest(samples, share)):
        with pytest.raises(DefinitionError, match="no such share"):
            split()
    with pytest.raises(DefinitionError, match="no such number of folds; found 1"):
        folds(samples, PLACE, 1, 1)
