"""Splittings: a part and its complement never overlap and always cover, the same in Spark and in plain Python."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.errors import DefinitionError
from headrace.evaluate.splitting import Splitting, with_row_number
from headrace.schemas.positions import PLACE

CASE = {
    "splitting": {
        "percentBegin": 70,
        "percentEnd": 100,
        "strategy": "random",
        "strategyParams": {"randomSeed": "S"},
        "complement": True,
    }
}
_bounds = st.tuples(st.integers(0, 99), st.integers(1, 100)).filter(lambda pair: pair[0] < pair[1])
_splittings = st.builds(
    lambda bounds, seed, complement: Splitting(*bounds, "random" if seed else "sequential", seed, complement),
    _bounds,
    st.text(max_size=5),
    st.booleans(),
)
_logs = st.sampled_from([("", "a"), ("t", "0"), ("t", "1")])
_places = st.lists(
    st.tuples(_logs, st.integers(0, 200_000)).map(lambda one: (*one[0], one[1])), unique=True, max_size=40
)
SCHEMA = "_incarnation string, _partition string, _position bigint"


@given(_splittings, _places)
def test_a_part_and_its_complement_cover_and_never_overlap(splitting: Splitting, places: list[Any]) -> None:
    other = splitting.complemented()
    for row, place in enumerate(sorted(places)):
        sides = [one.contains(place, row, len(places)) for one in (splitting, other)]
        assert sorted(sides) == [False, True]


@given(st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True), st.sampled_from(["", "S"]), _places)
def test_adjacent_parts_cover_and_never_overlap(cuts: list[int], seed: str, places: list[Any]) -> None:
    bounds = [0, *sorted(cuts), 100]
    strategy: Any = "random" if seed else "sequential"
    parts = [Splitting(begin, end, strategy, seed) for begin, end in pairwise(bounds)]
    for row, place in enumerate(sorted(places)):
        assert sum(part.contains(place, row, len(places)) for part in parts) == 1


def test_seventy_percent_of_the_published_records_leave_the_published_number() -> None:
    part, rows = Splitting(70, 100), 101_273
    assert sum(part.contains(("", "f", row), row, rows) for row in range(rows)) == 30_382


def test_the_cases_own_json_is_accepted_and_told_again() -> None:
    splitting = Splitting.of(CASE)
    assert splitting == Splitting(70, 100, "random", "S", complement=True)
    assert splitting.to_json() == CASE
    rows = 20_000
    kept = sum(splitting.contains(("", "f", row), row, rows) for row in range(rows))
    assert kept == pytest.approx(0.7 * rows, rel=0.02)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"splitting": {"percentbegin": 70}}, "nearest 'percentBegin'"),
        ({"spliting": {}}, "nearest 'splitting'"),
        ({"splitting": {"strategyParams": {"seed": "S"}}}, "expected randomSeed"),
        ({"splitting": {"strategy": "randon"}}, "nearest 'random'"),
        ({"splitting": {"percentBegin": 80, "percentEnd": 70}}, "0 <= percentBegin < percentEnd <= 100"),
        ({"splitting": {"percentEnd": "70"}}, "percentEnd '70'"),
        ({"splitting": {"complement": "yes"}}, "neither true nor false"),
        ({"splitting": {"strategyParams": {"randomSeed": "S"}}}, "only a random splitting has a seed"),
        ({"splitting": 70}, "cannot be read"),
        ("{splitting", "is not JSON"),
    ],
)
def test_what_is_no_splitting_is_named(told: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=r"splitting|complement") as refused:
        Splitting.of(told)
    assert says in str(refused.value)


@pytest.mark.spark
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_splittings, _places, st.integers(1, 4))
def test_spark_draws_as_plain_python_does(spark: Any, splitting: Splitting, places: list[Any], partitions: int) -> None:
    samples = spark.createDataFrame(places, SCHEMA).repartition(partitions)
    parts = splitting.parts(samples)
    expected = [splitting.contains(place, row, len(places)) for row, place in enumerate(sorted(places))]
    inside = sorted(tuple(row) for row in parts.training(0).select(*PLACE).collect())
    outside = sorted(tuple(row) for row in parts.held_out(0).select(*PLACE).collect())
    assert inside == [place for place, kept in zip(sorted(places), expected, strict=True) if kept]
    assert outside == [place for place, kept in zip(sorted(places), expected, strict=True) if not kept]
    numbered, events = splitting.numbered(samples)
    assert events == len(inside)
    assert sorted(tuple(row) for row in numbered.select("_row", *PLACE).collect()) == [
        (number, *place) for number, place in enumerate(inside)
    ]


@pytest.mark.spark
def test_rows_of_one_event_share_its_number(spark: Any) -> None:
    places = [("", "f", 3), ("", "f", 3), ("", "f", 70_000), ("a", "0", 0)]
    numbered, events = with_row_number(spark.createDataFrame(places, SCHEMA))
    assert events == 3
    assert sorted(row["_row"] for row in numbered.collect()) == [0, 0, 1, 2]
