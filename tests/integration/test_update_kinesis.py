"""A stream of Kinesis from its records to served answers: every answer is the recomputation from its log."""

from __future__ import annotations

import threading
import uuid

import pytest
from counted import Died, Dying, now, placed, settings_in
from kinesis_log import KinesisLog, served
from tapped import events

from headrace.errors import StreamRecreated
from headrace.models.encoded import Encoded
from headrace.models.encoding import Number, OneHot
from headrace.schemas import Vector
from headrace.speed import lake_following
from headrace.speed.driver import Driver
from headrace.speed.metrics import Metrics
from headrace.speed.verify import verify

pytestmark = [pytest.mark.spark, pytest.mark.kinesis, pytest.mark.dynamodb]


WORDS = Encoded((OneHot("tag"), Number("y")), ridge=0.01)


@pytest.fixture(scope="module")
def place(spark, dynamodb, tmp_path_factory):
    spark.conf.set("spark.sql.adaptive.enabled", "false")
    with served() as server:
        settings = settings_in(tmp_path_factory.mktemp("kinesis"), "127.0.0.1:9", dynamodb)
        more = {"streams": (f"taps_{uuid.uuid4().hex[:8]}",), "endpoint": server.endpoint}
        quick = settings.stream.model_copy(update={"ingest_interval_s": 0.2})
        kinesis = settings.kinesis.model_copy(update=more)
        settings = settings.model_copy(update={"kinesis": kinesis, "stream": quick})
        log = KinesisLog(server, settings)
        with placed(spark, settings, server.endpoint, log=log, learner=WORDS) as made:
            yield made
    spark.conf.unset("spark.sql.adaptive.enabled")


def test_history_stream_and_update_equal_the_recomputation_through_death_and_resharding(place, monkeypatch):
    monkeypatch.setattr(lake_following, "_STEP", 40)
    generation, name, log = place.champion(), place.definition.source.name, place.broker
    log.send(name, events(150, seed=2))
    assert place.land() == 150
    vector = place.count(generation)
    assert sum(n for (life, _), n in vector.items() if life) == 150
    assert len(place.batches) > 1  # in steps
    place.check()

    place.batches.clear()
    log.send(name, [*events(60, seed=3), b"{broken"])
    assert place.land() == 60
    dying = place.update(generation, Dying(place.opening))
    assert isinstance(place.failed(dying), Died)
    dying.stop()
    place.check()

    log.split(name, 0)
    log.send(name, events(60, seed=4))
    assert place.land() == 60
    head = place.count(generation)
    assert sum(batch.interim.settled.replayed + batch.interim.recut for batch in place.batches) > 0, "no replay"
    assert all(vector.covers(head) for vector in place.check().values())
    verified = verify(place.spark, place.settings, place.definition, place.opening.endpoint)
    assert (verified.mismatched, verified.missing, verified.extra) == (0, 0, 0)


def test_a_driver_lands_and_counts_all_there_is_and_ends(place):
    place.champion()
    name, settings, said = place.definition.source.name, place.settings, []
    place.broker.send(name, events(80, seed=5))
    driver = Driver(
        place.spark,
        settings,
        place.definition,
        place.opening,
        place.bootstrap,
        owner="driver",
        clock=now,
        say=said.append,
        metrics=Metrics(place.definition.name, name),
    )
    began = now()
    driver.run(threading.Event(), only=None, until_idle=True)
    topic = place.broker.topic(name)
    ends = Vector.of(topic.incarnation, {n: end for n, (_, end) in place.broker.held(topic).items()})
    assert all(vector.covers(ends) for vector in place.check().values())
    progress = place.progress(place.champion())
    assert progress.vector.covers(ends)
    assert progress.as_of >= began


def test_a_recreated_stream_stops_update_by_name(place):
    generation, name = place.champion(), place.definition.source.name
    place.broker.send(name, events(20, seed=6))
    place.land()
    place.count(generation)
    place.broker.recreate(name, 2)
    place.broker.send(name, events(20, seed=7))
    with pytest.raises(StreamRecreated, match=f"stream '{name}' was deleted and made anew"):
        place.update(generation)
    with pytest.raises(StreamRecreated):
        place.land()
