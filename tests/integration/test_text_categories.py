"""Texts as categories from a file to predictions: the same numbers in batch, over HTTP and by command, and live."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from commanded import Table, serve

from headrace.algebra import Count
from headrace.batch.evaluate import evaluate
from headrace.batch.ingest import ingest
from headrace.batch.lease import owner_name
from headrace.batch.prediction import predict_events
from headrace.batch.promote import promote
from headrace.batch.run import publish_on_base
from headrace.batch.train import train
from headrace.config import Settings
from headrace.definitions import Definition, Field, Schema, Splitting, Stream
from headrace.models.encoded import Encoded
from headrace.models.encoding import Cross, Number, OneHot
from headrace.registry import Generation
from headrace.registry.export import as_pmml
from headrace.schemas import Vector
from headrace.sources.lake import snapshot
from headrace.speed.learning import learn
from headrace.speed.settling import Plan
from headrace.speed.spark_interval import SparkInterval
from headrace.stores import Opening
from headrace.stores.port import Store

pytestmark = [pytest.mark.spark, pytest.mark.dynamodb]

NOW = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = ("MO", "mo", "it's, Fri", 'the "7th"', "St. Louis day", "Übertag")
LEARNER = Encoded(
    (OneHot("weekday"), Cross("state", "weekday", most=6), Number("seats", "mean")), ridge=0.01, unseen="quarantine"
)
SCHEMA = Schema(
    [
        Field("venue", "string"),
        Field("at", "timestamp", format="yyyy-MM-dd HH:mm:ss"),
        Field("weekday", "string"),
        Field("state", "string"),
        Field("seats", "double"),
        Field("sold", "double"),
    ]
)
WORDED = Definition(
    name="worded",
    entity="venue",
    event_time="at",
    source=Stream("worded", SCHEMA),
    features={"listings": Count()},
    learner=LEARNER,
    target="sold",
    training=Splitting(0, 70),
)
ROWS, CUT = 400, 280
Row = Mapping[str, Any]


def drawn(seed: int, count: int) -> list[Row]:
    """Rows of which some have no state, which are not usable, and others no seats, which are filled in."""
    random = np.random.default_rng(seed)
    made = []
    for n in range(count):
        day, state = int(random.integers(0, len(DAYS))), int(random.integers(0, 3))
        sold = 10 * day + 5 * state * (day == 1) + float(random.normal(0, 3))
        seats = None if n % 20 == 0 else int(random.integers(50, 900))
        named = None if n % 30 == 7 else ("BE", "ZH", "GE")[state]
        made.append({"weekday": DAYS[day], "state": named, "seats": seats, "sold": round(sold, 2)})
    return made


def as_file(path: Path, rows: Sequence[Row], year: int) -> Path:
    with path.open("w", newline="", encoding="utf-8") as out:
        lines = csv.DictWriter(out, SCHEMA.names)
        lines.writeheader()
        lines.writerows(
            {**row, "venue": f"v{n % 5}", "at": f"{year}-01-0{1 + n * 3 // len(rows)} 00:00:00"}
            for n, row in enumerate(rows)
        )
    return path


def array(rows: Sequence[Row], *more: str) -> np.ndarray:
    """The oracle's samples: texts as they are, a missing number as none."""
    names = ("weekday", "state", "seats", *more)
    values = [[float("nan") if row[name] is None else row[name] for name in names] for row in rows]
    return np.array(values, dtype=object)


@dataclass
class Place:
    settings: Settings
    store: Store
    generation: Generation
    held_out: list[Row]

    @property
    def theta(self) -> dict[str, Any]:
        found: dict[str, Any] = self.generation.theta()["learner"]
        return found

    def expected(self, parameters: Mapping[str, Any], rows: Sequence[Row]) -> list[float]:
        return LEARNER.score(parameters, array(rows))["prediction"].tolist()


@pytest.fixture
def place(spark: Any, headrace_settings: Any, dynamodb: str, tmp_path: Path) -> Iterator[Place]:
    settings = headrace_settings(endpoint=dynamodb)
    store = Opening(settings.store, dynamodb, 20).open()
    store.prepare()
    rows = drawn(1, ROWS)
    rows[CUT + 1] = {**rows[CUT + 1], "weekday": "XX", "state": "BE"}
    ingest(spark, settings, WORDED, as_file(tmp_path / "one.csv", rows, 2025), now=NOW)
    made = train(spark, settings, WORDED, now=NOW).generation
    endpoint = settings.store.endpoint
    publish_on_base(spark, settings, made, owner=owner_name(), endpoint=endpoint, say=lambda _: None, base=None)
    promote(store, WORDED.name, made.manifest.generation, now=NOW)
    yield Place(settings, store, made, rows[CUT:])
    store.close()


