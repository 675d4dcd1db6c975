"""Live parameters on Spark and DynamoDB Local: refreshed from the lake, and proved by `verify`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession
from tapped import LEARNER, SCHEMA, events, history_file, taps

from headrace.algebra import Count, Sum
from headrace.batch.ingest import ingest
from headrace.batch.lease import owner_name
from headrace.batch.promote import promote
from headrace.batch.run import publish_on_base
from headrace.batch.train import train
from headrace.config import Settings
from headrace.definitions import Definition, Field, Schema, Stream
from headrace.errors import AnswerIsNo, DefinitionError
from headrace.models.kmeans import KMeans
from headrace.models.logistic import LogisticRegression
from headrace.models.naive_bayes import NaiveBayes
from headrace.registry import Generation
from headrace.schemas import Vector
from headrace.schemas.lake import quarantine_path
from headrace.serving.lookup import Lookups
from headrace.sources.lake import snapshot
from headrace.speed.learning import learn, refresh
from headrace.speed.settling import Plan
from headrace.speed.spark_interval import SparkInterval
from headrace.speed.verify import verify
from headrace.stores import Opening
from headrace.stores.port import ModelItem, Store

pytestmark = [pytest.mark.spark, pytest.mark.dynamodb]


def choices(count: int, seed: int) -> list[dict[str, Any]]:
    """Events whose x is a class: 1 where it and y together were large."""
    return [{**row, "x": int(row["x"] + 8 * row["y"] > 10)} for row in events(count, seed)]


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Place:
    """A definition, its lake, and a store that serves it."""

    spark: SparkSession
    settings: Settings
    definition: Definition
    store: Store

    def land(self, file: Path) -> None:
        ingest(self.spark, self.settings, self.definition, file, now=now())

    def champion(self) -> Generation:
        made = train(self.spark, self.settings, self.definition, now=now()).generation
        publish_on_base(
            self.spark,
            self.settings,
            made,
            owner=owner_name(),
            endpoint=self.settings.store.endpoint,
            say=lambda _: None,
            base=None,
        )
        promote(self.store, self.definition.name, made.manifest.generation, now=now())
        return made

    def verified(self) -> Any:
        return verify(self.spark, self.settings, self.definition, self.settings.store.endpoint)


def placed(spark: SparkSession, make: Any, dynamodb: str, definition: Definition) -> Iterator[Place]:
    settings = make(endpoint=dynamodb)
    store = Opening(settings.store, dynamodb, 20).open()
    store.prepare()
    yield Place(spark, settings, definition, store)
    store.close()


@pytest.fixture
def people(spark: SparkSession, headrace_settings: Any, dynamodb: str) -> Iterator[Place]:
    definition = dataclasses.replace(
        taps("taps"), features={"n": Count(), "spent": Sum("x", step="0.001")}, learner=KMeans(k=3), target=None
    )
    yield from placed(spark, headrace_settings, dynamodb, definition)


@pytest.fixture
def rides(spark: SparkSession, headrace_settings: Any, dynamodb: str) -> Iterator[Place]:
    yield from placed(spark, headrace_settings, dynamodb, taps("taps"))


@pytest.fixture
def buyers(spark: SparkSession, headrace_settings: Any, dynamodb: str) -> Iterator[Place]:
    definition = dataclasses.replace(taps("taps"), learner=LogisticRegression(("y",)))
    yield from placed(spark, headrace_settings, dynamodb, definition)


@pytest.fixture
def days(spark: SparkSession, headrace_settings: Any, dynamodb: str) -> Iterator[Place]:
    """A category in y, of those that are declared."""
    fields = [Field("y", "int", values=range(5)) if field.name == "y" else field for field in SCHEMA]
    definition = dataclasses.replace(
        taps("taps"),
        source=Stream("taps", Schema(fields)),
        learner=NaiveBayes(("y",), model="categorical", unseen="quarantine"),
    )
    yield from placed(
        spark, lambda **to: headrace_settings("ingest.max_quarantine_share=0.6", **to), dynamodb, definition
    )


def test_centres_move_to_the_entities_as_they_are_now(people: Place, tmp_path: Path) -> None:
    name = people.definition.name
    people.land(history_file(tmp_path / "one.csv", events(300, seed=1)))
    fitted = people.champion().theta()["learner"]
    scorer = Lookups(people.store, 0, now).scorer
    people.land(history_file(tmp_path / "two.csv", events(900, seed=2, hot=0.1), days=900))
    done = refresh(people.spark, people.settings, people.definition, people.store)
    assert (done.written, done.entities, done.generation) == (True, 40, 1)
    again = refresh(people.spark, people.settings, people.definition, people.store)
    assert (again.written, again.vector) == (False, done.vector)

    # The oracle: everybody's features over both files, each to the nearest centre, and the means of those.
    totals: dict[str, list[float]] = {}
    for row in [*events(300, seed=1), *events(900, seed=2, hot=0.1)]:
        own = totals.setdefault(row["who"], [0.0, 0.0])
        own[0] += 1
        own[1] += row["x"]
    low, high = np.array(fitted["min"]), np.array(fitted["max"])
    scaled = (np.array([totals[who] for who in sorted(totals)]) - low) / (high - low)
    centers = np.array(fitted["centers"])
    own = np.argmin(((scaled[:, None] - centers) ** 2).sum(axis=2), axis=1)
    expected = [scaled[own == c].mean(axis=0) if (own == c).any() else centers[c] for c in range(3)]
    assert scorer(name).vector == done.vector
    np.testing.assert_allclose(scorer(name).parameters["centers"], expected, atol=1e-8)
    assert scorer(name, live=False).parameters == fitted
    assert np.abs(np.array(expected) - centers).max() > 0.05

    assert people.verified().equal
    item = people.store.read_model(name, 1)
    assert item is not None
    held = json.loads(item.contribution)
    held["products"][0][0] += 1
    people.store.write_model(name, 1, ModelItem(json.dumps(held), item.vector, item.writes + 1))
    found = people.verified()
    assert (found.mismatched, found.missing, found.extra, found.equal) == (1, 0, 0, False)
    assert (found.examples[0]["entity"], found.examples[0]["finding"]) == ("(parameters)", "mismatched")


def test_a_line_that_the_lake_has_no_samples_for_is_found(rides: Place, tmp_path: Path) -> None:
    rides.land(history_file(tmp_path / "one.csv", events(300, seed=1)))
    generation = rides.champion()
    theta, manifest = generation.theta()["learner"], generation.manifest
    assert manifest.metrics["rows"] == 300
    assert manifest.metrics["skipped"] == 0
    scorer = Lookups(rides.store, 0, now).scorer("taps")
    assert (scorer.parameters, scorer.vector.to_json()) == (theta, manifest.cut)
    some = np.array([[row["y"], row["x"]] for row in events(300, seed=1)])
    trained = (some[:, 0].min(), some[:, 0].max())
    beyond = scorer.predict([{"y": trained[0]}, {"y": trained[1] + 1.0}], now=now()).outside
    assert [(one.record, one.field, one.trained) for one in beyond] == [(1, "y", trained)]
    assert LEARNER.contribution(theta, some) == theta["contribution"]
    told = scorer.predict([{"y": 0.25}], now=now()).predictions[0]["prediction"]
    assert told == pytest.approx(np.polyval(np.polyfit(some[:, 0], some[:, 1], 1), 0.25), rel=0.05)
    assert rides.verified().equal
    invented = ModelItem(json.dumps(LEARNER.contribution(theta, some[:1])), scorer.vector)
    rides.store.write_model("taps", 1, invented)
    assert rides.verified().mismatched == 1


def test_probabilities_follow_the_events_of_an_interval(buyers: Place, tmp_path: Path) -> None:
    learner, early, late = LogisticRegression(("y",)), choices(300, seed=1), choices(300, seed=2)
    buyers.land(history_file(tmp_path / "one.csv", early))
    generation = buyers.champion()
    theta, cut = generation.theta()["learner"], Vector.from_json(generation.manifest.cut)
    buyers.land(history_file(tmp_path / "two.csv", late, days=900))
    seen = snapshot(buyers.spark, buyers.settings.lake, "taps")
    plan = Plan(buyers.definition, 1, buyers.store.champion("taps"), cut, generation.theta())
    opening = Opening(buyers.settings.store, buyers.settings.store.endpoint, 20)
    for _ in range(2):  # the same interval once more counts nothing
        learn(SparkInterval(plan, opening, seen.events, cut, seen.cut), buyers.store)
    reading = Lookups(buyers.store, 0, now)

    def told(*, live: bool) -> list[float]:
        done = reading.scorer("taps", live=live).predict([{"y": -0.5}, {"y": 0.5}], now=now())
        assert list(json.loads(json.dumps(done.predictions))[0]) == ["probability_0", "probability_1", "prediction"]
        return [row["probability_1"] for row in done.predictions]

    # The oracle: what the second file's events add, counted in one array, and one step from what was trained.
    some = np.array([[row["y"], row["x"]] for row in late])
    moved = learner.live(theta, learner.contribution(theta, some))
    assert reading.scorer("taps").vector == seen.cut
    assert told(live=True) == learner.score(moved, np.array([[-0.5], [0.5]]))["probability_1"].tolist()
    assert told(live=False) == learner.score(theta, np.array([[-0.5], [0.5]]))["probability_1"].tolist()
    assert 0 < abs(told(live=True)[0] - told(live=False)[0]) < 0.2
    assert told(live=True)[0] < told(live=True)[1]


def test_a_category_is_unseen_until_a_sample_has_it_and_an_undeclared_one_is_quarantined(
    days: Place, tmp_path: Path
) -> None:
    learner = days.definition.event_learner
    assert learner is not None
    early = [{**row, "y": n % 3} for n, row in enumerate(choices(300, seed=1))]
    days.land(history_file(tmp_path / "one.csv", [*early, {**early[0], "y": 9}]))
    generation = days.champion()
    theta, cut = generation.theta()["learner"], Vector.from_json(generation.manifest.cut)
    assert (generation.manifest.metrics["rows"], generation.manifest.metrics["skipped"]) == (300, 0)
    reading = Lookups(days.store, 0, now)
    asked = [{"y": 0}, {"y": 3}, {"y": 9}]
    done = reading.scorer("taps").predict(asked, now=now())
    assert [prediction is None for prediction in done.predictions] == [False, True, True]
    assert done.quarantined[1] == "y is not a category that a sample had; found 3.0"

    late = [{**row, "y": 3 + 6 * (n % 2)} for n, row in enumerate(choices(40, seed=2))]
    days.land(history_file(tmp_path / "two.csv", late, days=900))
    bad = days.spark.read.format("delta").load(str(quarantine_path(days.settings.lake, "taps")))
    reasons = {
        (row["source"], row["reason"]): row["count"] for row in bad.groupBy("source", "reason").count().collect()
    }
    found = "y is none of its declared values; found '9'"
    assert reasons == {("one.csv", found): 1, ("two.csv", found): 20}

    seen = snapshot(days.spark, days.settings.lake, "taps")
    plan = Plan(days.definition, 1, days.store.champion("taps"), cut, generation.theta())
    opening = Opening(days.settings.store, days.settings.store.endpoint, 20)
    learn(SparkInterval(plan, opening, seen.events, cut, seen.cut), days.store)
    later = reading.scorer("taps").predict(asked, now=now())
    assert [*later.quarantined] == [2]
    # The oracle: counted in one array, what was quarantined left out.
    some = np.array([[row["y"], row["x"]] for row in late if row["y"] == 3])
    moved = learner.live(theta, learner.contribution(theta, some))
    assert later.predictions[1] == {
        name: values.tolist()[0] for name, values in learner.score(moved, np.array([[3.0]])).items()
    }


def test_what_cannot_be_refreshed_says_so(people: Place, rides: Place) -> None:
    with pytest.raises(AnswerIsNo, match="nothing is served"):
        refresh(people.spark, people.settings, people.definition, people.store)
    with pytest.raises(DefinitionError, match=r"no parameters to refresh.*samples are events.*headrace stream"):
        refresh(rides.spark, rides.settings, rides.definition, rides.store)
