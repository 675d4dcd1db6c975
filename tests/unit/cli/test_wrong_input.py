"""Wrong input ends a command with exit code 2 and says what to do, before Spark is started."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from headrace.cli import main
from headrace.cli.options import named_paths
from headrace.errors import StartAgain


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


def test_a_full_disk_may_have_room_later() -> None:
    with pytest.raises(StartAgain, match="/d/out cannot be used; found No space left on device"), named_paths():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/d/out")
    with pytest.raises(ConnectionResetError), named_paths():
        raise ConnectionResetError(errno.ECONNRESET, "reset by peer")
