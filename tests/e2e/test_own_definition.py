"""A newcomer's own CSV and a definition of twenty lines; wrong use, each with its message and exit code."""

from __future__ import annotations

import os
import signal
import textwrap
import time
from pathlib import Path

import pytest

from headrace.cli.opening import opened_store
from headrace.config import load

from .conftest import Shell

pytestmark = [pytest.mark.spark, pytest.mark.dynamodb]

MINE = textwrap.dedent(
    """\
    from headrace import CUT, Count, DaysSince, Definition, Field, Max, Schema, Stream, Sum

    ORDERS = Schema(
        [
            Field("customer", "string", aliases=("Customer ID",)),
            Field("paid_at", "timestamp", required=True, format="yyyy-MM-dd HH:mm"),
            Field("amount", "double", required=True),
        ]
    )

    spend = Definition(
        name="spend",
        entity="customer",
        event_time="paid_at",
        clock=CUT,
        source=Stream("orders", schema=ORDERS),
        features={"orders": Count(), "total": Sum("amount", step="0.01"), "days_quiet": DaysSince(Max("paid_at"))},
    )
    """
)
ORDERS = """\
Customer ID,paid_at,amount
ann,2026-01-03 10:00,10.10
bob,2026-01-04 11:30,5
ann,2026-01-10 09:15,0.2
,2026-01-11 09:15,7
cyd,2026-01-12 00:01,-3.75
"""


@pytest.fixture(scope="module")
def folder(shell: Shell) -> Path:
    place = shell.home.parent
    (place / "mine.py").write_text(MINE, "utf-8")
    (place / "my.csv").write_text(ORDERS, "utf-8")
    return place


@pytest.fixture(scope="module")
def ran(shell: Shell, folder: Path) -> dict[str, object]:
    return shell.json("run", "mine.py:spend", "--input", "my.csv")


def test_the_definition_runs_and_answers(shell: Shell, ran: dict[str, object]) -> None:
    assert ran["entities"] == 3
    assert ran["dropped"] == {"no customer": 1}
    answer = shell.json("lookup", "spend", "ann")
    assert answer["features"] == {"orders": 2, "total": 10.3, "days_quiet": 2}
    assert answer["prediction"] == {}
    assert shell.json("lookup", "mine.py:spend", "cyd")["features"]["total"] == -3.75
    assert shell.json("verify", "mine.py:spend")["mismatched"] == 0
    # The outcomes are kept for the console.
    with opened_store(load([f"home={shell.home}"], "local")) as store:
        kept = {one.kind: one for one in reversed(store.reports("spend"))}
        assert store.definitions() == ["spend"]
    assert (kept["run"].ok, kept["run"].facts["dropped"]) == (None, {"no customer": 1})
    assert kept["run"].summary == "generation 1, the champion: 3 customers of 4 events"
    assert (kept["verify"].ok, kept["verify"].facts["checked"]) == (True, 3)


def test_a_mended_file_replaces_the_first(shell: Shell, ran: dict[str, object], folder: Path) -> None:
    (folder / "mended.csv").write_text(ORDERS.replace("bob", "bea").replace("0.2", "0.3"), "utf-8")
    refused = shell.run("run", "mine.py:spend", "--input", "mended.csv", expect=2)
    assert "--replace" in refused.stderr
    again = shell.json("run", "mine.py:spend", "--input", "mended.csv", "--replace")
    # ann changed, bea is new, bob is gone; cyd is as before.
    assert again["sent"] == 3
    shell.run("lookup", "spend", "bob", expect=1)
    assert shell.json("lookup", "spend", "ann")["features"]["total"] == 10.4
    shell.run("rollback", "spend")
    assert shell.json("lookup", "spend", "bob")["features"]["orders"] == 1
    shell.run("promote", "spend")
    shell.run("lookup", "spend", "bob", expect=1)
    assert shell.json("verify", "mine.py:spend")["extra"] == 0
    assert shell.json("purge", "spend") is not None


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("run", "segmets"), 2, "segments"),
        (("run", "mine.py:spent", "--input", "my.csv"), 2, "spend"),
        (("run", "mine.py:spend", "--input", "mi.csv"), 2, "my.csv"),
        (("run", "mine.py:spend", "--set", "store.tabel=x"), 2, "store.table"),
        (("lookup", "spend", "ann", "--set", "store.endpoint=http://127.0.0.1:9"), 75, "127.0.0.1:9"),
        (("lookup", "spend", "ann", "--set", "serve.port=many"), 2, "serve.port"),
        (("promote", "spend", "-g", "77"), 2, "77"),
        (("ru",), 2, "run"),
    ],
)
def test_wrong_use_is_named(
    shell: Shell, ran: dict[str, object], arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = shell.run(*arguments, expect=code)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_is_down_stops_the_run_before_any_work(shell: Shell, folder: Path) -> None:
    done = shell.run(
        "run", "mine.py:spend", "--input", "my.csv", "--set", "store.endpoint=http://127.0.0.1:9", expect=75
    )
    assert "127.0.0.1:9" in done.stderr
    assert "ingest" not in done.stderr


def test_ctrl_c_exits_130_and_the_same_command_resumes(shell: Shell, ran: dict[str, object], folder: Path) -> None:
    process = shell.start("run", "mine.py:spend", "--input", "my.csv", "--replace")
    assert process.stderr is not None
    for line in process.stderr:
        if "train" in line:
            break
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    assert "\tat " not in rest, "a stack trace of Java"
    assert shell.json("run", "mine.py:spend", "--input", "my.csv", "--replace")["entities"] == 3
    assert shell.json("verify", "mine.py:spend")["mismatched"] == 0


def test_a_state_beyond_its_bound_is_named_and_nothing_is_sealed(
    shell: Shell, ran: dict[str, object], folder: Path
) -> None:
    bounded = MINE.replace('name="spend"', 'name="few"').replace("Count()", 'CountDistinct("paid_at", bound=1)')
    (folder / "few.py").write_text(bounded.replace("import CUT, Count,", "import CUT, CountDistinct,"), "utf-8")
    before = shell.json("generations", "few")["generations"]
    done = shell.run("run", "few.py:spend", expect=2)
    assert "paid_at" in done.stderr
    assert "bound" in done.stderr
    assert "Traceback" not in done.stderr
    assert shell.json("generations", "few")["generations"] == before == []
