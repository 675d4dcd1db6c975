"""Answers as of a past instant equal the answers that were given then, on real Kafka, DynamoDB Local and Delta."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from counted import Place, now, placed, settings_in
from pyspark.sql import SparkSession
from served import serving
from starlette.testclient import TestClient
from tapped import PEOPLE, events, send

from headrace.cli.opening import promoting
from headrace.errors import AnswerIsNo, DefinitionError, InputError
from headrace.registry import Registry
from headrace.report import write_audit
from headrace.schemas import Vector
from headrace.serving import api
from headrace.serving.audit import audit
from headrace.serving.client import Client
from headrace.serving.lookup import Lookups, UnknownKey
from headrace.serving.past import Past
from headrace.serving.sampled import AnswerLog, Logged, logged_answers
from headrace.speed import index as indexing
from headrace.speed.index import index

pytestmark = [pytest.mark.spark, pytest.mark.kafka, pytest.mark.dynamodb]
TOLD = ("definition", "entity", "prediction", "features", "layer", "generation", "vector")


@pytest.fixture(scope="module")
def place(spark: SparkSession, kafka: str, dynamodb: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with placed(spark, settings_in(tmp_path_factory.mktemp("as_of"), kafka, dynamodb), kafka) as made:
        yield made


def _answered(place: Place) -> dict[str, dict[str, Any]]:
    lookups = Lookups(place.store, 0, now)
    found = lookups.many(place.definition.name, PEOPLE).answers
    return {answer.entity: json.loads(json.dumps({key: answer.to_json()[key] for key in TOLD})) for answer in found}


def test_what_was_answered_is_answered_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    name, topic = place.definition.name, place.definition.source.name
    promote = promoting(place.settings, name)
    before_all = now()
    logged: list[tuple[datetime, dict[str, dict[str, Any]]]] = []

    def log_answers() -> None:
        logged.append((now(), _answered(place)))

    first = place.published()
    promote(place.store, first.manifest.generation)
    log_answers()
    update = place.update(first)
    for seed in (2, 3):
        send(place.broker, topic, events(150, seed=seed))
        place.settle(update)
        log_answers()
    past = Past(place.settings.lake, Registry(place.settings.registry), place.definition)
    with pytest.raises(AnswerIsNo, match="headrace index"):
        past.one(PEOPLE[0], now())
    place.land()
    assert index(place.spark, place.settings, place.definition).rows == 300 + 2 * 150
    assert index(place.spark, place.settings, place.definition).rows == 0, "nothing has landed since"

    second = place.published(first)
    candidate = place.update(second)
    send(place.broker, topic, events(100, seed=4))
    place.settle(update)
    place.settle(candidate)
    promote(place.store, second.manifest.generation)
    log_answers()
    update.stop()
    candidate.stop()
    place.land()
    monkeypatch.setattr(indexing, "_MERGED_AFTER", 2)
    done = index(place.spark, place.settings, place.definition)
    assert (done.rows, done.merged) == (100, True)

    assert {answers[PEOPLE[0]]["layer"] for _, answers in logged} == {"batch", "speed"}
    for at, answers in logged:
        assert len(answers) == len(PEOPLE)
        for entity, answer in answers.items():
            again = past.one(entity, at).to_json()
            assert {key: again[key] for key in TOLD} == answer, (entity, at)
    ages = [past.one(PEOPLE[0], at).age_s for at, _ in logged]
    assert all(0 <= age_s < 120 for age_s in ages)

    _audited(place, past, logged)
    _served_and_audited(place, past)
    monkeypatch.setattr(api, "_pasts", lambda _settings: lambda name: past if name == place.definition.name else None)
    _told_to_a_client(place, logged)

    with pytest.raises(AnswerIsNo, match="nothing of"):
        past.one(PEOPLE[0], before_all)
    with pytest.raises(UnknownKey):
        past.one("nobody", now())
    changed = replace(place.definition, max_age=timedelta(days=1))
    with pytest.raises((AnswerIsNo, DefinitionError)):
        Past(place.settings.lake, Registry(place.settings.registry), changed).one(PEOPLE[0], now())


def _audited(place: Place, past: Past, logged: list[tuple[datetime, dict[str, dict[str, Any]]]]) -> None:
    """Answers that a server logged are found equal, and each kind of tampering is found."""
    name, registry, folder = place.definition.name, Registry(place.settings.registry), place.settings.home / "told"
    served = [
        Logged(at, entity, a["generation"], Vector.from_json(a["vector"]), a["features"], a["prediction"])
        for at, answers in logged
        for entity, a in answers.items()
    ]
    nobody = replace(served[0], entity="nobody", features=None, prediction=None)
    log = AnswerLog(folder, 1.0)
    for answer in (*served, nobody):
        log.offer(name, lambda answer=answer: answer)
    log.close()
    assert log.dropped == 0
    found = audit(past, registry, place.definition, logged_answers(folder, name))
    assert (found.checked, found.equal, found.smape) == (len(served) + 1, True, 0.0)
    assert sorted(found.generations) == [1, 2]
    assert set(found.drift) == {"n", "spent", "most", "kinds", "last_tag"}
    assert list(logged_answers(folder, name, since=logged[-1][0])) == served[-len(PEOPLE) :]

    features = served[0].features
    assert features is not None
    tampered = [
        replace(served[0], features={**features, "n": features["n"] + 1}),
        replace(served[1], features=None, prediction=None),
        replace(served[2], entity="nobody"),
    ]
    found = audit(past, registry, place.definition, tampered)
    assert (found.checked, found.mismatched, found.missing, found.extra) == (3, 1, 1, 1)
    assert [one["finding"] for one in found.examples] == ["mismatched", "missing", "extra"]
    assert found.smape > 0
    page = write_audit(place.settings.reports / "answers.html", name, found.to_json()).read_text("utf-8")
    assert "mismatched" in page


def _served_and_audited(place: Place, past: Past) -> None:
    """What a server answers it logs, and what it logged is proved."""
    name = place.definition.name
    serve = place.settings.serve.model_copy(update={"logged_share": 1.0, "require_token": False})
    app = api.create_app(place.settings.model_copy(update={"serve": serve}), place.store, now, None)
    with TestClient(app) as client:
        for entity in (*PEOPLE[:3], "nobody"):
            client.get(f"/v1/predictions/{name}/{entity}")
        client.post(f"/v1/predictions/{name}:batch", json={"entities": [*PEOPLE[3:], "no one"]})
        assert client.get(f"/v1/predictions/{name}/{PEOPLE[0]}?as_of=2026-01-01T00:00:00Z").status_code == 501
    found = audit(
        past, Registry(place.settings.registry), place.definition, logged_answers(place.settings.answers, name)
    )
    assert (found.checked, found.equal) == (len(PEOPLE) + 2, True)


def _told_to_a_client(place: Place, logged: list[tuple[datetime, dict[str, dict[str, Any]]]]) -> None:
    """Over HTTP what was answered then is answered again, one and many, in any time zone."""
    name = place.definition.name
    app = api.create_app(place.settings, place.store, now, None)
    with serving(app) as url, Client(url) as client:
        for at, answers in logged:
            told = client.lookup(name, PEOPLE[0], as_of=at).to_json()
            assert {key: told[key] for key in TOLD} == answers[PEOPLE[0]]
            there = at.astimezone(timezone(timedelta(hours=5)))
            many = client.lookup_many(name, [*PEOPLE, "nobody"], as_of=there)
            assert {one.entity: {key: one.to_json()[key] for key in TOLD} for one in many.answers} == answers
            assert many.missing == ["nobody"]
        with pytest.raises(UnknownKey):
            client.lookup(name, "nobody", as_of=logged[0][0])
        with pytest.raises(InputError, match="has not come"):
            client.lookup(name, PEOPLE[0], as_of=now() + timedelta(hours=1))


def test_copies_that_are_told_apart_later_are_refused(place: Place) -> None:
    with pytest.raises(DefinitionError, match="event_id"):
        index(place.spark, place.settings, replace(place.definition, event_id="tag"))
