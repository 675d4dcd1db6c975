"""A log, a generation cut somewhere in it, and drivers whose every store call is a step: what the laws play with."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import numpy as np

from headrace.algebra import Count, CountDistinct, DaysSince, Last, Max, Sum, Window, encode
from headrace.definitions import Definition, Field, Schema, Stream
from headrace.errors import Fenced
from headrace.models.learner import Contribution
from headrace.models.linear import LinearRegression
from headrace.registry.promotion import view
from headrace.schemas import HISTORY, Vector
from headrace.schemas.positions import Log
from headrace.serving.lookup import Lookups
from headrace.serving.merge import Answer
from headrace.speed.counting import Part, States, empty_states, merged
from headrace.speed.interval import count
from headrace.speed.settling import Plan, Settled, finished_outputs, settle
from headrace.stores.memory import MemoryStore
from headrace.stores.port import Champion, LedgerEntry, Progress, Version, Write

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
START = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = {"at": "timestamp", "x": "double", "tag": "string"}
LEARNER = LinearRegression(("minutes",), ridge=0.1)
_SCALED = {
    "features": ["minutes"],
    "target": "x",
    "mean": [10.0],
    "scale": [900.0],
    "target_mean": 2.5,
    "target_scale": 20.0,
}
FITTED: Mapping[str, Any] = {
    **_SCALED,
    "coefficients": [0.25],
    "intercept": 0.0,
    "contribution": LEARNER.contribution(_SCALED, np.array([[-700.0, 3.0], [500.0, 1.0], [90.0, -40.0]])),
}
PLAIN = Definition(
    name="plain",
    entity="who",
    event_time="at",
    source=Stream("things", Schema([Field("who", "string"), *(Field(*f) for f in TYPES.items())])),
    features={
        "n": Count(),
        "spent": Sum("x", step="0.001"),
        "most": Max("x"),
        "kinds": CountDistinct("tag", bound=100),
        "last_tag": Last("tag"),
        "idle": DaysSince(Max("at")),
    },
    learner=LEARNER,
    target="x",
)
THETA: Mapping[str, Any] = {
    "reference": START.isoformat(),
    "zone": "UTC",
    "types": TYPES,
    "learner": FITTED,
    "derive": None,
}


@dataclass(frozen=True)
class Event:
    """One event, before it has a place in the log."""

    who: str
    x: float | None
    tag: str | None
    minutes: int  # its event time; any order against its position, so lateness is the rule


Logs = Mapping[Log, Sequence[Event]]


def lifted(log: Log, position: int, event: Event) -> States:
    row = {
        "who": event.who,
        "x": event.x,
        "tag": event.tag,
        "at": START + timedelta(minutes=event.minutes),
        "_event_ts": START + timedelta(minutes=event.minutes),
        "_incarnation": log[0],
        "_partition": log[1],
        "_position": position,
    }
    return {name: feature.lift(row, TYPES) for name, feature in PLAIN.features.items()}


def recomputed(logs: Logs, until: Vector, beyond: Vector | None = None) -> dict[str, States]:
    """The oracle: every entity's states over the events from `beyond` to before `until`, one event at a time."""
    states: dict[str, States] = {}
    for log, events in logs.items():
        for position in range((beyond or {}).get(log, 0), min(until.get(log, 0), len(events))):
            event = events[position]
            before = states.get(event.who, empty_states(PLAIN.features))
            states[event.who] = merged(PLAIN.features, before, lifted(log, position, event))
    return states


def contributed(logs: Logs, until: Vector, beyond: Vector) -> Contribution:
    """The oracle of the model item: what the events from `beyond` to before `until` add, all at once."""
    some = [
        (float(event.minutes), float("nan") if event.x is None else event.x)
        for log, events in logs.items()
        for event in events[beyond.get(log, 0) : until.get(log, 0)]
    ]
    return LEARNER.contribution(FITTED, np.array(some).reshape(-1, 2))


