"""The speed layer's writes when the store throttles, fails, or carries out what it then does not answer."""

from __future__ import annotations

import pytest
from dynamodb_stub import Faults, serving
from speed_world import PLAIN, THETA, Event, PythonInterval, recomputed

from headrace.algebra import encode
from headrace.schemas import Vector
from headrace.speed.settling import Plan, Settled
from headrace.stores.dynamodb import DynamoDBStore
from headrace.stores.port import Champion

EVENTS = [Event(f"p{(7 * n) % 60}", float(n % 11), "uvw"[n % 3], -n) for n in range(600)]
LOG = ("topic", "0")
PLAN = Plan(PLAIN, 1, Champion(), Vector(), THETA)


@pytest.mark.parametrize(
    ("faults", "shows"),
    [
        (Faults(lost=0.3), "refused"),  # fault 5: carried out, the answer cut
        (Faults(statements=0.5, unprocessed=0.2, seconds=10), "throttled"),
        (Faults(errors=0.2, lost=0.2, seconds=10), "refused"),
    ],
    ids=["answers lost", "throttled", "errors"],
)
def test_every_event_counts_once(faults: Faults, shows: str) -> None:
    with serving(faults) as stub:
        store = DynamoDBStore("headrace", "us-east-1", stub.endpoint, retry_s=60)
        whole = Settled()
        for start in range(0, len(EVENTS), 100):
            # Each interval begins before the one before ended, as after a driver that died.
            begin, end = Vector({LOG: max(0, start - 30)}), Vector({LOG: start + 100})
            interval = PythonInterval(store, PLAN, {LOG: EVENTS}, begin, end)
            settled = interval.settle(None)
            while settled.mixed:
                beyond, settled.mixed = settled.mixed, {}
                settled.add(interval.settle(beyond))
            whole.add(settled)
        expected = recomputed({LOG: EVENTS}, Vector({LOG: len(EVENTS)}))
        held = store.read_speed("plain", 1, sorted(expected), patient=True)
        store.close()
    assert {entity: one.speed.state for entity, one in held.items() if one.speed} == {
        entity: encode(states) for entity, states in expected.items()
    }
    assert getattr(whole, shows) > 0, "nothing went wrong, so nothing was proved"


def test_a_hot_key_is_written_once_an_interval() -> None:
    """Fault 11: nine events in ten of one key, and one write of it a batch."""
    events = [Event("hot" if n % 10 else f"p{n % 50}", 1.0, None, n) for n in range(500)]
    with serving() as stub:
        store = DynamoDBStore("headrace", "us-east-1", stub.endpoint)
        for start in range(0, 500, 100):
            PythonInterval(store, PLAN, {LOG: events}, Vector({LOG: start}), Vector({LOG: start + 100})).settle(None)
        hot = store.read_speed("plain", 1, ["hot"])["hot"].speed
        store.close()
    assert hot is not None
    assert hot.writes == 5
