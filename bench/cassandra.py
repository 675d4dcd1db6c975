"""What loading a table of Cassandra and taking its snapshot cost us, against a bare job of the Spark connector."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.measure import Metric, compared, in_this_process_alone, side_by_side, wall
from headrace.batch.loading import LAYOUTS, load_file
from headrace.batch.table_source import take_snapshot
from headrace.batch.tables import ensured_table
from headrace.config import Settings, load
from headrace.local.engines import running
from headrace.session import open_session
from headrace.sinks.cassandra import drop_table
from headrace.sources.cassandra import Cassandra, catalog, connected, required_table, table_in

ROWS, TABLE = 541_909, "online_retail"
LAYOUT = LAYOUTS[TABLE]


def run(work: Path, source: Path) -> list[Metric]:
    """Wall seconds with a warm session, of the real file: written into an empty table, and read whole into Parquet."""
    with running("cassandra", work, load(environment="local")) as engine:
        host, _, port = str(engine.endpoint).rpartition(":")
        address = [f"cassandra.hosts={host}", f"cassandra.port={port}"]
        settings = load([f"home={work}", "spark.master=local[2]", *address], "local")
        spark = open_session(settings, "bench cassandra", ("delta", "cassandra-source"))
        try:
            with connected(settings) as cassandra:
                return [_written(spark, settings, cassandra, source), _read(spark, settings, cassandra, work)]
        finally:
            spark.stop()


def _written(spark: Any, settings: Settings, cassandra: Cassandra, source: Path) -> Metric:
    mine, theirs = side_by_side(
        lambda: in_this_process_alone(lambda: _load(spark, settings, cassandra, source)),
        lambda: in_this_process_alone(lambda: _bare_write(spark, settings, cassandra, source)),
        rounds=3,
    )
    return compared("cassandra_write_wall_vs_bare_connector", mine, theirs, wall, at_most=1.1, rows=ROWS)


def _load(spark: Any, settings: Settings, cassandra: Cassandra, source: Path) -> None:
    drop_table(cassandra, settings.cassandra.keyspace, TABLE)
    assert load_file(spark, settings, cassandra, TABLE, source, now=datetime.now(UTC)).in_table == ROWS


def _bare_write(spark: Any, settings: Settings, cassandra: Cassandra, source: Path) -> None:
    """The file's rows numbered within their invoice, written and counted, as one writes it with the connector alone."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    drop_table(cassandra, settings.cassandra.keyspace, "bare")
    table, _ = ensured_table(settings, cassandra, "bare", LAYOUT.shape, now=datetime.now(UTC))
    name = table_in(spark, catalog(spark, settings), table, 60)
    lines = spark.read.csv(str(source), header=True, escape='"').withColumn("at", F.monotonically_increasing_id())
    rows = lines.select(
        F.col("InvoiceNo").alias("invoice"),
        F.row_number().over(Window.partitionBy("InvoiceNo").orderBy("at")).alias("line"),
        F.col("StockCode").alias("stock_code"),
        F.col("Description").alias("description"),
        F.col("Quantity").cast("int").alias("quantity"),
        F.to_timestamp("InvoiceDate", "M/d/yyyy H:mm").alias("invoice_date"),
        F.col("UnitPrice").cast("double").alias("price"),
        F.col("CustomerID").alias("customer_id"),
        F.col("Country").alias("country"),
    )
    rows.writeTo(name).append()
    assert spark.table(name).count() == ROWS


def _read(spark: Any, settings: Settings, cassandra: Cassandra, work: Path) -> Metric:
    table = required_table(cassandra, settings.cassandra.keyspace, TABLE)
    name = table_in(spark, catalog(spark, settings), table, 60)

    def mine() -> None:
        shutil.rmtree(settings.lake / "snapshots", ignore_errors=True)
        taken = take_snapshot(spark, settings, table, LAYOUT.schema, now=datetime.now(UTC))
        assert taken.rows == ROWS

    def bare() -> None:
        spark.table(name).write.mode("overwrite").parquet(str(work / "bare"))

    ours, theirs = side_by_side(lambda: in_this_process_alone(mine), lambda: in_this_process_alone(bare), rounds=3)
    return compared("cassandra_read_wall_vs_bare_connector", ours, theirs, wall, at_most=1.1, rows=ROWS)