@dataclass
class PythonInterval:
    """An interval of the log, aggregated in plain Python as Spark does it: one state a log and entity."""

    store: Any
    plan: Plan
    logs: Logs
    start: Vector
    end: Vector

    def settle(self, beyond: Mapping[str, Vector] | None) -> Settled:
        found: dict[tuple[str, Log], list[tuple[int, States]]] = {}
        for log, events in self.logs.items():
            for position in range(self.start.get(log, 0), self.end.get(log, 0)):
                who = events[position].who
                if beyond is not None and (who not in beyond or position < beyond[who].get(log, 0)):
                    continue
                found.setdefault((who, log), []).append((position, lifted(log, position, events[position])))
        parts: dict[str, list[Part]] = {}
        for (who, log), some in sorted(found.items()):
            states = reduce(lambda a, b: merged(PLAIN.features, a, b), (states for _, states in some))
            parts.setdefault(who, []).append(Part(log, some[0][0], some[-1][0], states))
        return settle(self.store, self.plan, parts, lambda: 0.0)

    def sampled(self, beyond: Vector) -> Contribution:
        parts = (
            contributed({log: events}, self.end, self.start.join(beyond)) for log, events in reversed(self.logs.items())
        )
        return reduce(LEARNER.merge, parts, LEARNER.empty(FITTED))


class Killed(BaseException):
    """The driver is gone: nothing of it runs any more."""


class Steps:
    """A store whose every call is a step of one driver: `turn` is asked before, and may end the driver."""

    def __init__(self, store: MemoryStore, turn: Callable[[], None]) -> None:
        self._store = store
        self._turn = turn

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._store, name)

        def step(*arguments: Any, **named: Any) -> Any:
            self._turn()
            done = call(*arguments, **named)
            self._turn()
            return done

        return step


