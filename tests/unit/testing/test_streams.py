"""`through` passes for transforms of rows, and says why another transform is none."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from headrace.testing import through

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def rows(spark):
    from pyspark.ml.linalg import Vectors

    values = [(i, f"c{i % 3}", None if i == 4 else i * 0.5, Vectors.dense([i, 1.0])) for i in range(8)]
    vectors = spark.createDataFrame([*values, values[0], values[1]], ["id", "shop", "amount", "vector"])
    return vectors.withColumn("at", F.timestamp_seconds("id")).withColumn("tags", F.array("shop"))


def test_a_transform_of_rows_passes_and_its_batch_result_is_returned(rows):
    def with_tax(orders):
        return orders.where("id <> 3").withColumn("taxed", F.col("amount") * 1.2)

    result = through(with_tax, rows, chunks=4)
    assert not result.isStreaming
    assert result.count() == 9


def test_no_rows_and_more_chunks_than_rows_pass(rows):
    assert through(lambda orders: orders.select("id"), rows.where("false"), chunks=2).count() == 0


def test_an_aggregation_is_no_transform_of_rows_but_may_be_complete(rows):
    def orders_by_shop(orders):
        return orders.groupBy("shop").count()

    with pytest.raises(AssertionError, match=r"does not run on a stream in append mode: .*aggregation"):
        through(orders_by_shop, rows)
    assert through(orders_by_shop, rows, mode="complete").count() == 3


def test_de_duplication_keeps_state(rows):
    with pytest.raises(AssertionError, match=r"not row by row: .* keeps state between micro-batches \(dedupe\)"):
        through(lambda orders: orders.select("id", "shop").dropDuplicates(), rows)


def test_a_transform_that_sees_its_batch_gives_other_rows(rows):
    def size_of_batch(batches):
        for batch in batches:
            yield pa.RecordBatch.from_pydict({"rows": [batch.num_rows]})

    with pytest.raises(AssertionError) as failure:
        through(lambda orders: orders.coalesce(1).mapInArrow(size_of_batch, "rows long"), rows, chunks=2)
    said = str(failure.value)
    assert "gives other rows on a stream of 2 chunks than in batch" in said
    assert "only in batch, 1 row:\n    {'rows': 10}" in said
    assert "only in stream, 2 rows:\n    {'rows': 5}\n    {'rows': 5}" in said


@pytest.mark.parametrize(
    ("transform", "says"),
    [
        (lambda orders: orders.withColumn("seen_ts", F.current_timestamp()), "gives other rows"),
        (lambda orders: orders.withColumn("share", F.lit(1 / orders.count())), "does not run on a stream"),
    ],
    ids=["clock", "action"],
)
def test_a_clock_and_an_action_are_found(rows, transform, says):
    with pytest.raises(AssertionError, match=says):
        through(transform, rows.select("id"))


def test_a_transform_that_ignores_its_rows_is_found(rows):
    with pytest.raises(AssertionError, match="does not depend on the rows"):
        through(lambda _: rows, rows)


def test_an_error_of_the_transform_itself_is_not_disguised(rows):
    def broken(orders):
        raise KeyError("amount_usd")

    with pytest.raises(KeyError, match="amount_usd"):
        through(broken, rows)
    with pytest.raises(ValueError, match="mode 'update' is not known"):
        through(lambda orders: orders, rows, mode="update")
    with pytest.raises(ValueError, match="at least one chunk is needed; found 0"):
        through(lambda orders: orders, rows, chunks=0)
