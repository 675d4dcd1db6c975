"""The sales case by the command line: a warehouse filled and asked, a model trained, judged, and told apart by nobody.

Oracle: scikit-learn on the same query's rows, and the single prediction of each record against the batch's.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import Ridge

from .conftest import Shell

pytestmark = [pytest.mark.spark, pytest.mark.dynamodb, pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell with a store and a warehouse, and none of the developers' data."""
    import shutil

    from headrace.local.postgres import data_folder

    made = Shell(tmp_path_factory.mktemp("sales") / ".headrace", {"HEADRACE_DATA": ""})
    made.run("up", "dynamodb", "postgres")
    yield made
    made.run("down")
    folder = data_folder((made.home / "engines" / "postgres").resolve())
    if not folder.is_relative_to(made.home):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def ran(warehouse: Shell) -> Any:
    return warehouse.json("run", "sales")


def rows_of(shell: Shell) -> Any:
    (staged,) = (shell.home / "staged").glob("*.parquet")
    return pq.read_table(staged).to_pandas()


def predictions(ran: Any) -> tuple[list[str], np.ndarray]:
    with gzip.open(ran["held_out"]["predictions"], "rt", newline="") as lines:
        head, *rest = list(csv.reader(lines))
    return head, np.array(rest, dtype=float)


def test_as_many_records_as_published_are_predicted_as_scikit_learn_does(warehouse: Shell, ran: Any) -> None:
    assert (ran["held_out"]["records_seen"], ran["held_out"]["records_failed"]) == (30_382, 0)
    assert "GENERATED" in ran["note"]
    rows = rows_of(warehouse)
    cut = len(rows) * 7 // 10
    price = np.log(rows["price_per_ticket"])
    inputs = np.column_stack(
        [
            rows["num_tickets"],
            price,
            rows["num_tickets"] * price,
            np.log1p(rows["venue_seats"].fillna(0)),
            rows["weekday"].str.strip().isin(["FR", "SA", "SU"]),
            rows["holiday"],
        ]
    ).astype(float)
    target = rows["totalsold"].to_numpy(float)
    mean, spread = inputs[:cut].mean(axis=0), inputs[:cut].std(axis=0)
    # The penalty is in units of a scaled target, beside the mean squared error.
    scaled = (inputs - mean) / spread
    theirs = Ridge(alpha=0.001 * cut).fit(scaled[:cut], target[:cut]).predict(scaled[cut:])
    head, told = predictions(ran)
    assert head == ["trueLabel", "score"]
    assert told[:, 0].tolist() == target[cut:].tolist()
    np.testing.assert_allclose(told[:, 1], theirs, rtol=1e-6)
    found = warehouse.json("evaluate", "sales")
    assert found["rmse"] == pytest.approx(float(np.sqrt(((told[:, 1] - told[:, 0]) ** 2).mean())))
    assert found["rmse"] < 0.6 * found["rmse_of_mean"]
    assert Path(found["report"]).is_file()


def test_a_single_record_gets_the_number_of_the_batch(warehouse: Shell, ran: Any, tmp_path: Path) -> None:
    rows = rows_of(warehouse)
    cut = len(rows) * 7 // 10
    records = tmp_path / "records.jsonl"
    with records.open("w") as out:
        for row in rows.iloc[cut : cut + 50].to_dict("records"):
            price = float(np.log(row["price_per_ticket"]))
            numbers = {
                "num_tickets": row["num_tickets"],
                "price_log": price,
                "tickets_by_price": row["num_tickets"] * price,
                "seats_log": float(np.log1p(row["venue_seats"] or 0)),
                "is_weekend": int(row["weekday"].strip() in ("FR", "SA", "SU")),
                "is_holiday": int(row["holiday"]),
            }
            out.write(json.dumps(numbers) + "\n")
    done = warehouse.run("predict", "sales", str(records))
    single = [json.loads(line)["prediction"] for line in done.stdout.splitlines()]
    # Java's logarithm and NumPy's may differ in the last bit of an input; equal inputs give equal bits, which
    # test_batch_prediction asserts.
    np.testing.assert_allclose(single, predictions(ran)[1][:50, 1], rtol=1e-12)


def test_a_second_run_finds_everything_done(warehouse: Shell, ran: Any) -> None:
    again = warehouse.json("run", "sales")
    assert again["generation"] == ran["generation"]
    assert again["sent"] == 0
    assert again["held_out"] == ran["held_out"]
    predicted = warehouse.json("batch-predict", "sales", "--single")
    assert predicted["resumed"] == predicted["shards"] > 0
    assert warehouse.json("verify", "sales")["mismatched"] == 0