@dataclass
class World:
    """The log, the store and the generations published to it."""

    logs: Logs
    store: MemoryStore = field(default_factory=MemoryStore)
    plans: dict[int, Plan] = field(default_factory=dict)

    def publish(
        self,
        generation: int,
        cut: Vector,
        base: int | None = None,
        *,
        store: Any = None,
        days: int = 0,
        dies: bool = False,
        **info: Any,
    ) -> None:
        """Train on everything before the cut and publish it, as the difference from `base` or in full.

        store: the one it is written to, key by key. days: by which its reference is later than that of others, so
        that every output tells. dies: half-way. info: what else the ledger says.
        """
        store = store or self.store
        theta = {**THETA, "reference": (START + timedelta(days=days)).isoformat()}
        lease = store.acquire_lease("plain", "batch", NOW, timedelta(seconds=30))
        info |= {
            "cut": cut.to_json(),
            "as_of": NOW.isoformat(),
            "definition_sha256": "d",
            "max_age_s": None,
            "clock": "cut",
            "description": {"learner": LEARNER.describe()},
            "theta": theta,
        }
        store.open_publication(lease, LedgerEntry(generation, "publishing", base, f"m{generation}", info=info))
        # What the views choose needs theta only; a plan of an empty view finishes what has no batch state.
        bare = Plan(PLAIN, generation, Champion(), cut, theta)
        whole = recomputed(self.logs, cut)
        outputs = finished_outputs(bare, whole) if whole else {}
        before = {
            e: v
            for e, vs in self.store.scan("plain")
            if base and (c := self.plans[base].view.choose(vs))
            for v in [c[1]]
        }
        writes = [
            Write(entity, version, exists=False)
            for entity, states in whole.items()
            for version in [Version(encode(states), outputs[entity])]
            if before.get(entity) != version
        ]
        for write in writes[: len(writes) // 2 if dies else None]:
            store.write_versions("plain", generation, [write])
        if dies:
            return
        store.seal_publication(lease, generation, len(writes))
        store.release_lease(lease)
        self.plans[generation] = Plan(PLAIN, generation, view(self.store.ledger("plain"), generation), cut, theta)

    def head(self) -> Vector:
        return Vector({log: len(events) for log, events in self.logs.items()})

    def drive(self, store: Any, generation: int, ends: Iterator[Vector], owner: str) -> Progress:
        """One driver's life: take over, count interval after interval. `ends` gives where each is to end."""
        plan = self.plans[generation]
        progress: Progress = store.take_over("plain", generation, owner, plan.cut, NOW)
        for wanted in ends:
            end = progress.vector.join(wanted)
            if end != progress.vector:
                interval = PythonInterval(store, plan, self.logs, progress.vector, end)
                progress = count(interval, store, progress, NOW).progress
        return progress

    def check(self, lookups: Lookups | None = None) -> list[Answer]:
        """Every answer equals the oracle at the generation and vector the answer carries; the answers."""
        people = sorted({event.who for events in self.logs.values() for event in events})
        champion = self.store.champion("plain").generation
        # Before the look-ups, which may only have counted more since.
        below = self.store.progress("plain", champion)
        counted = recomputed(self.logs, below.vector if below else self.plans[champion].cut)
        lookups = lookups or Lookups(self.store, 0, lambda: NOW)
        scorer = lookups.scorer("plain")
        cut = self.plans[scorer.served.generation.number].cut
        since = contributed(self.logs, scorer.vector, cut)
        assert scorer.vector.covers(scorer.served.vector)
        assert scorer.parameters == LEARNER.live(FITTED, since), (scorer.vector, since)
        found = lookups.many("plain", people)
        for answer in found.answers:
            vector = Vector.from_json(answer.vector)
            expected = recomputed(self.logs, vector)
            assert answer.entity in expected, (answer.entity, vector)
            one = finished_outputs(self.plans[answer.generation], {answer.entity: expected[answer.entity]})
            said = {"features": dict(answer.features), "prediction": dict(answer.prediction)}
            assert said == json.loads(one[answer.entity]), (answer, expected[answer.entity])
        assert not counted.keys() & set(found.missing)
        return found.answers


class Scheduler:
    """Runs drivers in threads of which one moves at a time, step by step, in the order it is told."""

    def __init__(self, bodies: Sequence[Callable[[Callable[[], None]], None]]) -> None:
        self._go = [threading.Semaphore(0) for _ in bodies]
        self._rest = threading.Semaphore(0)
        self._killed = [False] * len(bodies)
        self.done = [False] * len(bodies)
        self.errors: list[BaseException | None] = [None] * len(bodies)
        self._threads = [
            threading.Thread(target=self._run, args=(number, body), daemon=True) for number, body in enumerate(bodies)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int, body: Callable[[Callable[[], None]], None]) -> None:
        self._go[number].acquire()
        try:
            if not self._killed[number]:
                body(lambda: self._turn(number))
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 -- the outcome under test
            self.errors[number] = error
        self.done[number] = True
        self._rest.release()

    def _turn(self, number: int) -> None:
        self._rest.release()
        self._go[number].acquire()
        if self._killed[number]:
            raise Killed

    def step(self, number: int, *, kill: bool = False) -> None:
        """Let one driver take one step, or end it where it stands."""
        if self.done[number]:
            return
        self._killed[number] = kill
        self._go[number].release()
        assert self._rest.acquire(timeout=20)

    def finish(self) -> None:
        """End what still runs; raise what ended otherwise than by being fenced."""
        for number in range(len(self.done)):
            while not self.done[number]:  # a handler of what ends it may take steps of its own
                self.step(number, kill=True)
        for thread in self._threads:
            thread.join(20)
        for error in self.errors:
            if error is not None and not isinstance(error, Fenced):
                raise error


def history(events: Sequence[Event]) -> dict[Log, Sequence[Event]]:
    return {(HISTORY, "file"): events}


def moved(cut: Vector, log: Log, position: int) -> Vector:
    return Vector({**cut, log: position})


__all__ = [
    "PLAIN",
    "Event",
    "PythonInterval",
    "Scheduler",
    "Steps",
    "Window",
    "World",
    "history",
    "moved",
    "recomputed",
    "replace",
]
