"""Wrong input ends a command with exit code 2 and says what to do, before Spark is started."""

from __future__ import annotations

import errno
import io
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headrace.batch.made import Made, remember
from headrace.cli import main
from headrace.cli.options import named_paths
from headrace.cli.settings import config
from headrace.config import load
from headrace.errors import StartAgain
from headrace.schemas.lake import table_snapshot_path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["evaluate", "sales"], "there is no sealed generation of 'sales'"),
        (["batch-predict", "sales"], "there is no sealed generation of 'sales'"),
        (["evaluate", "sales", "--against", "0"], "0 is not in the range x>=1"),
        (["rollback", "sales", "--to", "0"], "0 is not in the range x>=1"),
        (["compare", "sales", "-g", "0"], "0 is not in the range x>=1"),
        (["evaluate", "sales", "--part", "bytes.json"], "the part bytes.json cannot be read; found 'utf-8' codec"),
        (["evaluate", "sales", "--part", "nothing.json"], "the part nothing.json cannot be read; found No such file"),
        (
            ["split", "few.csv", "--at", "2011-12-01", "--before", "bytes.json/a.csv", "--after", "b.csv"],
            "bytes.json cannot be used; found File exists; name another place",
        ),
        (["datasource", "rows.csv", "--query", "q.sql"], "found rows.csv; expected NAME.parquet"),
        (["datasource", "none/rows.parquet", "--query", "q.sql"], "there is no folder none; make it"),
        (["datasource", "rows.parquet", "--query", "q.sql"], "the query q.sql cannot be read; found No such file"),
        (["datasource", "rows.parquet", "--replace"], "--replace goes with --definition or --query"),
        (["run", "segments", "--input", "nothing.csv"], "there is no input 'nothing.csv'; check --input"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "home"))
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    (tmp_path / "few.csv").write_text("InvoiceDate\n2011-12-01 08:26:00\n")
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert says in said.err


def test_what_nobody_foresaw_is_no_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(config, "callback", broken)
    with pytest.raises(SystemExit) as ended:
        main(["config"])
    assert ended.value.code == 70
    assert "nobody foresaw this\nheadrace: this is a defect; please report it" in capsys.readouterr().err


def test_nothing_is_dropped_where_nobody_can_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "home"))
    settings = load([], "local")
    snapshot = table_snapshot_path(settings.lake, "shop.orders")
    snapshot.mkdir(parents=True)
    remember(settings.made, Made("snapshot", str(snapshot)), datetime(2026, 1, 1, tzinfo=UTC))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(SystemExit) as ended:
        main(["cleanup"])
    assert (ended.value.code, snapshot.is_dir()) == (2, True)
    assert "there is no terminal to confirm it at; give --yes" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["cleanup", "--yes"])
    assert (ended.value.code, snapshot.is_dir()) == (0, False)


def test_a_full_disk_may_have_room_later() -> None:
    with pytest.raises(StartAgain, match="/d/out cannot be used; found No space left on device"), named_paths():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/d/out")
    with pytest.raises(ConnectionResetError), named_paths():
        raise ConnectionResetError(errno.ECONNRESET, "reset by peer")
