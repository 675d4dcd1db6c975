"""PostgreSQL as a source: rows as Parquet with their types, and every refusal by name with nothing written."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from headrace.batch.datasource import asked
from headrace.errors import InputError, SourceUnavailable
from headrace.sources.postgres import connected, query_to_parquet
from headrace.sources.tickit.query import QUERY
from headrace.sources.tickit.stage import load
from headrace.sources.tickit.tables import invented
from headrace.testing.plugin import SettingsFactory

pytestmark = pytest.mark.postgres

TYPES = """SELECT true AS b, 7::smallint AS i, 7::bigint AS l, 1.5::double precision AS d, 2.50::numeric(5,2) AS m,
1.25::numeric AS n, 'a''b\\c'::text AS t, DATE '2008-02-29' AS day, TIMESTAMP '2008-02-29 12:00:00.5' AS at,
NULL::int AS x"""


def test_types_and_values(postgres: Any, tmp_path: Path) -> None:
    assert query_to_parquet(postgres, TYPES, tmp_path / "rows.parquet") == 1
    table = pq.read_table(tmp_path / "rows.parquet")
    assert [str(field.type) for field in table.schema] == [
        *("bool", "int32", "int64", "double", "decimal128(5, 2)", "double", "string", "date32[day]"),
        *("timestamp[us, tz=UTC]", "int32"),
    ]
    (row,) = table.to_pylist()
    assert row["m"] == Decimal("2.50")
    assert (row["n"], row["t"], row["day"], row["x"]) == (1.25, "a'b\\c", date(2008, 2, 29), None)
    assert row["at"] == datetime(2008, 2, 29, 12, 0, 0, 500_000, tzinfo=UTC)


def test_many_rows_in_the_order_of_the_query_and_the_same_bytes(postgres: Any, tmp_path: Path) -> None:
    query = "SELECT n, n * 2 AS twice FROM generate_series(1, 25000) n ORDER BY n DESC;"
    paths = [tmp_path / name for name in ("one.parquet", "other.parquet")]
    assert {query_to_parquet(postgres, query, path) for path in paths} == {25_000}
    assert pq.ParquetFile(paths[0]).num_row_groups == 3
    assert pq.read_table(paths[0])["n"].to_pylist() == list(range(25_000, 0, -1))
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT * FROM no_such_table", 'relation "no_such_table" does not exist (42P01)'),
        ("SELECT 1 AS a; DROP SCHEMA public", "cannot insert multiple commands"),
        ("SELECT 1 AS a WHERE false", "the query gives no row"),
        ("SELECT 1 AS a, 2 AS a", "two columns of one name; found ['a']"),
        ("SELECT ARRAY[1] AS a", "column 'a' of the query has a type that is not read"),
        ("SELECT 1 / (n - 5) AS a FROM generate_series(1, 9) n", "division by zero"),
        ("  ", "there is no query"),
        ("INSERT INTO pg_class VALUES (1)", "syntax error"),
    ],
)
def test_what_cannot_be_read_is_named_and_nothing_is_written(
    postgres: Any, tmp_path: Path, query: str, says: str
) -> None:
    with pytest.raises(InputError, match="query") as refused:
        query_to_parquet(postgres, query, tmp_path / "out" / "rows.parquet")
    assert says in str(refused.value)
    assert not list((tmp_path / "out").glob("**/*"))


def test_a_wrong_password_a_role_without_grants_and_no_server(postgres: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the role is refused.*password authentication failed"):
        query_to_parquet(replace(postgres, password="guessed"), "SELECT 1 AS a", tmp_path / "rows.parquet")
    with connected(postgres) as connection:
        connection.run("CREATE TABLE secret (a int)")
        connection.run("CREATE ROLE reader LOGIN PASSWORD 'r'")
    with pytest.raises(InputError, match=r"the role is refused.*permission denied for table secret"):
        query_to_parquet(replace(postgres, user="reader", password="r"), "SELECT a FROM secret", tmp_path / "r.parquet")
    with pytest.raises(SourceUnavailable, match=r"does not answer at 127\.0\.0\.1:1;"):
        query_to_parquet(replace(postgres, port=1), "SELECT 1 AS a", tmp_path / "rows.parquet")
    assert not list(tmp_path.iterdir())


def test_the_tables_of_the_case_are_filled_once_and_queried(postgres: Any, tmp_path: Path) -> None:
    note = load(postgres, 500, invented())
    assert "GENERATED" in note
    path = tmp_path / "sales.parquet"
    assert query_to_parquet(postgres, QUERY.format(schema="tickit"), path) == 500
    rows = pq.read_table(path).to_pylist()
    with connected(postgres) as connection:
        (totals,) = connection.run("SELECT sum(qtysold), count(DISTINCT listid), min(xmin::text) FROM tickit.sales")
        load(postgres, 500, invented())
        assert connection.run("SELECT sum(qtysold), count(DISTINCT listid), min(xmin::text) FROM tickit.sales") == [
            totals
        ]
    assert totals[:2] == [sum(row["totalsold"] for row in rows), 500]
    assert all(0 < row["totalsold"] <= row["num_tickets"] for row in rows)
    assert [row["list_id"] for row in rows] == sorted(row["list_id"] for row in rows)


def test_a_query_of_ones_own_becomes_a_file(
    postgres: Any, headrace_settings: SettingsFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_POSTGRES_PASSWORD", postgres.password)
    where = (f"postgres.{name}={getattr(postgres, name)}" for name in ("database", "user"))
    settings = headrace_settings(f"postgres.address={postgres.host}:{postgres.port}", "postgres.tls=false", *where)
    query, rows = tmp_path / "query.sql", tmp_path / "rows.parquet"
    query.write_text("SELECT n, n % 2 = 0 AS even FROM generate_series(1, 30) AS n ORDER BY n;\n")
    asked(settings, query, rows, replace=False)
    assert pq.read_table(rows).to_pylist() == [{"n": n, "even": n % 2 == 0} for n in range(1, 31)]
    query.write_text("SELECT 1 AS n")
    with pytest.raises(InputError, match=r"rows.parquet is there already; .*--replace"):
        asked(settings, query, rows, replace=False)
    query.write_text("SELECT none FROM nowhere")
    with pytest.raises(InputError, match="the query is refused"):
        asked(settings, query, rows, replace=True)
    assert pq.read_metadata(rows).num_rows == 30
    query.write_text("SELECT 1 AS n")
    asked(settings, query, rows, replace=True)
    assert pq.read_table(rows).to_pylist() == [{"n": 1}]


def test_a_schema_of_somebody_else_is_not_filled(postgres: Any) -> None:
    with connected(postgres) as connection:
        connection.run("DROP SCHEMA IF EXISTS tickit CASCADE")
        connection.run("CREATE SCHEMA tickit")
    with pytest.raises(InputError, match="is not ours to fill"):
        load(postgres, 10, invented())
    with connected(postgres) as connection:
        connection.run("DROP SCHEMA tickit")
