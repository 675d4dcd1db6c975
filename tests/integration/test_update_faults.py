"""Drivers killed at each step, checkpoints without their last commit, generations that are damaged, logs cut and
interleaved in any way, and items that are wrong: on real Kafka, DynamoDB Local, Delta and Spark."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from click.testing import CliRunner
from counted import Died, Dying, Place, now, placed, settings_in
from pyspark.sql import SparkSession
from streamed import wait_for
from tapped import bare_plan, events, send

from headrace.algebra import encode
from headrace.cli.batch import publish
from headrace.cli.champion import promote
from headrace.errors import CannotCatchUp, DefinitionError, RegistryError, StoreError
from headrace.registry import Generation
from headrace.schemas import Vector
from headrace.schemas.lake import events_path, quarantine_path
from headrace.sources.kafka import range_records
from headrace.sources.lake import latest_version
from headrace.sources.payloads import good
from headrace.speed.arrivals import decoded_by
from headrace.speed.driver import Driver
from headrace.speed.ingest import ingest_stream
from headrace.speed.interval import Interim, count
from headrace.speed.metrics import Metrics
from headrace.speed.quarantine import replay
from headrace.speed.ranges import between
from headrace.speed.settling import finished_outputs
from headrace.speed.spark_interval import SparkInterval
from headrace.speed.update import plan_of
from headrace.speed.verify import verify
from headrace.stores.port import SpeedItem

pytestmark = [pytest.mark.spark, pytest.mark.kafka, pytest.mark.dynamodb]


@pytest.fixture(scope="module")
def place(spark: SparkSession, kafka: str, dynamodb: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    spark.conf.set("spark.sql.adaptive.enabled", "false")
    with placed(spark, settings_in(tmp_path_factory.mktemp("faults"), kafka, dynamodb), kafka) as made:
        yield made
    spark.conf.unset("spark.sql.adaptive.enabled")


def dying_at(step: str, seen: list[Interim]) -> Callable[..., Any]:
    """What a driver counts an interval by that is gone at a step of it."""

    def counts(interval: SparkInterval, *arguments: Any) -> None:
        if step == "after half of the sink":
            replace(interval, events=interval.events.where("pmod(hash(who), 2) = 0")).settle(None)
        if step == "after P":
            seen.append(count(interval, *arguments))
        raise Died(step)

    return counts


@pytest.mark.parametrize("rounds", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_driver_killed_at_each_step_is_replayed_and_counts_once(
    place: Place, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 2. The steps are in an order in which each replay is seen by a driver that counts."""
    generation = place.champion()
    for round_ in range(rounds):
        place.batches.clear()
        seen: list[Interim] = []
        for step in ("after half of the sink", "after P", "after the sink", "after the offsets"):
            send(place.broker, place.definition.source.name, events(60, seed=100 + round_))
            before = place.store.progress(place.definition.name, generation.manifest.generation)
            with monkeypatch.context() as patch:
                if step != "after the sink":
                    patch.setattr("headrace.speed.update.count", dying_at(step, seen))
                update = place.update(generation, Dying(place.opening) if step == "after the sink" else None)
                assert isinstance(place.failed(update), Died)
                update.stop()
            counted = before.vector if before else Vector.from_json(generation.manifest.cut)
            assert (place.progress(generation).vector != counted) == (step == "after P")
            place.check()
        head = place.count(generation)
        assert all(vector.covers(head) for vector in place.check().values())
        after_half, after_sink = seen[0], place.batches[0].interim
        assert min(one.settled.replayed + one.recut for one in (after_half, after_sink)) > 0, "nothing was replayed"


def test_without_their_last_commit_drivers_start_and_write_nothing(place: Place) -> None:
    """Fault 3."""
    generation, name = place.champion(), place.definition.source.name
    number = generation.manifest.generation
    counting = place.update(generation)
    send(place.broker, name, events(60, seed=103))
    head = place.settle(counting)
    killed_without_its_last_commit(counting)
    landing = ingest_stream(place.spark, place.settings, place.definition, place.bootstrap, until_idle=True)
    assert landing.await_termination(180)
    killed_without_its_last_commit(landing)

    def standing() -> tuple[Any, ...]:
        lake = events_path(place.settings.lake, name)
        model = place.store.read_model(place.definition.name, number)
        return place.items(number), model, place.progress(generation).vector, latest_version(place.spark, lake)

    before = standing()
    assert place.count(generation) == head
    assert place.land() == 0
    assert standing() == before
    counting.stop()
    landing.stop()


