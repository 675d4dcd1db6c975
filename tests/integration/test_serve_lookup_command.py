"""`headrace lookup` as a user runs it, against DynamoDB Local."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commanded import Table, filled_table, free_port
from published import FITTED, LEARNER, learned, promote, publish, version

from headrace.schemas import Vector
from headrace.stores.port import ModelItem
from headrace.testing.plugin import SettingsFactory

pytestmark = pytest.mark.dynamodb


@pytest.fixture
def table(dynamodb: str, headrace_settings: SettingsFactory, tmp_path: Path) -> Iterator[Table]:
    with filled_table(headrace_settings(endpoint=dynamodb), tmp_path / "home") as filled:
        yield filled


def test_lookup_prints_the_answer_as_json(table: Table) -> None:
    answer = json.loads(table.run("lookup", "segments", "17850", "--json").stdout)
    assert list(answer) == [
        "definition", "entity", "prediction", "features", "layer", "generation", "vector", "as_of", "age_s", "stale",
    ]  # fmt: skip
    assert (answer["entity"], answer["features"], answer["generation"]) == ("17850", {"recency": 301}, 2)
    older = json.loads(table.run("lookup", "segments", "a b/ü", "--json").stdout)
    assert (older["entity"], older["features"], older["generation"]) == ("a b/ü", {"recency": 2}, 2)


def test_lookup_prints_a_table_for_people(table: Table) -> None:
    shown = table.run("lookup", "segments", "17850").stdout
    for words in (
        r"segments / 17850",
        r"cluster +│ +4",
        r"segment +│ +Can't Lose",
        r"recency +│ +301",
        r"generation +│ +2",
    ):
        assert re.search(words, shown), shown
    assert re.search(r"age +│ +\d+ d", shown), shown


def test_lookup_of_an_unknown_key_exits_1(table: Table) -> None:
    for definition, entity, message in (
        ("segments", "nobody", "'segments' has no prediction for entity 'nobody'"),
        ("segment", "17850", "nothing is served under definition 'segment'; check the spelling"),
    ):
        done = table.run("lookup", definition, entity, "--json", expect=1)
        assert message in done.stderr
        assert done.stdout == ""


def test_lookup_before_anything_was_published_exits_1(table: Table) -> None:
    fresh = Table(table.store, [*table.options, "--set", f"store.table=test-{uuid.uuid4().hex}"], table.environment)
    assert "headrace run segments" in fresh.run("lookup", "segments", "17850", expect=1).stderr


def test_an_instant_needs_a_zone_and_something_served_then(table: Table) -> None:
    done = table.run("lookup", "segments", "17850", "--as-of", "2026-01-01", expect=2)
    assert "did you mean '2026-01-01T00:00:00Z'?" in done.stderr
    done = table.run("lookup", "segments", "17850", "--as-of", "2026-01-01T00:00:00Z", expect=1)
    assert "nothing of 'segments' was served at 2026-01-01T00:00:00+00:00" in done.stderr
    done = table.run("lookup", "segments", "17850", "--as-of", "2999-01-01T00:00:00Z", expect=2)
    assert "has not come" in done.stderr


def test_lookup_with_the_engine_down_exits_75_and_says_what_to_do(table: Table) -> None:
    down = Table(table.store, ["--set", "store.endpoint=engine"], table.environment)
    assert "headrace up dynamodb" in down.run("lookup", "segments", "17850", expect=75).stderr
    gone = Table(table.store, ["--set", f"store.endpoint=http://127.0.0.1:{free_port()}"], table.environment)
    assert "does not answer" in gone.run("lookup", "segments", "17850", expect=75).stderr


def test_lookup_imports_neither_spark_nor_pandas_nor_the_server(table: Table) -> None:
    script = (
        "import sys\nfrom headrace.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as stop:\n    assert stop.code == 0, stop.code\n"
        "print(sorted({'pyspark', 'pandas', 'fastapi', 'uvicorn', 'pyarrow'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", script, "lookup", "segments", "17850", "--json", *table.options]
    done = subprocess.run(command, capture_output=True, text=True, env=table.environment, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_predict_scores_records_from_a_file_and_from_standard_input(table: Table, tmp_path: Path) -> None:
    publish(table.store, "rides", 1, {"a": version(1, 1)}, **learned())
    promote(table.store, "rides", 1)
    records = tmp_path / "records.jsonl"
    records.write_text('{"temperature": 20, "wind": 3}\n\n{"wind": 5, "temperature": 10}\n', "utf-8")
    done = table.run("predict", "rides", str(records))
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"prediction": 175.0}, {"prediction": 100.0}]
    assert 'generation 1, parameters count up to [["", "file", 100]]' in done.stderr
    contribution = LEARNER.contribution(FITTED, np.array([[30.0, 5.0, 400.0]]))
    table.store.write_model("rides", 1, ModelItem(json.dumps(contribution), Vector({("t", "0"): 3})))
    live = json.loads(table.run("predict", "rides", str(records)).stdout.splitlines()[0])
    assert live["prediction"] > 180
    assert table.run("predict", "rides", str(records), "--fitted").stdout == done.stdout
    records.write_text("{broken\n", "utf-8")
    assert "line 1 is not JSON" in table.run("predict", "rides", str(records), expect=2).stderr
    records.write_text("[1]\n", "utf-8")
    assert "line 1 is no record" in table.run("predict", "rides", str(records), expect=2).stderr
    records.write_text('{"temperature": 20, "winf": 3}\n', "utf-8")
    assert "nearest wind" in table.run("predict", "rides", str(records), expect=2).stderr.replace("'", "")
    assert "has no learner" in table.run("predict", "segments", str(records), expect=1).stderr
