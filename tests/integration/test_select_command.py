"""`headrace select` refuses what it cannot do before Spark starts."""

from __future__ import annotations

import pytest

from headrace.cli import main


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["segments", "--grid", "kk=2"], "no such setting; found 'kk'; expected one of k, scale, seed"),
        (["segments", "--grid", "k=1"], "at least two clusters; found k=1"),
        (["segments", "--grid", "k=few"], "'k' of a learner of kind 'kmeans' has no such value; found few"),
        (["segments", "--grid", "k"], "each setting once: NAME=V,V"),
        (["segments", "--grid", "k=2", "--grid", "k=3"], "each setting once: NAME=V,V"),
        (["segments", "--grid", "k=2", "--metric", "silhouete"], "nearest 'silhouette'"),
        (["segments", "--grid", "k=2", "--validation", "1"], "no such share can be held out; found 1.0"),
        (["segments", "--grid", "k=2", "--validation", "0.2", "--folds", "3"], "exclude each other"),
        (["segments", "--grid", "k=2", "--validation", "0.2", "--latest"], "entities have no position"),
        (["segments", "--grid", "k=2", "--latest"], "--latest needs --validation"),
        (["segments"], "Missing option '--grid'"),
    ],
)
def test_wrong_use_is_named(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["select", *arguments])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
