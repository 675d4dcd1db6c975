"""The tolerant comparison finds what differs, says where, and forgives no more than it is told to."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from headrace.testing import assert_frames_close
from headrace.testing.frames import bag_faults


def frame(**columns) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"k{i}" for i in range(len(next(iter(columns.values()))))], **columns})


def failure_of(actual, expected, **options) -> str:
    with pytest.raises(AssertionError) as failure:
        assert_frames_close(actual, expected, **{"keys": "id", **options})
    return str(failure.value)


def test_order_noise_and_nan_are_forgiven():
    one = frame(x=[0.1 + 0.2, np.nan, np.inf], n=[1, 2, 3])
    assert_frames_close(one, frame(x=[0.3, np.nan, np.inf], n=[1, 2, 3]).iloc[::-1], keys=["id"])


@pytest.mark.parametrize(
    ("options", "forgiven"),
    [({}, False), ({"rtol": 1e-6}, True), ({"rtol": 0, "atol": 1e-3}, False), ({"rtol": 0, "atol": 2.0}, True)],
)
def test_tolerance_is_relative_or_absolute(options, forgiven):
    one, two = frame(x=[1e9]), frame(x=[1e9 + 1.5])
    if forgiven:
        assert_frames_close(one, two, keys="id", **options)
    else:
        assert "id='k0': x is 1000000000.0, expected 1000000001.5" in failure_of(one, two, **options)


def test_what_is_not_a_float_is_exact():
    big = 10**15
    assert f"n is {big}, expected {big + 1}" in failure_of(frame(n=[big]), frame(n=[big + 1]))
    assert "t is 'a', expected 'b'" in failure_of(frame(t=["a"]), frame(t=["b"]))
    # bool against int would be equal to Python
    assert "o is True, expected 1" in failure_of(frame(o=[True]).astype(object), frame(o=[1]).astype(object))
    dear = failure_of(frame(d=[Decimal("1.000000001")]), frame(d=[Decimal("1.000000002")]), rtol=1)
    assert "d is Decimal('1.000000001')" in dear


def test_missing_extra_and_repeated_keys_are_named():
    said = failure_of(frame(x=[1, 2, 3]).iloc[1:], frame(x=[1, 2, 3]).iloc[:2])
    assert "missing keys, 1: id='k0'" in said
    assert "extra keys, 1: id='k2'" in said
    twice = pd.concat([frame(x=[1]), frame(x=[1])])
    assert "keys that are not unique in actual, 1: id='k0'" in failure_of(twice, frame(x=[1]))


def test_columns_and_types_are_named_before_any_row():
    said = failure_of(frame(x=[1.0], y=["a"]), frame(x=["1"], z=["a"]))
    assert "missing columns: ['z']" in said
    assert "extra columns: ['y']" in said
    assert "type of 'x': number, expected object" in said
    assert "differing cells" not in said
    assert "keys ['ID'] are not columns; found ['id', 'x']" in failure_of(frame(x=[1]), frame(x=[1]), keys="ID")


def test_ten_cells_are_shown_and_the_rest_counted():
    said = failure_of(frame(x=range(25)), frame(x=range(1, 26)))
    assert "differing cells, 25" in said
    assert said.count(", expected ") == 10
    assert "... and 15 more" in said


def test_something_else_than_a_frame_is_refused():
    with pytest.raises(TypeError, match="a frame of Spark or pandas is needed; found list"):
        assert_frames_close([1], [1], keys="id")


@pytest.mark.spark
def test_nested_values_and_vectors_of_spark_are_reached(spark):
    from pyspark.ml.linalg import Vectors

    def nested(x: float, vector=None):
        flat = spark.createDataFrame([("a", x, vector or Vectors.dense([0.0, x]))], ["id", "x", "vector"])
        nests = ["array(1D, x) list", "struct(x, 't' t) pair", "map('k', x) map", "array(array(x)) deep"]
        return flat.selectExpr("id", "vector", *nests)

    assert_frames_close(nested(0.1 + 0.2), nested(0.3, Vectors.sparse(2, [1], [0.3])), keys="id")
    said = failure_of(nested(0.3), nested(0.4))
    for place in ("list[1]", "pair['x']", "map['k']", "vector[1]", "deep[0][0]"):
        assert f"id='a': {place} is 0.3, expected 0.4" in said


@pytest.mark.spark
def test_spark_types_nulls_and_pandas_instants(spark):
    one = spark.createDataFrame([("a", 1, None)], "id string, n int, x double")
    assert "type of 'n': int, expected bigint" in failure_of(one, one.selectExpr("id", "CAST(n AS bigint) AS n", "x"))
    # Spark can tell null from NaN, pandas cannot
    nan = one.selectExpr("id", "n", "double('NaN') AS x")
    assert "x is None, expected nan" in failure_of(one, nan)
    assert_frames_close(one, pd.DataFrame({"id": ["a"], "n": [1.0], "x": [np.nan]}), keys=["id", "n"])
    at = spark.sql("SELECT 'a' AS id, TIMESTAMP '2024-07-01 12:00:00' AS at")
    for instant in (pd.Timestamp("2024-07-01 12:00:00"), datetime(2024, 7, 1, 12, tzinfo=UTC)):
        assert_frames_close(at, pd.DataFrame({"id": ["a"], "at": [instant]}), keys="id")
    assert "at is" in failure_of(at, pd.DataFrame({"id": ["a"], "at": [pd.Timestamp("2024-07-01 12:00:01")]}))


@pytest.mark.spark
def test_bags_count_rows(spark):
    rows = spark.createDataFrame([(1, "a"), (1, "a"), (2, None)], "n int, t string")
    assert bag_faults(("one", rows), ("two", rows.orderBy("n", ascending=False))) == []
    assert bag_faults(("one", rows), ("two", rows.distinct())) == ["only in one, 1 row:", "  {'n': 1, 't': 'a'}"]
    assert "columns in two: {'n': 'int'}" in bag_faults(("one", rows), ("two", rows.select("n")))
