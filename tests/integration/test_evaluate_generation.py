"""Evaluation of a sealed generation, held against scikit-learn on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from held_out import OF_THREE, OF_TWO, SALES, sealed, write_events
from sklearn import metrics

from headrace.batch.evaluate import evaluate
from headrace.errors import InputError
from headrace.evaluate.splitting import Splitting
from headrace.report import write_evaluation

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def world(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from headrace.config import load

    folder = tmp_path_factory.mktemp("evaluated")
    settings = load([f"home={folder / 'home'}"], environment="local")
    events = write_events(folder / "tickets.csv")
    return settings, events, {d.name: sealed(spark, settings, d, events) for d in (SALES, OF_TWO, OF_THREE)}


def told(world: Any, definition: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The labels held out, and what the generation tells of their events."""
    _, events, generations = world
    held_out = events.inputs[events.cut :]
    usable = ~np.isnan(held_out).any(axis=1)
    parameters = generations[definition.name].theta()["learner"]
    made = definition.learner.score(parameters, held_out[usable])
    return events.targets[definition.target][events.cut :][usable], made


def test_numbers(spark: Any, world: Any, tmp_path: Path) -> None:
    settings, _, generations = world
    found = evaluate(spark, settings, SALES, generations["tickets"].manifest.generation).to_json()
    actual, made = told(world, SALES)
    assert found["rows"] == len(actual)
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(actual, made["prediction"]), rel=1e-9)
    assert found["rmse_of_mean"] == pytest.approx(actual.std(), rel=1e-9)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(actual, made["prediction"]), rel=1e-9)
    assert found["r2"] == pytest.approx(metrics.r2_score(actual, made["prediction"]), rel=1e-9)
    assert found["skipped"] == {"seats is null or no finite number": 300 - len(actual)}
    residuals = found["residuals"]
    edges = np.array(residuals["edges"])
    inside = np.clip(actual - made["prediction"], edges[0], np.nextafter(edges[-1], 0))
    assert residuals["counts"] == np.histogram(inside, edges)[0].tolist()
    assert sum(residuals["counts"]) == len(actual)
    assert residuals["too_low"] + residuals["too_high"] == pytest.approx(1)
    page = write_evaluation(tmp_path / "evaluation.html", found).read_text()
    assert page.count("<svg") == 1
    assert f"{found['rmse']:.6g}" in page
    assert "<script" not in page


def test_two_classes(spark: Any, world: Any, tmp_path: Path) -> None:
    settings, _, generations = world
    found = evaluate(spark, settings, OF_TWO, generations["full_houses"].manifest.generation).to_json()
    actual, made = told(world, OF_TWO)
    likely = made["probability_1"]
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(actual, likely), abs=1e-9)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(actual, likely), rel=1e-9)
    assert found["confusion"] == metrics.confusion_matrix(actual, made["prediction"]).tolist()
    assert found["calibration"]["brier"] == pytest.approx(metrics.brier_score_loss(actual, likely), rel=1e-9)
    assert sum(one["rows"] for one in found["calibration"]["bins"]) == len(actual)
    shares = np.bincount(actual) / len(actual)
    assert found["log_loss_of_shares"] == pytest.approx(-(shares * np.log(shares)).sum())
    for one in found["cuts"][::10]:
        cut = likely >= one["cut"]
        assert one["confusion"] == metrics.confusion_matrix(actual, cut, labels=[0, 1]).tolist()
        assert one["f1"] == pytest.approx(metrics.f1_score(actual, cut))
        assert one["precision"] == pytest.approx(metrics.precision_score(actual, cut, zero_division=0))
    best = max(metrics.f1_score(actual, likely >= each / 100) for each in range(101))
    assert metrics.f1_score(actual, likely >= found["best_cut"]["f1"]) == pytest.approx(best)
    page = write_evaluation(tmp_path / "evaluation.html", found).read_text()
    assert page.count("<svg") == 2
    assert "told 1" in page


def test_three_classes(spark: Any, world: Any) -> None:
    settings, _, generations = world
    found = evaluate(spark, settings, OF_THREE, generations["kinds"].manifest.generation).to_json()
    actual, made = told(world, OF_THREE)
    precision, recall, f1, rows = metrics.precision_recall_fscore_support(actual, made["prediction"])
    assert [one["f1"] for one in found["by_class"]] == pytest.approx(f1.tolist())
    assert [one["precision"] for one in found["by_class"]] == pytest.approx(precision.tolist())
    assert [one["recall"] for one in found["by_class"]] == pytest.approx(recall.tolist())
    assert [one["rows"] for one in found["by_class"]] == rows.tolist()
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(actual, made["prediction"], average="macro"))


def test_two_generations_on_the_same_events(spark: Any, world: Any, tmp_path: Path) -> None:
    settings, events, generations = world
    first = generations["tickets"].manifest.generation
    second = sealed(spark, settings, SALES, events).manifest.generation
    found = evaluate(spark, settings, SALES, second, other=first).to_json()
    assert (found["generation"], found["other"]) == (second, first)
    assert {one["metric"]: one["better"] for one in found["against"]} == {"rmse": None, "mae": None, "r2": None}
    assert "Beside generation" in write_evaluation(tmp_path / "evaluation.html", found).read_text()


def test_a_part_that_is_named_is_measured_instead(spark: Any, world: Any) -> None:
    settings, events, generations = world
    number = generations["tickets"].manifest.generation
    part = Splitting.of({"splitting": {"percentBegin": 0, "percentEnd": 10}})
    found = evaluate(spark, settings, SALES, number, part=part)
    assert found.found["rows"] == int((~np.isnan(events.inputs[:100]).any(axis=1)).sum())


def test_without_a_part_nothing_is_held_out(spark: Any, world: Any) -> None:
    from dataclasses import replace

    settings, _, generations = world
    with pytest.raises(InputError, match=r"holds nothing out.*percentBegin"):
        evaluate(spark, settings, replace(SALES, training=None), generations["tickets"].manifest.generation)
