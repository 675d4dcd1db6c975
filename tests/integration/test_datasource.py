"""A data source: kinds told from values, a file that people edit, statistics as pandas computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headrace.batch.datasource import described
from headrace.errors import InputError, SchemaError
from headrace.evaluate.datasource import DataSource
from headrace.report import write_statistics

pytestmark = pytest.mark.spark


@pytest.fixture
def rides(tmp_path: Path) -> Path:
    random = np.random.default_rng(5)
    count = 200
    frame = pd.DataFrame(
        {
            "n": random.normal(10, 3, count).round(3),
            "kind": random.choice(["a", "b", "c"], count),
            "flag": random.choice([0, 1], count),
            "said": [f"text {i}" for i in range(count)],
            "one": [1.5] * count,
        }
    )
    frame.loc[::20, "n"] = np.nan
    frame["sold"] = frame["n"].fillna(0) * 2 + random.normal(0, 1, count)
    path = tmp_path / "rides.csv"
    frame.to_csv(path, index=False)
    return path


def test_kinds_statistics_and_the_page(spark: Any, rides: Path, tmp_path: Path) -> None:
    source, columns = described(spark, rides, tmp_path / "rides.toml", "sold")
    assert {one.name: one.kind for one in source.columns} == {
        "n": "numeric",
        "kind": "categorical",
        "flag": "binary",
        "said": "text",
        "one": "numeric",
        "sold": "numeric",
    }
    assert source.learner == "linear regression"
    frame = pd.read_csv(rides)
    found = {one["name"]: one for one in columns}
    n = found["n"]
    assert (n["count"], n["missing"], n["distinct"]) == (190, 10, frame["n"].nunique())
    assert [n["min"], n["max"], n["mean"]] == pytest.approx([frame["n"].min(), frame["n"].max(), frame["n"].mean()])
    assert n["deciles"] == pytest.approx(frame["n"].quantile(np.arange(1, 10) / 10).tolist())
    assert n["correlation"] == pytest.approx(frame["n"].corr(frame["sold"]))
    assert found["one"]["correlation"] is None
    assert found["kind"]["top"][0] == {
        "value": frame["kind"].value_counts().index[0],
        "rows": int(frame["kind"].value_counts().iloc[0]),
    }
    page = write_statistics(tmp_path / "page.html", "rides.csv", "sold", source.learner, columns).read_text()
    assert page.count("<svg") >= 5
    assert "linear regression" in page


def test_the_file_is_edited_and_then_obeyed(spark: Any, rides: Path, tmp_path: Path) -> None:
    file = tmp_path / "rides.toml"
    source, _ = described(spark, rides, file, "sold")
    assert DataSource.of(file.read_text()) == source
    file.write_text(file.read_text().replace('target = "sold"', 'target = "kind"'))
    edited, _ = described(spark, rides, file, None)
    assert edited.learner == "multinomial logistic regression"
    with pytest.raises(InputError, match="names another target; found 'kind'"):
        described(spark, rides, file, "sold")
    rides.write_text(rides.read_text().replace("flag", "flags", 1))
    with pytest.raises(SchemaError, match="column 'flag' is not what the data source says; found no such column"):
        described(spark, rides, file, None)


def test_targets_that_cannot_be_told_are_named(spark: Any, rides: Path, tmp_path: Path) -> None:
    file = tmp_path / "rides.toml"
    for target, says in (
        ("sole", "no column of the data source.*nearest 'sold'"),
        ("one", "has one value in every row"),
        ("said", "is text"),
        (None, "nothing says which column"),
    ):
        with pytest.raises(InputError, match=says):
            described(spark, rides, file, target)
    assert not file.exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('target = "a"\n[columns.a]\ntype = "int"\nkind = "numerical"', "nearest 'numeric'"),
        ('targets = "a"', "nearest 'target'"),
        ('target = "a"\n[columns.a]\ntipe = "int"', "nearest 'type'"),
        ("target =", "is not TOML"),
    ],
)
def test_a_file_that_means_nothing_is_named(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        DataSource.of(text)
