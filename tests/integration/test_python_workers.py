"""Python workers of local sessions."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.spark


def test_workers_import_pyspark_from_the_installed_package(spark):
    """From a zip, every task would read its directory anew."""
    paths = spark.sparkContext.parallelize([0], 1).map(lambda _: [__import__("pyspark").__file__]).collect()[0]
    imported = spark.sparkContext.parallelize([0], 1).map(lambda _: list(__import__("sys").path)).collect()[0]
    assert not [path for path in [*paths, *imported] if "pyspark.zip" in path or path.endswith(".jar")]
