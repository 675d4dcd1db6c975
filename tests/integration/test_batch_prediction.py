"""Batch prediction: counted, resumed to the same bytes, and the numbers that a single record gets."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from held_out import NOW, OF_THREE, OF_TWO, SALES, sealed, write_events

from headrace.batch.prediction import predict_events, predict_file
from headrace.batch.sharding import Predicted, predict_batch
from headrace.definitions.events import marked
from headrace.errors import DefinitionError, InputError, SchemaError
from headrace.evaluate.splitting import Splitting
from headrace.models.encoded import Encoded
from headrace.models.encoding import Number, OneHot
from headrace.registry import Generation
from headrace.sources.lake import events_at, snapshot

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def world(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from headrace.config import load

    folder = tmp_path_factory.mktemp("held-out")
    settings = load([f"home={folder / 'home'}"], environment="local")
    events = write_events(folder / "tickets.csv")
    return settings, events, {d.name: sealed(spark, settings, d, events) for d in (SALES, OF_TWO, OF_THREE)}


def read(path: Path) -> list[list[str]]:
    with gzip.open(path, "rt", newline="") as lines:
        return list(csv.reader(lines))


def expected_scores(generation: Generation, rows: np.ndarray, learner: Any) -> list[float]:
    """What one record at a time is told, as `:predict` tells it."""
    parameters = generation.theta()["learner"]
    return [float(learner.score(parameters, row[None, :])[learner.outputs[0]][0]) for row in rows]


def test_the_held_out_part_is_scored_as_single_records_are(spark: Any, world: Any, tmp_path: Path) -> None:
    settings, events, generations = world
    done = predict_events(
        spark, settings, SALES, tmp_path / "out", generation=generations["tickets"].manifest.generation
    )
    held_out = events.inputs[events.cut :]
    usable = ~np.isnan(held_out).any(axis=1)
    assert (done.seen, done.failed) == (300, int((~usable).sum()))
    assert done.by_reason == {"seats is null or no finite number": done.failed}
    head, *lines = read(done.paths[0])
    assert head == ["trueLabel", "score"]
    assert [float(label) for label, _ in lines] == events.targets["sold"][events.cut :][usable].tolist()
    assert all("E" in score for _, score in lines)
    # To the last bit: a double written with 17 digits reads back as itself.
    told = [float(score) for _, score in lines]
    assert told == expected_scores(generations["tickets"], held_out[usable], SALES.learner)
    missed = events.targets["sold"][events.cut :][usable] - told
    assert done.rmse == pytest.approx(float(np.sqrt(np.mean(missed**2))), rel=1e-12)
    with gzip.open(tmp_path / "out" / "failed-00000.jsonl.gz", "rt") as failed:
        places = [json.loads(line)["_position"] for line in failed]
    assert places == [row for row in range(events.cut, 1_000) if row % 50 == 0]


@pytest.mark.parametrize("definition", [OF_TWO, OF_THREE], ids=lambda one: one.name)
def test_classes_have_a_best_answer_and_probabilities(spark: Any, world: Any, tmp_path: Path, definition: Any) -> None:
    settings, events, generations = world
    generation = generations[definition.name]
    done = predict_events(
        spark,
        settings,
        definition,
        tmp_path / "out",
        generation=generation.manifest.generation,
        every=True,
        single=True,
    )
    assert done.rmse is None
    head, *lines = read(done.paths[0])
    usable = ~np.isnan(events.inputs).any(axis=1)
    learner = definition.learner
    made = learner.score(generation.theta()["learner"], events.inputs[usable])
    assert [int(line[1]) for line in lines] == made["prediction"].tolist()
    scores = ["probability_1"] if learner.classes == 2 else list(learner.outputs[:-1])
    assert head[2:] == (["score"] if learner.classes == 2 else scores)
    for place, name in enumerate(scores):
        assert [float(line[2 + place]) for line in lines] == made[name].tolist()


def test_an_interrupted_job_resumes_to_the_same_bytes(spark: Any, world: Any, tmp_path: Path) -> None:
    settings, _, generations = world
    generation = generations["tickets"]

    def predicted(folder: Path, shard_records: int = 64) -> Predicted:
        events = marked(SALES, events_at(spark, settings.lake, SALES.source.name))
        rows = Splitting(70, 100).numbered(events)
        return predict_batch(
            SALES, generation, rows, folder, {"delta_version": 0}, shard_records=shard_records, single=True
        )

    whole = predicted(tmp_path / "whole")
    assert (whole.shards, whole.resumed, whole.seen) == (5, 0, 300)
    cut_short = tmp_path / "cut"
    predicted(cut_short)
    (cut_short / "part-00001.json").unlink()  # before its receipt
    (cut_short / "part-00003.csv.gz").write_bytes(b"half")  # damaged
    (cut_short / "predictions.csv.gz").unlink()
    again = predicted(cut_short)
    assert again.rmse == whole.rmse
    assert (again.shards, again.resumed, again.seen, again.by_reason) == (5, 3, 300, whole.by_reason)
    for name in ("predictions.csv.gz", *(f"part-0000{shard}.csv.gz" for shard in range(5))):
        assert (cut_short / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert predicted(cut_short).resumed == 5
    single = predicted(tmp_path / "one", 1_000)
    assert read(single.paths[0]) == read(whole.paths[0]), "shards joined are the file that one shard is"
    with pytest.raises(InputError, match=r"another job.*shard_records"):
        predicted(cut_short, 100)


def test_a_file_is_scored_without_landing_it(spark: Any, world: Any, tmp_path: Path) -> None:
    settings, events, generations = world
    number = generations["tickets"].manifest.generation
    path = tmp_path / "new.csv"
    lines = events.path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[2:12], lines[12].replace("2026-01-01", "yesterday")]) + "\n")
    done = predict_file(spark, settings, SALES, path, tmp_path / "out", generation=number, now=NOW)
    assert (done.seen, done.failed) == (11, 1)
    assert [float(score) for _, score in read(done.paths[0])[1:]] == expected_scores(
        generations["tickets"], events.inputs[1:11], SALES.learner
    )
    assert snapshot(spark, settings.lake, SALES.source.name).rows == 1_000


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("venue,at,seats,price,sold,full,kind,extra", "a column that training did not have; found 'extra'"),
        ("venue,at,seats,sold,full,kind", "lacks column 'price', which training had"),
    ],
)
def test_another_schema_is_refused_by_name(spark: Any, world: Any, tmp_path: Path, head: str, says: str) -> None:
    settings, _, generations = world
    number = generations["tickets"].manifest.generation
    row = dict(
        zip(
            ["venue", "at", "seats", "price", "sold", "full", "kind", "extra"],
            ["v", "2026-01-01 00:00:00", "1", "2", "3", "0", "1", "9"],
            strict=True,
        )
    )
    path = tmp_path / "other.csv"
    path.write_text(f"{head}\n{','.join(row[name] for name in head.split(','))}\n")
    with pytest.raises(SchemaError, match=r"other.csv") as refused:
        predict_file(spark, settings, SALES, path, tmp_path / "out", generation=number, now=NOW)
    assert says in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_type_that_drifted_since_training_is_refused_by_name(spark: Any, world: Any, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    settings, _, generations = world
    number = generations["tickets"].manifest.generation
    rows = {"venue": ["v"], "at": [NOW], "seats": [1.0], "price": [["2"]], "sold": [3.0], "full": [0], "kind": [1]}
    pq.write_table(pa.table(rows), tmp_path / "drifted.parquet", coerce_timestamps="us")
    with pytest.raises(SchemaError, match="price"):
        predict_file(spark, settings, SALES, tmp_path / "drifted.parquet", tmp_path / "out", generation=number, now=NOW)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_predicted_is_named_before_anything_is_written(spark: Any, world: Any, tmp_path: Path) -> None:
    settings, _, generations = world
    number = generations["tickets"].manifest.generation
    changed = replace(SALES, training=Splitting(0, 60))
    with pytest.raises(DefinitionError, match="changed since generation"):
        predict_events(spark, settings, changed, tmp_path / "out", generation=number)
    no_record = Splitting(0, 0.01)
    with pytest.raises(InputError, match="there is no record to predict"):
        predict_events(spark, settings, SALES, tmp_path / "out", generation=number, part=no_record)
    assert not (tmp_path / "out").exists()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        predict_events(spark, settings, SALES, tmp_path / "own", generation=number)


def test_a_job_that_fails_before_its_first_shard_does_not_hinder_the_next(
    spark: Any, world: Any, tmp_path: Path
) -> None:
    settings, events, _ = world
    learner = Encoded((Number("price"), OneHot("kind")), unseen="fail")
    definition = replace(SALES, name="by_kind", learner=learner)
    generation = sealed(spark, settings, definition, events)
    folder, path = tmp_path / "out", tmp_path / "new.csv"
    lines = events.path.read_text().splitlines()[:12]

    def predicted(last_kind: str) -> Predicted:
        path.write_text("\n".join([*lines[:-1], lines[-1].rpartition(",")[0] + "," + last_kind]) + "\n")
        number = generation.manifest.generation
        return predict_file(spark, settings, definition, path, folder, generation=number, now=NOW)

    with pytest.raises(InputError, match="kind has a category that no sample of training had"):
        predicted("9")
    assert list(tmp_path.iterdir()) == [path]
    done = predicted("2")
    assert (done.seen, done.resumed) == (11, 0)
    kept = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(InputError, match="another job"):
        predicted("9")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == kept


def test_a_job_that_fails_later_keeps_its_shards(spark: Any, world: Any, tmp_path: Path) -> None:
    settings, _, generations = world
    folder = tmp_path / "out"

    def predicted() -> Predicted:
        rows = Splitting(70, 100).numbered(marked(SALES, events_at(spark, settings.lake, SALES.source.name)))
        return predict_batch(SALES, generations["tickets"], rows, folder, {"delta_version": 0}, shard_records=64)

    predicted()
    (folder / "part-00003.json").unlink()
    (folder / "part-00003.csv.gz").unlink()
    (folder / "part-00003.csv.gz").mkdir()  # so that the shard cannot be put in its place
    with pytest.raises(Exception, match="part-00003"):
        predicted()
    (folder / "part-00003.csv.gz").rmdir()
    assert predicted().resumed == 4


def test_held_out_events_are_measured_and_not_trained_on(world: Any) -> None:
    _, events, generations = world
    manifest = generations["tickets"].manifest
    assert manifest.rows == 1_000
    assert manifest.metrics["rows"] == int((~np.isnan(events.inputs[: events.cut]).any(axis=1)).sum())
    assert manifest.metrics["held_out"]["rows"] == int((~np.isnan(events.inputs[events.cut :]).any(axis=1)).sum())