def test_batch_http_and_command_tell_the_same_numbers_and_live_ones_those_of_a_recomputation(
    spark: Any, place: Place, tmp_path: Path
) -> None:
    assert place.theta["texts"] == {"weekday": sorted(DAYS), "state": ["BE", "GE", "ZH"]}
    assert [*place.generation.theta()["ranges"]] == ["seats"]
    number = place.generation.manifest.generation
    done = predict_events(spark, place.settings, WORDED, tmp_path / "out", generation=number)
    without_state = sum(row["state"] is None for row in place.held_out)
    assert done.by_reason == {
        "state is null or no text": without_state,
        "weekday is no category of training": 1,
    }
    with gzip.open(tmp_path / "out" / "failed-00000.jsonl.gz", "rt") as failed:
        assert "weekday is no category of training; found 'XX'" in {json.loads(line)["reason"] for line in failed}
    with gzip.open(done.paths[0], "rt", newline="") as lines:
        batch = [float(score) for _, score in list(csv.reader(lines))[1:]]
    known = [row for row in place.held_out if row["state"] and row["weekday"] in DAYS]
    assert batch == place.expected(place.theta, known)
    measured = evaluate(spark, place.settings, WORDED, number)
    assert measured.skipped == done.by_reason
    assert measured.found["rmse"] == pytest.approx(done.rmse, rel=1e-12)
    assert measured.found["rmse"] < measured.found["rmse_of_mean"] / 3
    assert place.generation.manifest.metrics["held_out"]["rmse"] == pytest.approx(done.rmse, rel=1e-9)
    assert b'optype="categorical" dataType="string"' in as_pmml(place.generation)

    late = drawn(2, 90)
    late[3] = {**late[3], "weekday": "XX", "state": "BE"}  # as a sample it counts
    ingest(spark, place.settings, WORDED, as_file(tmp_path / "two.csv", late, 2024), now=NOW)
    seen, cut = snapshot(spark, place.settings.lake, "worded"), Vector.from_json(place.generation.manifest.cut)
    plan = Plan(WORDED, number, place.store.champion("worded"), cut, place.generation.theta())
    opening = Opening(place.settings.store, place.settings.store.endpoint, 20)
    for _ in range(2):  # the same interval once more counts nothing
        learn(SparkInterval(plan, opening, seen.events, cut, seen.cut), place.store)
    # The oracle: what the second file adds, counted in one array.
    live = LEARNER.live(place.theta, LEARNER.contribution(place.theta, array(late, "sold")))
    assert live["model"]["coefficients"] != place.theta["model"]["coefficients"]

    records = [{name: row[name] for name in ("weekday", "state", "seats")} for row in known]
    store = place.settings.store
    options = ["--set", f"store.endpoint={store.endpoint}", "--set", f"store.table={store.table}"]
    table = Table(place.store, options, {**os.environ, "HEADRACE_HOME": str(tmp_path / "home")})
    with serve(table) as running:
        url = f"{running.url}/v1/models/worded:predict"

        def asked(records: Sequence[Row], parameters: str, status: int = 200) -> Any:
            answer = requests.post(url, json={"records": records, "parameters": parameters}, timeout=20)
            assert answer.status_code == status, answer.text
            return answer.json()

        for parameters, expected in (("fitted", batch), ("live", place.expected(live, known))):
            told = asked(records, parameters)["predictions"]
            assert [one["prediction"] for one in told] == expected
        odd = asked([{**records[0], "weekday": "XX"}, {**records[0], "seats": 1e6}], "fitted")
        assert odd["predictions"][0] is None
        assert odd["quarantined"] == [{"record": 0, "reason": "weekday is no category of training; found 'XX'"}]
        assert [(one["record"], one["field"]) for one in odd["outside"]] == [(1, "seats")]
        for field, bad, says in (
            ("weekday", 1, "record 0 lacks a text in 'weekday'; found 1; expected a text"),
            ("state", None, "record 0 lacks a text in 'state'; found None; expected a text"),
            ("seats", "many", "record 0 lacks a number in 'seats'; found 'many'; expected a finite number"),
        ):
            assert says in asked([{**records[0], field: bad}], "fitted", 422)["detail"]
    for option, expected in ((["--fitted"], batch), ([], place.expected(live, known))):
        command = [sys.executable, "-m", "headrace.cli", "predict", "worded", *option, *options]
        lines = "".join(json.dumps(record) + "\n" for record in records)
        done_by = subprocess.run(
            command, input=lines, capture_output=True, text=True, env=table.environment, timeout=60, check=True
        )
        assert [json.loads(line)["prediction"] for line in done_by.stdout.splitlines()] == expected
