"""The sales case from Redshift by the command line, against a stand-in of the Data API over PostgreSQL.

Oracle: the rows that `sales.source=postgres` lands of the same tables.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from redshift_stub import Redshift, running

from headrace.sources.postgres import query_to_parquet
from headrace.sources.redshift import client
from headrace.sources.tickit.query import QUERY
from headrace.sources.tickit.stage import load
from headrace.sources.tickit.tables import invented
from headrace.transforms.tickets import LISTING

from .conftest import Shell

pytestmark = [pytest.mark.spark, pytest.mark.dynamodb, pytest.mark.postgres, pytest.mark.s3]

SOLD, BUCKET = 2_400, "tickit"  # three files of an unload


@dataclass(frozen=True)
class Warehouse:
    """A stand-in of Redshift and how a command reaches it."""

    redshift: Redshift
    bucket: Any
    s3: str
    store: str
    root: Path

    def shell(self, name: str) -> Shell:
        home = self.root / name / ".headrace"
        home.parent.mkdir(exist_ok=True)
        password = {"HEADRACE_POSTGRES_PASSWORD": self.redshift.server.password, "HEADRACE_DATA": ""}
        return Shell(home, {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", **password})

    def options(self, *assignments: str) -> list[str]:
        server = self.redshift.server
        told = (
            *(f"store.endpoint={self.store}", f"store.table=sales-{self.root.name}"),
            *(f"postgres.address={server.host}:{server.port}", f"postgres.user={server.user}", "postgres.tls=false"),
            *(f"redshift.endpoint={self.redshift.url}", f"redshift.s3_endpoint={self.s3}", "redshift.cluster=tickit"),
            *("redshift.db_user=analyst", f"redshift.staging=s3://{BUCKET}/headrace", "redshift.cleanup=delete"),
            *("sales.source=redshift", *assignments),
        )
        return [part for one in told for part in ("--set", one)]

    @property
    def staged(self) -> list[str]:
        return [one["Key"] for one in self.bucket.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


@pytest.fixture(scope="module")
def running_warehouse(
    postgres: Any, s3: str, dynamodb: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Warehouse]:
    root = tmp_path_factory.mktemp(f"redshift-{uuid.uuid4().hex[:8]}-")
    (root / "work").mkdir()
    load(postgres, SOLD, invented())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        bucket = client("s3", "us-east-1", s3)
        bucket.create_bucket(Bucket=BUCKET)
        with running(postgres, bucket, root / "work") as held:
            yield Warehouse(held, bucket, s3, dynamodb, root)


@pytest.fixture
def warehouse(running_warehouse: Warehouse) -> Warehouse:
    """The stand-in as it is when nothing is wrong with it, nothing asked, and nothing staged."""
    held = running_warehouse.redshift
    held.held_after, held.dies_after = None, None
    held.calls.clear()
    held.statements.clear()
    for key in running_warehouse.staged:
        running_warehouse.bucket.delete_object(Bucket=BUCKET, Key=key)
    return running_warehouse


def landed(shell: Shell) -> list[dict[str, Any]]:
    """The events in the lake, but for which file they came in."""
    rows = ds.dataset(shell.home / "lake" / "events" / "listings", exclude_invalid_files=True).to_table()
    kept = rows.drop_columns(["_partition", "_arrival_ts", "_source"])
    return sorted(kept.to_pylist(), key=lambda row: row["_position"])


@pytest.fixture(scope="module")
def ran(running_warehouse: Warehouse) -> Any:
    return running_warehouse.shell("run").json("run", "sales", *running_warehouse.options())


def nothing_is_left(shell: Shell) -> bool:
    return not (shell.home / "lake").exists() and not [path for path in shell.home.rglob("*") if "sales" in path.name]


def test_one_command_lands_trains_publishes_and_answers(running_warehouse: Warehouse, ran: Any, tmp_path: Path) -> None:
    warehouse, shell = running_warehouse, running_warehouse.shell("run")
    assert warehouse.redshift.calls["ExecuteStatement"] == 1
    assert warehouse.staged == []
    assert query_to_parquet(warehouse.redshift.server, QUERY.format(schema="tickit"), tmp_path / "rows.parquet") == SOLD
    rows = landed(shell)
    assert [row["_position"] for row in rows] == list(range(SOLD))
    plain = [{name: row[name] for name in LISTING.names} for row in rows]
    expected = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    # The lake's times are UTC, without saying so to pyarrow.
    assert plain == [{**row, "list_time": row["list_time"].replace(tzinfo=None)} for row in expected]

    assert (ran["generation"], ran["champion_after"]) == (1, 1)
    assert ran["held_out"]["records_seen"] == SOLD - SOLD * 7 // 10
    event = rows[0]["event_id"]
    of_event = [row for row in rows if row["event_id"] == event]
    answer = shell.json("lookup", "sales", str(event), *warehouse.options())
    assert (answer["generation"], answer["layer"]) == (1, "batch")
    assert answer["features"]["listings"] == len(of_event)
    assert answer["features"]["tickets_offered"] == sum(row["num_tickets"] for row in of_event)


@pytest.mark.slow
def test_what_lands_is_what_postgres_lands(warehouse: Warehouse, ran: Any) -> None:
    other = warehouse.shell("other")
    other.run("ingest", "sales", *warehouse.options("sales.source=postgres"))
    assert landed(warehouse.shell("run")) == landed(other)


def deaf_to_ctrl_c() -> None:
    """As a shell starts what runs in its background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize(
    ("number", "started"), [(signal.SIGINT, None), (signal.SIGTERM, None), (signal.SIGTERM, deaf_to_ctrl_c)]
)
def test_a_run_that_is_ended_cancels_the_statement_and_leaves_nothing(
    warehouse: Warehouse, number: signal.Signals, started: Callable[[], None] | None
) -> None:
    warehouse.redshift.held_after = 1
    shell = warehouse.shell(f"ended-{number.name}-{'deaf' if started else 'hearing'}")
    process = shell.start("run", "sales", *warehouse.options(), preexec_fn=started)
    try:
        deadline = time.monotonic() + 120
        while not warehouse.staged and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=120)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == 130, out + err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert warehouse.redshift.calls["CancelStatement"] == 1
    assert [one["Status"] for one in warehouse.redshift.statements.values()] == ["ABORTED"]
    assert warehouse.staged == []
    assert nothing_is_left(shell)


@pytest.mark.parametrize(("cleanup", "left"), [("delete", 0), ("keep_on_failure", 1)])
def test_an_unload_that_dies_half_way_lands_nothing(warehouse: Warehouse, cleanup: str, left: int) -> None:
    warehouse.redshift.dies_after = 1
    shell = warehouse.shell(f"dies-{cleanup}")
    done = shell.run("run", "sales", *warehouse.options(f"redshift.cleanup={cleanup}"), expect=75)
    assert "the unload ended before its end; found ERROR: S3ServiceException" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(warehouse.staged) == left
    if left:
        assert f"staged files are kept at s3://{BUCKET}/headrace/" in done.stderr
    assert nothing_is_left(shell)


def test_a_query_that_is_refused_is_wrong_use(warehouse: Warehouse) -> None:
    shell = warehouse.shell("refused")
    query = shell.home.parent / "query.sql"
    query.write_text("SELECT listid FROM tickit.listings")
    done = shell.run("run", "sales", *warehouse.options(f"sales.query_file={query}"), expect=2)
    assert "the query is refused by Redshift; found ERROR: the query is refused by" in done.stderr
    assert 'relation "tickit.listings" does not exist' in done.stderr
    assert nothing_is_left(shell)
