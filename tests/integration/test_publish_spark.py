"""Publishing sealed generations from Spark executors to DynamoDB Local."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from pyspark.sql import SparkSession

from headrace.batch.lease import is_dead, owner_name
from headrace.batch.promote import promote, rollback
from headrace.batch.publish import PublishReport, publish
from headrace.config import Settings
from headrace.errors import LeaseHeld, StoreError, StoreUnavailable
from headrace.registry import Generation, Manifest, Registry
from headrace.stores.dynamodb import DynamoDBStore
from headrace.stores.port import Store

pytestmark = [pytest.mark.spark, pytest.mark.dynamodb]
NAME = "segments"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
Content = Mapping[str, str]
THETA = {
    "reference": "2011-12-09T00:00:00Z", "zone": "UTC", "types": {}, "learner": None, "ranges": {"amount": [0.0, 9.5]},
}  # fmt: skip


@pytest.fixture
def settings(headrace_settings: Callable[..., Settings], dynamodb: str) -> Settings:
    return headrace_settings("publish.lease_s=5", "publish.retry_s=20", endpoint=dynamodb)


@pytest.fixture
def store(settings: Settings, dynamodb: str) -> Iterator[Store]:
    opened = DynamoDBStore(settings.store.table, settings.store.region, dynamodb, create=True)
    opened.prepare()
    yield opened
    opened.close()


def sealed(settings: Settings, content: Content, base: int | None = None) -> Generation:
    """A real sealed generation with these outputs, its state in two Parquet files."""
    draft = Registry(settings.registry).claim(NAME)
    (draft.path / "state").mkdir()
    rows = [
        {"entity": key, "state": f'{{"n":"{text}"}}'.encode(), "outputs": f'{{"prediction":"{text}"}}'}
        for key, text in sorted(content.items())
    ]
    schema = pa.schema([("entity", pa.string()), ("state", pa.binary()), ("outputs", pa.string())])
    for part in (0, 1):
        parquet.write_table(pa.Table.from_pylist(rows[part::2], schema), draft.path / f"state/part-{part}.parquet")
    draft.write_json("theta.json", THETA)
    draft.write_json("definition.json", {"name": NAME})

    def facts(files: dict[str, str]) -> Manifest:
        return Manifest(
            generation=draft.generation, definition=NAME, base=base, stream="purchases", delta_version=1,
            cut=[["", "f", len(rows)]], as_of=NOW, reference=NOW, clock="fixed", max_age_s=None, types={},
            schema_sha256="s", definition_sha256="d", code_version="0", seed=7, fingerprint=f"{draft.generation}",
            rows=len(rows), entities=len(rows), metrics={}, settings={}, created_at=NOW, files=files,
        )  # fmt: skip

    return draft.seal(facts)


def send(
    spark: SparkSession,
    settings: Settings,
    generation: Generation,
    base: Generation | None = None,
    owner: str | None = None,
    now: datetime = NOW,
) -> PublishReport:
    mine = owner or owner_name()
    return publish(spark, settings.store, None, generation, base, owner=mine, now=now, settings=settings.publish)


def served(store: Store) -> dict[str, str | None]:
    champion = store.champion(NAME)
    chosen = {key: champion.choose(versions) for key, versions in store.scan(NAME)}
    return {key: one[1].outputs for key, one in chosen.items() if one and not one[1].is_tombstone}


def outputs(content: Content) -> dict[str, str]:
    return {key: f'{{"prediction":"{text}"}}' for key, text in content.items()}


def many(count: int, changed: int = 0) -> dict[str, str]:
    return {f"{n}": "new" if n < changed else "old" for n in range(count)}


def test_all_is_sent_once_and_then_only_what_differs(spark: SparkSession, settings: Settings, store: Store) -> None:
    one, two = many(1000), {**many(1000, changed=20), "1000": "came"}
    del two["999"]
    first = sealed(settings, one)
    report = send(spark, settings, first)
    assert (report.mode, report.changed, report.removed, report.unchanged, report.sent) == ("full", 1000, 0, 0, 1000)
    assert report.report.calls <= 1000 / 25 + 2
    assert served(store) == {}
    promote(store, NAME, 1, now=NOW)
    assert served(store) == outputs(one)
    second = sealed(settings, two, base=1)
    report = send(spark, settings, second, first)
    assert (report.mode, report.changed, report.removed, report.unchanged, report.sent) == ("diff", 21, 1, 979, 22)
    assert report.report.retried == 0
    promote(store, NAME, 2, now=NOW)
    assert served(store) == outputs(two)
    rollback(store, NAME)
    assert served(store) == outputs(one)


def test_the_ledger_tells_readers_all_they_need(spark: SparkSession, settings: Settings, store: Store) -> None:
    generation = sealed(settings, many(3))
    send(spark, settings, generation)
    (entry,) = store.ledger(NAME)
    assert (entry.status, entry.base, entry.items) == ("sealed", None, 3)
    assert entry.manifest_sha256 == generation.manifest_sha256
    assert entry.info == {
        "cut": [["", "f", 3]],
        "as_of": "2026-01-02T00:00:00+00:00",
        "definition_sha256": "d",
        "max_age_s": None,
        "clock": "fixed",
        "description": {"name": NAME},
        "theta": THETA,
    }


def test_what_is_sealed_in_the_table_is_not_sent_again(spark: SparkSession, settings: Settings, store: Store) -> None:
    generation = sealed(settings, many(10))
    send(spark, settings, generation)
    promote(store, NAME, 1, now=NOW)
    before = store.champion(NAME)
    report = send(spark, settings, generation)
    assert (report.sent, report.unchanged, report.report.calls) == (0, 10, 0)
    assert store.champion(NAME) == before


def test_a_table_that_does_not_know_the_base_gets_all(spark: SparkSession, settings: Settings, store: Store) -> None:
    first = sealed(settings, many(10))
    second = sealed(settings, many(10, changed=2), base=1)
    report = send(spark, settings, second, first)
    assert (report.mode, report.sent) == ("full", 10)
    promote(store, NAME, 2, now=NOW)
    assert served(store) == outputs(many(10, changed=2))


def test_a_base_of_another_registry_is_no_base(
    spark: SparkSession, settings: Settings, store: Store, headrace_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    send(spark, settings, sealed(settings, many(10)))
    elsewhere = headrace_settings(f"home={tmp_path / 'other'}", "publish.lease_s=5", endpoint=settings.store.endpoint)
    other_first = sealed(elsewhere, {"z": "other"})
    report = send(spark, elsewhere, sealed(elsewhere, {"z": "other", "y": "new"}, base=1), other_first)
    assert (report.mode, report.sent) == ("full", 2)
    promote(store, NAME, 2, now=NOW)
    assert served(store) == outputs({"z": "other", "y": "new"})


def test_a_generation_below_the_champion_is_refused(spark: SparkSession, settings: Settings, store: Store) -> None:
    low, high = sealed(settings, many(3)), sealed(settings, many(4))
    send(spark, settings, high)
    promote(store, NAME, 2, now=NOW)
    with pytest.raises(StoreError, match=r"generation 1 is not above the champion"):
        send(spark, settings, low)
    assert (store.lease(NAME) or pytest.fail("no lease")).owner == ""


def test_an_entity_that_does_not_fit_is_named_through_spark(
    spark: SparkSession, settings: Settings, store: Store
) -> None:
    with pytest.raises(StoreError, match=r"entity 'whale' does not fit into one item; found 8\d+ bytes"):
        send(spark, settings, sealed(settings, {"minnow": "x", "whale": "x" * 410_000}))
    assert [e.status for e in store.ledger(NAME)] == ["publishing"]


def test_a_dead_publisher_of_this_machine_is_replaced_at_once(
    spark: SparkSession, settings: Settings, store: Store
) -> None:
    host = owner_name().rsplit(":", 2)[0]
    dead = f"{host}:{os.getpid()}:1.00"  # this pid, started another time: a process that is gone
    assert is_dead(dead)
    assert not is_dead(owner_name())
    assert not is_dead(f"elsewhere:{os.getpid()}:1.00")
    store.acquire_lease(NAME, dead, NOW, timedelta(days=1))
    send(spark, settings, sealed(settings, many(3)))  # waiting would end in LeaseHeld: that lease is a day long
    assert [e.status for e in store.ledger(NAME)] == ["sealed"]


def test_a_living_publisher_is_waited_for_and_then_named(spark: SparkSession, settings: Settings, store: Store) -> None:
    store.acquire_lease(NAME, "elsewhere:1:1.00", NOW, timedelta(seconds=3))
    send(spark, settings, sealed(settings, many(3)))
    store.acquire_lease(NAME, "elsewhere:1:1.00", NOW, timedelta(days=1))
    with pytest.raises(LeaseHeld, match=r"found elsewhere:1:1\.00"):
        send(spark, settings, sealed(settings, many(3)))


def once_publishing(store: Store, act: Callable[[], object]) -> threading.Thread:
    """Run `act` in a thread as soon as some generation stands as publishing."""

    def wait() -> None:
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up:
            if any(entry.status == "publishing" for entry in store.ledger(NAME)):
                act()
                return
            time.sleep(0.01)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_publisher_that_lost_its_lease_does_not_seal(spark: SparkSession, settings: Settings, store: Store) -> None:
    generation = sealed(settings, many(5000))
    thief = once_publishing(
        store, lambda: store.acquire_lease(NAME, "thief", NOW + timedelta(days=1), timedelta(seconds=5))
    )
    with pytest.raises(LeaseHeld, match="found thief"):
        send(spark, settings, generation)
    thief.join()
    assert [e.status for e in store.ledger(NAME)] == ["publishing"]
    assert (store.lease(NAME) or pytest.fail("no lease")).owner == "thief"
    send(spark, settings, generation, now=NOW + timedelta(days=2))
    promote(store, NAME, 1, now=NOW)
    assert served(store) == outputs(many(5000))


def test_ctrl_c_gives_the_lease_back_and_the_next_call_goes_on(
    spark: SparkSession, settings: Settings, store: Store
) -> None:
    generation = sealed(settings, many(5000))
    interrupt = once_publishing(store, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        send(spark, settings, generation)
    interrupt.join()
    assert [e.status for e in store.ledger(NAME)] == ["publishing"]
    assert (store.lease(NAME) or pytest.fail("no lease")).owner == ""
    assert send(spark, settings, generation, owner="another").sent == 5000
    promote(store, NAME, 1, now=NOW)
    assert served(store) == outputs(many(5000))


def test_a_store_that_is_not_there_is_transient(spark: SparkSession, settings: Settings) -> None:
    nowhere = settings.store.model_copy(update={"endpoint": "http://127.0.0.1:1"})
    with pytest.raises(StoreUnavailable, match="does not answer"):
        publish(
            spark, nowhere, None, sealed(settings, many(3)), None, owner="me", now=NOW, settings=settings.publish
        )  # fmt: skip


def test_a_store_in_memory_is_refused(spark: SparkSession, settings: Settings) -> None:
    memory = settings.store.model_copy(update={"kind": "memory"})
    with pytest.raises(StoreError, match="in memory cannot be written from executors"):
        publish(spark, memory, None, sealed(settings, many(3)), None, owner="me", now=NOW, settings=settings.publish)
