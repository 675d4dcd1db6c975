"""Cassandra as a target of loads and as a definition's history: the same events as the file's, each of them once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest
from cassandra_world import NOW, count_of, purchases, table_settings

from headrace.batch import loading
from headrace.batch.cleaning import drop, planned
from headrace.batch.ingest import ingest
from headrace.batch.loading import load_file
from headrace.batch.made import record
from headrace.batch.table_source import checked_table, kept_snapshot, landing, write_back
from headrace.batch.tables import ensured_table
from headrace.definitions import load_definition
from headrace.errors import (
    DatabaseUnavailable,
    HeadraceError,
    InputError,
    SchemaError,
    TerminalError,
)
from headrace.sinks.cassandra import Shape
from headrace.sources.cassandra import catalog, connected, require_murmur3, required_table, wait_until_active
from headrace.sources.files import fingerprint, read_events
from headrace.sources.lake import snapshot

pytestmark = [pytest.mark.spark, pytest.mark.cassandra]

SEGMENTS = load_definition("segments")
COLUMNS = SEGMENTS.source.schema.names


@pytest.fixture
def settings(cassandra, headrace_settings):
    return table_settings(cassandra, headrace_settings)


@pytest.fixture
def opened(settings):
    with connected(settings) as cassandra:
        yield cassandra


@pytest.fixture
def made(opened, settings):
    """Makes a table and fills it by statements."""

    def make(name: str, columns: str, *rows: str) -> None:
        keyspace = settings.cassandra.keyspace
        options = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        opened.execute(f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {options}")
        opened.execute(f"CREATE TABLE {keyspace}.{name} ({columns})")
        for row in rows:
            opened.execute(f"INSERT INTO {keyspace}.{name} {row}")

    return make


def events(spark, settings):
    """How often each event is in the lake."""
    rows = snapshot(spark, settings.lake, "purchases").events.select(*COLUMNS).collect()
    return Counter(tuple(row) for row in rows)


def count(opened, settings, table="online_retail"):
    return opened.execute(f"SELECT count(*) AS n FROM {settings.cassandra.keyspace}.{table}")[0].n


def test_a_file_and_the_table_it_was_loaded_into_give_the_same_events(
    spark, settings, opened, headrace_settings, tmp_path
):
    path = purchases(tmp_path / "sales.csv")
    rows = count_of(path)
    done = load_file(spark, settings, opened, "online_retail", path, now=NOW)
    assert (done.rows, done.written, done.resumed, done.in_table) == (rows, rows, 0, rows)
    assert count(opened, settings) == rows

    table = checked_table(settings, opened, SEGMENTS)
    read = landing(spark, settings, SEGMENTS, table, refresh=False, now=NOW)
    assert (read.snapshot.rows, read.replace) == (rows, False)
    landed = ingest(spark, settings, SEGMENTS, read.path, now=NOW)
    assert (landed.landed, landed.quarantined) == (rows, 0)

    other = headrace_settings(f"home={tmp_path / 'other'}")
    ingest(spark, other, SEGMENTS, path, now=NOW)
    from_table = events(spark, settings)
    assert from_table == events(spark, other)
    assert max(from_table.values()) > 1  # equal lines stand

    # Nulls were left out rather than written: no cell has a tombstone, so none has a write time.
    some = opened.execute(
        f"SELECT customer_id, writetime(customer_id) AS written FROM {settings.cassandra.keyspace}.online_retail"
    )
    assert {row.written is None for row in some if row.customer_id is None} == {True}


def test_a_snapshot_serves_later_runs_until_it_is_refreshed(spark, settings, opened, tmp_path):
    load_file(spark, settings, opened, "online_retail", purchases(tmp_path / "sales.csv", 20), now=NOW)
    table = checked_table(settings, opened, SEGMENTS)
    first = landing(spark, settings, SEGMENTS, table, refresh=False, now=NOW)
    ingest(spark, settings, SEGMENTS, first.path, now=NOW)
    again = ingest(spark, settings, SEGMENTS, first.path, now=NOW)
    assert again.already_landed

    later = landing(spark, settings, SEGMENTS, table, refresh=False, now=NOW + timedelta(hours=26))
    assert later.snapshot == first.snapshot
    assert "1 day 2 h ago; --refresh reads it anew" in later.note

    same = landing(spark, settings, SEGMENTS, table, refresh=True, now=NOW + timedelta(hours=27))
    assert (same.snapshot.sha256, same.replace) == (first.snapshot.sha256, False)

    keyspace = settings.cassandra.keyspace
    opened.execute(f"DELETE FROM {keyspace}.online_retail WHERE invoice = '5001'")
    fresh = landing(spark, settings, SEGMENTS, table, refresh=True, now=NOW + timedelta(hours=28))
    assert fresh.replace
    ingest(spark, settings, SEGMENTS, fresh.path, now=NOW, replace=fresh.replace)
    assert sum(events(spark, settings).values()) == count(opened, settings) < first.snapshot.rows
    assert [kept_snapshot(settings, table.full_name)] == [fresh.snapshot]
    # It stays a replacement until it has landed, whatever crashed in between.
    assert landing(spark, settings, SEGMENTS, table, refresh=False, now=NOW).replace is False


def test_a_load_that_was_stopped_goes_on_where_it_stopped(spark, settings, opened, tmp_path, monkeypatch):
    path = purchases(tmp_path / "sales.csv", 60)
    rows = count_of(path)
    monkeypatch.setattr(loading, "SLICE_ROWS", 40)
    append, calls = loading.append, []

    def stops(frame, target):
        calls.append(target)
        append(frame, target)
        if len(calls) == 3:  # written, and not noted yet
            raise KeyboardInterrupt

    monkeypatch.setattr(loading, "append", stops)
    first, told = [], []
    with pytest.raises(KeyboardInterrupt):
        load_file(spark, settings, opened, "online_retail", path, now=NOW, advance=first.append)
    done = load_file(spark, settings, opened, "online_retail", path, now=NOW, advance=told.append)
    assert (len(first), done.resumed, done.in_table, sum(told)) == (2, sum(first), rows, rows)
    assert 0 < done.written == rows - done.resumed
    assert len(calls) == 1 + -(-rows // 40)

    # The lines of an invoice are numbered in the file's order, in whichever slices they are.
    lines = pd.read_csv(path, dtype=str)
    numbers = lines.groupby("InvoiceNo").cumcount() + 1
    expected = set(zip(lines["InvoiceNo"], numbers, lines["StockCode"], lines["Quantity"].astype(int), strict=True))
    stored = opened.execute(
        f"SELECT invoice, line, stock_code, quantity FROM {settings.cassandra.keyspace}.online_retail"
    )
    assert {tuple(row) for row in stored} == expected
    again = load_file(spark, settings, opened, "online_retail", path, now=NOW)
    assert (again.written, again.in_table) == (0, rows)

    monkeypatch.setattr(loading, "SLICE_ROWS", 60)  # as another release may cut them
    otherwise = load_file(spark, settings, opened, "online_retail", path, now=NOW)
    assert (otherwise.resumed, otherwise.written, otherwise.in_table) == (0, rows, rows)

    other = purchases(tmp_path / "others.csv", 30)
    with pytest.raises(InputError, match=r"online_retail holds rows that a load of others.csv did not write"):
        load_file(spark, settings, opened, "online_retail", other, now=NOW)


def test_only_what_was_made_is_dropped(spark, settings, opened, tmp_path):
    keyspace = settings.cassandra.keyspace
    path = purchases(tmp_path / "sales.csv", 20)
    load_file(spark, settings, opened, "online_retail", path, now=NOW)
    landing(spark, settings, SEGMENTS, checked_table(settings, opened, SEGMENTS), refresh=False, now=NOW)
    sizes = {0: 7, 1: 3}
    table = write_back(settings, opened, "segments-00000001", NOW, sizes, now=NOW)
    write_back(settings, opened, "segments-00000001", NOW, sizes, now=NOW)
    rows = opened.execute(f"SELECT * FROM {table}")
    assert [(r.run_id, r.segment, r.total_customers, str(r.run_date)) for r in rows] == [
        ("segments-00000001", 0, 7, "2024-05-01"),
        ("segments-00000001", 1, 3, "2024-05-01"),
    ]
    opened.execute(f"CREATE TABLE {keyspace}.theirs (a int PRIMARY KEY)")

    steps = planned(settings, opened)
    assert [(step.made.kind, step.drops) for step in steps] == [
        ("table", True), ("table", True), ("snapshot", True), ("keyspace", False),
    ]  # fmt: skip
    assert f"it holds {keyspace}.theirs" in steps[-1].text
    for step in steps:
        if step.drops:
            drop(settings, opened, step)
    left = opened.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?", (keyspace,))
    assert [row.table_name for row in left] == ["theirs"]
    assert [one.kind for one in record(settings.made)] == ["keyspace"]
    assert kept_snapshot(settings, f"{keyspace}.online_retail") is None

    load_file(spark, settings, opened, "online_retail", path, now=NOW)
    opened.execute(f"DROP TABLE {keyspace}.online_retail")
    opened.execute(f"CREATE TABLE {keyspace}.online_retail (a int PRIMARY KEY)")
    (step,) = [step for step in planned(settings, opened) if step.made.kind == "table"]
    assert (step.drops, step.why) == (False, "the one there is another table of that name")


def test_results_in_a_table_of_others_are_dropped_run_by_run(settings, opened, made):
    made(
        "ml_clustering_results",
        "run_id text, segment int, total_customers int, run_date date, PRIMARY KEY (run_id, segment)",
        "(run_id, segment, total_customers) VALUES ('theirs', 1, 5)",
    )
    write_back(settings, opened, "ours", NOW, {0: 1, 1: 2}, now=NOW)
    (step,) = planned(settings, opened)
    assert (step.made.kind, step.drops) == ("rows", True)
    drop(settings, opened, step)
    left = opened.execute(f"SELECT run_id FROM {settings.cassandra.keyspace}.ml_clustering_results")
    assert [row.run_id for row in left] == ["theirs"]


COLUMNS_OF_RETAIL = (
    "invoice text, line int, stock_code text, description text, quantity int, invoice_date timestamp, price double, "
    "customer_id text, country text, PRIMARY KEY ((invoice), line)"
)


@pytest.mark.parametrize(
    ("name", "columns", "error", "says"),
    [
        ("online_retial", COLUMNS_OF_RETAIL, InputError, r"no table \w+\.online_retail .*nearest 'online_retial'"),
        ("online_retail", COLUMNS_OF_RETAIL, InputError, r"online_retail is empty"),
        (
            "online_retail",
            COLUMNS_OF_RETAIL.replace("customer_id text", "customerid text"),
            SchemaError,
            r"lacks column 'customer_id'.*nearest 'customerid'",
        ),
        (
            "online_retail",
            COLUMNS_OF_RETAIL.replace("quantity int", "quantity text"),
            SchemaError,
            r"column 'quantity' of table .* has another type than is declared; found text; expected int",
        ),
    ],
    ids=["missing", "empty", "column", "type"],
)
def test_what_is_wrong_with_a_table_is_named_first(settings, opened, made, name, columns, error, says):
    made(name, columns)
    with pytest.raises(error, match=says):
        checked_table(settings, opened, SEGMENTS)
    assert not settings.lake.exists()


def test_a_keyspace_that_is_not_there_is_named(settings, opened):
    with pytest.raises(InputError, match="there is no keyspace"):
        required_table(opened, settings.cassandra.keyspace, "online_retail")


def test_a_table_of_another_shape_is_not_written(settings, opened, made):
    made("online_retail", COLUMNS_OF_RETAIL.replace("((invoice), line)", "((line), invoice)"))
    with pytest.raises(SchemaError, match="has another key; found line, invoice; expected invoice, line"):
        ensured_table(settings, opened, "online_retail", loading.LAYOUTS["online_retail"].shape, now=NOW)
    assert record(settings.made) == []


def test_a_price_that_is_a_decimal_is_read_as_the_nearest_double(spark, settings, opened, made):
    made(
        "online_retail",
        COLUMNS_OF_RETAIL.replace("price double", "price decimal"),
        "(invoice, line, quantity, invoice_date, price) VALUES ('1', 1, 2, '2011-01-01 08:00:00Z', 0.145)",
    )
    table = checked_table(settings, opened, SEGMENTS)
    read = landing(spark, settings, SEGMENTS, table, refresh=False, now=NOW)
    ingest(spark, settings, SEGMENTS, read.path, now=NOW)
    ((row, times),) = events(spark, settings).items()
    assert (row[5], times) == (0.145, 1)


def test_a_condition_on_the_key_is_pushed_down(spark, settings, opened, tmp_path):
    load_file(spark, settings, opened, "online_retail", purchases(tmp_path / "sales.csv", 10), now=NOW)
    rows = spark.table(f"{catalog(spark, settings)}.{settings.cassandra.keyspace}.online_retail")
    one = rows.where("invoice = '5003'").select("line", "price")
    plan = one._jdf.queryExecution().toString()
    assert 'Cassandra Filters: [["invoice" = ?, 5003]]' in plan
    assert one.count() == 4


def test_another_partitioner_names_the_remedy(opened):
    class Elsewhere:
        address = "keyspaces"

        def execute(self, statement):
            (row,) = opened.execute(statement)
            return [row._replace(partitioner="com.amazonaws.cassandra.DefaultPartitioner")]

    require_murmur3(opened)
    with pytest.raises(TerminalError, match=r"UPDATE system.local SET partitioner = 'org.apache.*Murmur3Partitioner'"):
        require_murmur3(Elsewhere())


def test_a_new_table_is_waited_for(settings, opened, made):
    """The system table of Amazon Keyspaces, in a keyspace of that name."""
    opened.settings = opened.settings.model_copy(update={"retry_s": 0.5})
    shape = Shape({"a": "int"}, ("a",), ())
    ensured_table(settings, opened, "t", shape, now=NOW)
    options = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    opened.execute(f"CREATE KEYSPACE system_schema_mcs WITH replication = {options}")
    try:
        opened.execute(
            "CREATE TABLE system_schema_mcs.tables (keyspace_name text, table_name text, status text, "
            "PRIMARY KEY (keyspace_name, table_name))"
        )
        keyspace = settings.cassandra.keyspace
        with pytest.raises(DatabaseUnavailable, match="not active yet; found not listed yet; expected ACTIVE"):
            wait_until_active(opened, keyspace, "t")
        told = "INSERT INTO system_schema_mcs.tables (keyspace_name, table_name, status) VALUES (?, ?, ?)"
        opened.execute(told, (keyspace, "t", "ACTIVE"))
        wait_until_active(opened, keyspace, "t")
    finally:
        opened.execute("DROP KEYSPACE system_schema_mcs")


def test_nobody_at_the_address_is_named_and_passing(settings):
    gone = settings.model_copy(
        update={"cassandra": settings.cassandra.model_copy(update={"port": 1, "retry_s": 0.2, "timeout_s": 1.0})}
    )
    with pytest.raises(HeadraceError, match="did not answer while connecting to") as caught, connected(gone):
        pass
    assert caught.value.exit_code == 75


def test_a_snapshot_says_its_age():
    from headrace.batch.table_source import TableSnapshot

    taken = TableSnapshot("k.t", "", "f", "", 1, NOW)
    assert [taken.age(NOW + timedelta(minutes=m)) for m in (0, 59, 61, 24 * 60)] == [
        "0 min",
        "59 min",
        "1 h 1 min",
        "1 day",
    ]
    assert replace(taken, rows=2).age(NOW - timedelta(hours=1)) == "0 min"


def test_rows_are_explored_within_bounds(spark, tmp_path):
    from headrace.batch.exploring import explore
    from headrace.report.exploration import write_exploration

    path = purchases(tmp_path / "sales.csv")
    schema = SEGMENTS.source.schema
    lines = pd.read_csv(path, dtype={"InvoiceNo": str, "CustomerID": str})
    with read_events(spark, fingerprint(path), schema, "invoice_date", arrival_ts=NOW) as decoded:
        found = explore(decoded.events.select(*schema.names), "online_retail", "a note")
    assert (found.rows, found.distinct_rows) == (len(lines), len(lines.drop_duplicates()))
    columns = {column.name: column for column in found.columns}
    assert {name: columns[name].nulls for name in ("customer_id", "description", "price")} == {
        "customer_id": lines["CustomerID"].isna().sum(), "description": lines["Description"].isna().sum(), "price": 0,
    }  # fmt: skip
    assert columns["invoice"].distinct == lines["InvoiceNo"].nunique()
    assert columns["price"].quantiles[3] == lines["UnitPrice"].quantile(0.5, interpolation="lower")
    total = lines["Quantity"] * lines["UnitPrice"]
    returned = lines["InvoiceNo"].str.contains("C")
    assert (found.return_lines, found.return_invoices) == (returned.sum(), lines["InvoiceNo"][returned].nunique())
    assert (found.total, found.return_total) == (pytest.approx(total.sum()), pytest.approx(total[returned].sum()))
    country, invoice, price = found.rankings
    assert [(row[0], row[1]) for row in country.rows] == [("UK", len(lines))]
    by_invoice = total.groupby(lines["InvoiceNo"]).sum().sort_values(ascending=False)
    assert [row[2] for row in invoice.rows] == pytest.approx(list(by_invoice[:15]))
    assert (len(invoice.rows), invoice.groups) == (15, lines["InvoiceNo"].nunique())
    assert float(price.rows[0][0]) == lines["UnitPrice"].max()

    page = write_exploration(tmp_path / "page.html", found).read_text("utf-8")
    assert page.count("<svg") == 4
    assert "a note" in page
    assert "http" not in page.replace("http-equiv", "")
