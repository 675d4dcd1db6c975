"""Which events a definition counts, and why it does not count the others."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from headrace.algebra import Count, Sum
from headrace.definitions import (
    Definition,
    Field,
    Schema,
    Stream,
    drop_reasons,
    load_definition,
    marked,
    prepared,
)
from headrace.errors import DefinitionError
from headrace.schemas import META_COLUMNS

pytestmark = pytest.mark.spark

SALE = Schema(
    [Field("id", "string"), Field("shop", "string"), Field("sold_at", "timestamp"), Field("amount", "double")]
)
SPEND = Definition(
    name="spend",
    entity="shop",
    event_time="sold_at",
    source=Stream("sales", schema=SALE),
    features={"sales": Count(), "spent": Sum("amount", step="0.01")},
)
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def small_is_noise(sales: Any) -> Any:
    from pyspark.sql import functions as F

    return sales.withColumn("drop_reason", F.when(F.col("amount") < 10, "small"))


@pytest.fixture(scope="module")
def sales(spark: Any) -> Any:
    """Two copies of `a`, the earlier one second; a copy of `b` in a stream after history; two sales without an id."""
    meta = ", ".join(f"{name} {kind}" for name, kind in META_COLUMNS.items())
    rows = [
        ("a", "north", 20.0, "", "f1", 5),
        ("a", "north", 10.0, "", "f1", 4),
        ("b", "south", 99.0, "topic", "0", 0),
        ("b", "south", 30.0, "", "f2", 9),
        (None, "south", 40.0, "topic", "0", 1),
        (None, "south", 40.0, "topic", "0", 2),
        ("c", None, 50.0, "topic", "0", 3),
        ("d", "north", 1.0, "topic", "1", 1),
        ("e", None, 2.0, "topic", "1", 2),
        ("f", "é" * 993, 60.0, "topic", "1", 3),
    ]
    events = [(i, shop, NOON, amount, inc, part, at, NOON, NOON, "s") for i, shop, amount, inc, part, at in rows]
    return spark.createDataFrame(events, f"{SALE.ddl}, {meta}").persist()


def amounts(frame: Any) -> list[float]:
    return sorted(row.amount for row in frame.select("amount").collect())


def reasons(frame: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in frame.collect()]


def test_without_prepare_all_rows_with_an_entity_count(sales: Any) -> None:
    assert amounts(prepared(SPEND, sales)) == [1, 10, 20, 30, 40, 40, 99]
    assert prepared(SPEND, sales).columns == sales.columns
    assert reasons(drop_reasons(SPEND, sales)) == [("no shop", 2), ("shop too long for a key", 1)]


def test_a_reason_of_prepare_comes_before_a_missing_entity(sales: Any) -> None:
    spend = replace(SPEND, prepare=small_is_noise)
    assert amounts(prepared(spend, sales)) == [10, 20, 30, 40, 40, 99]
    assert "drop_reason" not in prepared(spend, sales).columns
    assert reasons(drop_reasons(spend, sales)) == [("small", 2), ("no shop", 1), ("shop too long for a key", 1)]
    assert marked(spend, sales).count() == 10


def test_of_copies_the_one_at_the_least_position_stays_and_no_id_is_no_copy(sales: Any) -> None:
    spend = replace(SPEND, event_id="id", prepare=small_is_noise)
    assert amounts(prepared(spend, sales)) == [10, 30, 40, 40]
    assert prepared(spend, sales).columns == sales.columns
    found = reasons(drop_reasons(spend, sales))
    assert found == [("copy of id", 2), ("small", 2), ("no shop", 1), ("shop too long for a key", 1)]


def test_copies_are_told_apart_before_prepare(sales: Any) -> None:
    # The least copy of `a` is dropped by prepare; its other copy must not take its place.
    spend = replace(SPEND, event_id="id", prepare=lambda s: small_is_noise(s.withColumn("amount", s.amount - 5)))
    assert amounts(prepared(spend, sales)) == [25, 35, 35]


def test_nothing_dropped_is_no_reason(sales: Any) -> None:
    kept = sales.where("shop IS NOT NULL AND id = 'd'")
    assert reasons(drop_reasons(replace(SPEND, event_id="id"), kept)) == []


@pytest.mark.parametrize("lost", ["shop", "amount", "_position"])
def test_prepare_must_keep_what_is_read(sales: Any, lost: str) -> None:
    spend = replace(SPEND, prepare=lambda s: s.drop(lost).withColumn("amounts", s.id))
    with pytest.raises(DefinitionError, match=rf"expected \['{lost}'\]"):
        prepared(spend, sales)


def test_what_a_file_defines_reaches_the_executors(sales: Any, tmp_path: Path, forget: Callable[[str], None]) -> None:
    path = tmp_path / "rates_of_test_events.py"
    path.write_text(
        "from headrace import Count, Definition, Field, Schema, Stream\n"
        "RATE = 2.0\n"
        "def in_euros(batches):\n"
        "    import pyarrow.compute as pc\n"
        "    for batch in batches:\n"
        "        yield batch.set_column(batch.schema.get_field_index('amount'), 'amount',"
        " pc.multiply(batch['amount'], RATE))\n"
        "def converted(sales):\n"
        "    return sales.mapInArrow(in_euros, sales.schema)\n"
        "SALE = Schema([Field('shop', 'string'), Field('sold_at', 'timestamp'), Field('amount', 'double')])\n"
        "spend = Definition(name='spend', entity='shop', event_time='sold_at', source=Stream('sales', schema=SALE),\n"
        "                   features={'sales': Count()}, prepare=converted)\n",
        "utf-8",
    )
    forget("rates_of_test_events")
    spend = load_definition(f"{path}:spend")
    assert amounts(prepared(spend, sales)) == [2, 20, 40, 60, 80, 80, 198]


@pytest.fixture
def forget() -> Iterator[Callable[[str], None]]:
    """Takes modules out of sys.modules after the test."""
    import sys

    from pyspark import cloudpickle

    names: list[str] = []
    yield names.append
    for name in names:
        cloudpickle.unregister_pickle_by_value(sys.modules[name])
        del sys.modules[name]


def test_a_built_in_definition_is_pickled_by_name() -> None:
    segments = load_definition("segments")
    assert pickle.loads(pickle.dumps(segments)) == segments
