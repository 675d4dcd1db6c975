"""One Parquet file of a frame: its bytes follow from the rows, not from how they were spread or sent."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from headrace.sinks.parquet import GROUP_ROWS, grouped, write_in_order

pytestmark = pytest.mark.spark

ROWS = GROUP_ROWS + 1000


@pytest.fixture
def rows(spark):
    """Every type that a column may have, with nulls; `n` orders them."""
    return spark.range(ROWS).selectExpr(
        "id AS n",
        "cast(id % 100 AS int) AS quantity",
        "nullif(concat('a', id % 7, 'é'), 'a3é') AS text",
        "id / 7 AS price",
        "id % 2 = 0 AS is_even",
        "timestamp'2011-12-01 08:26:00' + make_dt_interval(0, 0, 0, id / 1000000) AS at",
        "date_add(date'2011-12-01', cast(id % 400 AS int)) AS day",
        "cast(id / 1000 AS decimal(12,3)) AS amount",
    )


def test_the_same_rows_give_the_same_bytes(spark, rows, tmp_path):
    columns = [name for name in rows.columns if name != "n"]
    shuffled = rows.repartition(3, "text").sortWithinPartitions("price", ascending=False)
    one = write_in_order(rows, ["n"], columns, tmp_path / "one")
    before = spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "777")
    try:
        other = write_in_order(shuffled, ["n"], columns, tmp_path / "other")
    finally:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", before)
    assert one.read_bytes() == other.read_bytes()
    footer = pq.read_metadata(one)
    assert [footer.row_group(i).num_rows for i in range(footer.num_row_groups)] == [GROUP_ROWS, 1000]

    read = spark.read.parquet(one.as_uri())
    assert read.dtypes == [kind for kind in rows.dtypes if kind[0] != "n"]
    few = "price < 3 OR price > 18850"
    assert sorted(map(repr, read.where(few).collect())) == sorted(map(repr, rows.select(*columns).where(few).collect()))
    assert pq.read_table(one, columns=["price"])["price"].to_pylist() == [n / 7 for n in range(ROWS)]


def test_no_rows_give_no_file(rows, tmp_path):
    assert write_in_order(rows.where("n < 0"), ["n"], ["text"], tmp_path / "none") is None
    assert list((tmp_path / "none").iterdir()) == []
    assert list(grouped([], 5)) == []