def killed_without_its_last_commit(running: Any) -> None:
    """End the query of a driver as a kill does, which tidies nothing, and delete what it committed last."""
    checkpoint = running._checkpoint

    def last(kind: str) -> int:
        return max((int(file.name) for file in (checkpoint / kind).glob("[0-9]*")), default=-1)

    wait_for(lambda: -1 < last("commits") == last("offsets"))
    running._following.stop()
    (checkpoint / "commits" / str(last("commits"))).unlink()


def test_what_is_damaged_or_of_another_definition_is_refused_by_name_and_the_champion_serves(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault 20."""
    champion, name = place.champion(), place.definition.name
    candidate = place.trained(champion)
    number = candidate.manifest.generation
    features = dict(reversed(place.definition.features.items()))

    # publish: of a state file that is truncated, and of an archived definition whose features are in another order
    state = next(file for file in candidate.manifest.files if file.startswith("state/part"))
    with damaged(candidate, state, lambda held: held[: len(held) // 2]):
        assert_refused(place, publish, RegistryError, rf"generation {number} of '{name}' is damaged: {state}")
    with damaged(candidate, "definition.json", reordered):
        assert_refused(place, publish, RegistryError, "is damaged: definition.json does not match its manifest")
    # promote: of what was not published therefore
    assert_refused(place, promote, StoreError, rf"generation {number} .*{name}", "-g", str(number))

    # stream: by a definition whose features are in another order
    place.publish(candidate, champion)
    with pytest.raises(DefinitionError, match=rf"definition '{name}' changed since generation {number} was trained"):
        plan_of(replace(place.definition, features=features), candidate, place.store)
    with pytest.raises(DefinitionError, match=rf"none of the generations .*{number}.* of '{name}' can be counted here"):
        streamed(place, features=features)
    # stream, and promote while it runs: of a state file that was truncated after it was published
    send(place.broker, place.definition.source.name, events(40, seed=104))
    caplog.clear()
    with damaged(candidate, state, lambda held: held[: len(held) // 2]), caplog.at_level(logging.WARNING):
        streamed(place)
        assert f"generation {number} of '{name}' is damaged: {state} does not match its manifest" in caplog.text
        with pytest.raises(CannotCatchUp, match=f"generation {number} of '{name}'"):
            place.promote(candidate, wait_s=0.5)
    assert place.store.champion(name).generation == champion.manifest.generation
    assert all(vector.covers(place.progress(champion).vector) for vector in place.check().values())


def assert_refused(place: Place, command: Any, error: type[Exception], match: str, *arguments: str) -> None:
    """The command refuses by that name, and the champion is served as before."""
    options = [f"home={place.settings.home}", f"store.table={place.settings.store.table}"]
    options += [f"store.endpoint={place.settings.store.endpoint}"]
    sets = [part for option in options for part in ("--set", option)]
    before = place.store.champion(place.definition.name)
    done = CliRunner().invoke(command, [place.definition.name, *arguments, *sets])
    with pytest.raises(error, match=match):
        raise done.exception or AssertionError(done.output)
    assert place.store.champion(place.definition.name).generation == before.generation
    place.check()


@contextmanager
def damaged(generation: Generation, name: str, change: Callable[[bytes], bytes]) -> Iterator[None]:
    """A file of a generation is changed for the length of a block."""
    file = generation.path / name
    held = file.read_bytes()
    file.write_bytes(change(held))
    yield
    file.write_bytes(held)


def reordered(description: bytes) -> bytes:
    """An archived definition whose features are named in another order."""
    held = json.loads(description)
    return json.dumps({**held, "features": held["features"][::-1]}).encode()


def streamed(place: Place, **changes: Any) -> None:
    """Count all there is by a driver, of the definition or of a changed one."""
    definition = replace(place.definition, **changes)
    driver = Driver(
        place.spark,
        place.settings,
        definition,
        place.opening,
        place.bootstrap,
        owner="streamed",
        clock=now,
        say=lambda _: None,
        metrics=Metrics(definition.name, definition.source.name),
    )
    driver.run(threading.Event(), only="update", until_idle=True)


# Pieces of each partition, and which partition goes first.
SPLITS = list(product((1, 2, 3), ("first", "last", "in turn")))


@pytest.mark.parametrize("splits", [SPLITS[::4], pytest.param(SPLITS, marks=pytest.mark.slow)], ids=["three", "nine"])
def test_splits_and_interleavings_give_the_same_bytes(place: Place, splits: list[tuple[int, str]]) -> None:
    """Fault 9: in the short form each split once and each interleaving once."""
    generation, name = place.champion(), place.definition.name
    place.count(generation)
    kafka, topic = place.settings.kafka, place.broker.topic(place.definition.source.name)
    ends = {partition: end for partition, (_, end) in place.broker.held(topic).items()}
    records = range_records(place.spark, kafka, place.bootstrap, topic, {}, ends)
    kept = good(decoded_by(place.definition, records, topic.incarnation, kafka.max_ahead_s)).persist()
    plan = plan_of(place.definition, generation, place.store)

    def written(number: int) -> tuple[Any, ...]:
        model = place.store.read_model(name, number)
        assert model is not None
        items = place.items(number).items()
        return {who: (item.state, item.outputs, item.vector) for who, item in items}, model.contribution, model.vector

    expected = written(generation.manifest.generation)
    for number, (pieces, order) in enumerate(splits, len(splits) * 1000):
        own = replace(plan, generation=number)
        progress = place.store.take_over(name, number, "one of many", plan.cut, now())
        steps = [(p, end * piece // pieces) for p, end in ends.items() for piece in range(1, pieces + 1)]
        if order == "last":
            steps.sort(key=lambda step: -step[0])
        elif order == "in turn":
            steps.sort(key=lambda step: step[1] / ends[step[0]])
        for partition, position in steps:
            start = progress.vector
            end = start.join(Vector.of(topic.incarnation, {partition: position}))
            interval = SparkInterval(own, place.opening, between(kept, start, end), start, end)
            progress = count(interval, place.store, progress, now()).progress
        assert written(number) == expected, (pieces, order)
    kept.unpersist()


def test_a_repaired_record_counts_at_its_new_position(place: Place) -> None:
    generation, stream = place.champion(), place.definition.source.name
    send(place.broker, stream, [b'{"who": "mended", "at": "never", "x": 1, "tag": "a", "y": 0}'])
    place.land()
    (bad,) = place.spark.read.format("delta").load(str(quarantine_path(place.settings.lake, stream))).collect()
    place.count(generation)
    assert "mended" not in place.check()
    event = {**events(1, seed=105)[0], "who": "mended"}
    at = (bad["_incarnation"], bad["_partition"], bad["_position"])
    replay(place.spark, place.settings, stream, place.bootstrap, clock=now, repairs={at: json.dumps(event).encode()})
    assert place.count(generation) == place.check()["mended"]


def test_verify_finds_an_item_that_lacks_an_event_one_that_is_gone_and_one_too_many(place: Place) -> None:
    generation, name = place.champion(), place.definition.name
    number, stream = generation.manifest.generation, place.definition.source.name
    one, two, three = events(3, seed=106)
    new = [{**one, "who": "forgetful"}, {**two, "who": "forgetful"}, {**three, "who": "gone"}]
    send(place.broker, stream, [*events(30, seed=107), *new])
    place.count(generation)
    place.land()

    def verified() -> Any:
        return verify(place.spark, place.settings, place.definition, place.settings.store.endpoint)

    assert verified().equal
    place.store.remove_speed(name, [("gone", number)])
    with pytest.raises(AssertionError, match=r"\['gone'\] have events below"):
        place.check()
    # An item that is right at its own vector, and lacks the last of the entity's events below P.
    item = place.items(number)["forgetful"]
    ((log, after),) = item.vector.items()
    states = place.oracle.states("forgetful", Vector({log: after - 1}))
    assert states is not None
    outputs = finished_outputs(bare_plan(place.definition, generation), {"forgetful": states})["forgetful"]
    lacking = SpeedItem(encode(states), outputs, Vector({log: after - 1}), item.writes + 1)
    place.store.write_speed(name, number, {"forgetful": lacking, "intruder": replace(item, writes=1)})
    found = verified()
    assert {(each["entity"], each["finding"]) for each in found.examples} == {
        ("forgetful", "mismatched"),
        ("gone", "missing"),
        ("intruder", "extra"),
    }
    assert (found.mismatched, found.missing, found.extra) == (1, 1, 1)
