"""The segments case on the real file, by the command line: counts, scores, proof, tampering, going back."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from online_retail_facts import SEGMENT_COUNTS, rfm_by_pandas
from pmml_evaluator import evaluated

from headrace import config
from headrace.local.endpoints import store_endpoint
from headrace.registry import Registry
from headrace.stores import open_store
from headrace.stores.port import Version, Write

from .conftest import Shell

pytestmark = [pytest.mark.spark, pytest.mark.dynamodb]

DATA = Path(os.environ.get("HEADRACE_DATA", "/nonexistent")) / "online_retail" / "online-retail-dataset.csv.gz"


@pytest.fixture(scope="module")
def oracle() -> pd.DataFrame:
    """RFM as the case does it in pandas."""
    if not DATA.is_file():
        pytest.skip("Online Retail is not here: set HEADRACE_DATA to a folder that holds online_retail/")
    return rfm_by_pandas(DATA)


@pytest.fixture(scope="module")
def served(shell: Shell, oracle: pd.DataFrame) -> dict[str, Any]:
    """One whole run, as `headrace run` reports it in JSON."""
    return shell.json("run", "segments", "--input", str(DATA))


def test_the_run_serves_every_customer_and_reaches_the_inertia(served: dict[str, Any]) -> None:
    assert served["entities"] == 4372
    assert served["metrics"]["inertia"] <= 17.1
    assert Path(served["report"]).is_file()


def test_settings_are_selected_on_what_was_held_out(shell: Shell, served: dict[str, Any]) -> None:
    found = shell.json("select", "segments", "--grid", "k=2,6", "--validation", "0.3", "--metric", "inertia")
    assert (found["samples"], found["best"]) == (4372, {"k": 6})
    few, six = (trial["mean"] for trial in found["trials"])
    assert few["rows"] == six["rows"] == pytest.approx(0.3 * 4372, rel=0.1)
    # Centres of the other seven tenths fit these nearly as well as those of all: three tenths of the inertia of all.
    assert six["inertia"] == pytest.approx(0.3 * served["metrics"]["inertia"], rel=0.4)
    assert few["inertia"] > 2 * six["inertia"]
    assert Path(found["report"]).is_file()


def test_lookups_agree_with_pandas(shell: Shell, served: dict[str, Any], oracle: pd.DataFrame) -> None:
    chosen = ["17850", *random.Random(11).sample(list(oracle.index), 200)]
    one = shell.json("lookup", "segments", "17850")
    assert one["generation"] == served["generation"]
    assert one["layer"] == "batch"
    answers = {"17850": one} | _read(shell, chosen[1:])
    for customer in chosen:
        expected, got = oracle.loc[customer], answers[customer]
        said = {**got["features"], **got["prediction"]}
        for column in ("recency", "frequency", "r_score", "f_score", "m_score", "segment"):
            assert said[column] == expected[column], (customer, column)
        assert said["monetary"] == pytest.approx(expected["monetary"], abs=5e-4)
        assert said["rfm_score"] == f"{expected.r_score}{expected.f_score}{expected.m_score}"


def test_every_segment_has_the_published_count(shell: Shell, served: dict[str, Any]) -> None:
    assert served["counts"]["segment"] == SEGMENT_COUNTS


def test_an_unknown_key_is_a_no(shell: Shell, served: dict[str, Any]) -> None:
    done = shell.run("lookup", "segments", "nobody", expect=1)
    assert "nobody" in done.stderr


def test_running_again_sends_nothing(shell: Shell, served: dict[str, Any]) -> None:
    again = shell.json("run", "segments", "--input", str(DATA))
    assert again["generation"] == served["generation"]
    assert again["sent"] == 0


def test_training_again_changes_nothing_and_sends_nothing(shell: Shell, served: dict[str, Any]) -> None:
    again = shell.json("run", "segments", "--retrain")
    assert again["generation"] > served["generation"]
    assert again["sent"] == 0
    back = shell.json("rollback", "segments")
    assert back["generation"] == served["generation"]


def test_verify_finds_nothing_then_finds_what_was_tampered_with(shell: Shell, served: dict[str, Any]) -> None:
    clean = shell.json("verify", "segments")
    assert (clean["checked"], clean["mismatched"], clean["missing"], clean["extra"]) == (4372, 0, 0, 0)
    settings = config.load([f"home={shell.home}"])
    store = open_store(settings.store, store_endpoint(settings))
    try:
        kept = store.read("segments", ["17850", "13047"])
        true, newest = kept["17850"], max(kept["17850"])
        forged = json.loads(true[newest].outputs or "")
        forged["prediction"]["segment"] = "Champions of nothing"
        store.write_versions(
            "segments", newest, [Write("17850", Version(true[newest].state, json.dumps(forged)), exists=True)]
        )
        store.write_versions("segments", newest, [Write("intruder", true[newest], exists=False)])
        store.remove_versions("segments", {"13047": [*kept["13047"]]})
        found = shell.json("verify", "segments", expect=1)
    finally:
        store.close()
    assert (found["mismatched"], found["missing"], found["extra"]) == (1, 1, 1)
    assert {example["entity"] for example in found["examples"]} == {"17850", "13047", "intruder"}


def test_another_tool_gives_every_customer_the_served_cluster(
    shell: Shell, served: dict[str, Any], tmp_path: Path
) -> None:
    number = str(served["generation"])
    shell.run("export", "segments", "-g", number, "--out", str(tmp_path / "segments.pmml"))
    state = Registry(shell.home / "registry").load("segments", served["generation"]).state_path
    rows = pd.read_parquet(state)
    features = [[float(one[name]) for name in ("recency", "frequency", "monetary")] for one in rows["features"]]
    told = evaluated((tmp_path / "segments.pmml").read_bytes(), features)
    assert [one["cluster"] for one in told] == [one["cluster"] for one in rows["prediction"]]
    assert len(told) == served["entities"]


def _read(shell: Shell, customers: list[str]) -> dict[str, Any]:
    from datetime import UTC, datetime

    from headrace.serving.lookup import Lookups

    settings = config.load([f"home={shell.home}"])
    store = open_store(settings.store, store_endpoint(settings))
    lookups = Lookups(store, settings.serve.champion_cache_s, lambda: datetime.now(UTC))
    try:
        found: dict[str, Any] = {}
        for start in range(0, len(customers), 100):
            served = lookups.many("segments", customers[start : start + 100])
            assert not served.missing
            found |= {answer.entity: answer.to_json() for answer in served.answers}
        return found
    finally:
        store.close()
