"""Wrong input ends a command with exit code 2 and says what to do, before Spark is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.cli import main


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
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert says in said.err
