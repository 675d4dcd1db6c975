"""Bulk writes and reads against a store that refuses half of what it is asked, over real HTTP."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable

import pytest
from dynamodb_stub import Faults, Stub, serving

from headrace.errors import StoreUnavailable
from headrace.stores.dynamodb import DynamoDBStore
from headrace.stores.port import Version, Write, WriteReport

NAME = "segments"


def version(n: int) -> Version:
    return Version(f'{{"n":{n}}}'.encode(), f'{{"prediction":{n}}}')


def writes(count: int) -> Iterable[Write]:
    return (Write(f"{n}", version(n), False) for n in range(count))


def opened(stub: Stub, retry_s: float = 30.0) -> DynamoDBStore:
    return DynamoDBStore("headrace", "us-east-1", stub.endpoint, retry_s=retry_s)


def check_all_landed_once(stub: Stub, count: int, report: WriteReport) -> None:
    assert report.items == len(stub.items) == len(stub.landed) == count
    assert set(stub.landed.values()) == {1}
    store = opened(stub)
    for start in range(0, count, 5000):
        keys = [f"{n}" for n in range(start, min(start + 100, count))]
        assert store.read(NAME, keys) == {key: {7: version(int(key))} for key in keys}


@pytest.mark.parametrize(("seconds", "count"), [(8.0, 24_000), pytest.param(60.0, 160_000, marks=pytest.mark.slow)])
def test_half_of_the_calls_throttled_for_a_while(seconds: float, count: int) -> None:
    with serving(Faults(calls=0.5, seconds=seconds), latency_s=0.04) as stub:
        report = opened(stub, retry_s=60).write_versions(NAME, 7, writes(count))
        per_second = stub.calls_per_second()
        check_all_landed_once(stub, count, report)
    throttled, steady = per_second[: int(seconds)], per_second[int(seconds) + 1 : -1]
    assert stub.refused == report.throttled > len(throttled)
    assert len(steady) >= 2, "the writes were over before the throttling was: nothing was shown"
    assert max(throttled) <= 2 * statistics.median(steady)
    # Half of the attempts fail, so a chunk needs two on average; a loop without waiting would show as more.
    assert report.calls <= 3 * count / 25


def test_single_statements_throttled() -> None:
    with serving(Faults(statements=0.5, seconds=3)) as stub:
        report = opened(stub).write_versions(NAME, 7, writes(2_000))
        check_all_landed_once(stub, 2_000, report)
    assert report.throttled == stub.refused > 100
    assert report.retried >= report.throttled


def test_server_errors_and_throttling_at_once() -> None:
    with serving(Faults(calls=0.2, errors=0.2, statements=0.2, seconds=2)) as stub:
        report = opened(stub).write_versions(NAME, 7, writes(1_000))
        check_all_landed_once(stub, 1_000, report)
    assert stub.refused == report.throttled > 0


def test_lost_answers_change_nothing_but_the_number_of_calls() -> None:
    with serving(Faults(lost=0.3)) as stub:
        report = opened(stub).write_versions(NAME, 7, writes(1_000))
        assert report.items == len(stub.items) == 1_000
        assert report.calls > 1_000 / 25
        assert max(stub.landed.values()) > 1, "no answer was lost: nothing was shown"
        store = opened(stub)
        assert store.read(NAME, ["0", "999"]) == {"0": {7: version(0)}, "999": {7: version(999)}}


def test_unprocessed_keys_are_read_again() -> None:
    with serving() as stub:
        opened(stub).write_versions(NAME, 7, writes(100))
        # Six tries in a row refuse one key in a thousand then; a small call is given five seconds.
        stub.faults = Faults(unprocessed=0.3)
        keys = [f"{n}" for n in range(100)]
        for _ in range(5):
            assert opened(stub).read(NAME, keys) == {key: {7: version(int(key))} for key in keys}
        assert stub.refused > 100


def test_throttling_beyond_the_bound_is_transient_and_named() -> None:
    with serving(Faults(calls=1.0)) as stub:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"not ready within 2 s; found ThrottlingException.*is not lost"):
            opened(stub, retry_s=2).write_versions(NAME, 7, writes(25))
        assert time.monotonic() - started < 8
        assert 4 <= len(stub.calls) <= 60


def test_a_store_that_is_not_there_is_named_at_once() -> None:
    with serving() as stub:
        gone = stub.endpoint
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"does not answer; found connection refused.*headrace up dynamodb"):
        DynamoDBStore("headrace", "us-east-1", gone).champion(NAME)
    assert time.monotonic() - started < 2
