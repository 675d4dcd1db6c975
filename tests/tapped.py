"""A small definition, its events on a real topic, and the plain-Python recomputation from that topic's log."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from kafka import KafkaProducer

from headrace.algebra import Count, CountDistinct, Last, Max, State, Sum
from headrace.definitions import Definition, Field, Schema, Stream
from headrace.models.learner import Learner
from headrace.models.linear import LinearRegression
from headrace.registry import Generation, Registry
from headrace.schemas import HISTORY, Vector
from headrace.schemas.positions import Log
from headrace.serving.lookup import MAX_ENTITIES, Lookups
from headrace.sources.kafka import Broker
from headrace.speed.settling import Plan, finished_outputs
from headrace.stores.port import Champion, Store

START = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = {"x": "double", "tag": "string"}
SCHEMA = Schema(
    [
        Field("who", "string"),
        Field("at", "timestamp", required=True),
        Field("x", "double"),
        Field("tag", "string"),
        Field("y", "double"),
    ]
)
PEOPLE = [f"p{n}" for n in range(40)]
LATE = (timedelta(seconds=1), timedelta(hours=1), timedelta(days=1), timedelta(days=30))

LEARNER = LinearRegression(("y",), ridge=0.01)


def taps(stream: str, learner: Learner = LEARNER, **spelled: Any) -> Definition:
    """What is counted of a stream of that name; spelled: how its records are, JSON unless said."""
    return Definition(
        name=stream,
        entity="who",
        event_time="at",
        source=Stream(stream, SCHEMA, **spelled),
        features={
            "n": Count(),
            "spent": Sum("x", step="0.001"),
            "most": Max("x"),
            "kinds": CountDistinct("tag"),
            "last_tag": Last("tag"),
        },
        learner=learner,
        target="x",
    )


Event = Mapping[str, Any]


def events(count: int, seed: int, *, late_s: int = 90 * 86_400, hot: float = 0.0) -> list[dict[str, Any]]:
    """Events of the people, as late as a quarter of a year, in no order; `hot` of them of the first alone.

    The last ones are LATE by the newest event time of the others.
    """
    rng = random.Random(seed)
    made = [
        {
            "who": PEOPLE[0] if rng.random() < hot else rng.choice(PEOPLE),
            "at": (START + timedelta(seconds=rng.randrange(late_s))).isoformat(sep=" ")[:19],
            "x": round(rng.uniform(-5, 20), 3),
            "tag": rng.choice("abcdefgh"),
            "y": round(rng.uniform(-1, 1), 3),
        }
        for _ in range(count)
    ]
    newest = max((datetime.fromisoformat(row["at"]) for row in made[: -len(LATE)]), default=START)
    for row, late in zip(made[-len(LATE) :], LATE, strict=False):
        row["at"] = (newest - late).isoformat(sep=" ")[:19]
    return made


def history_file(path: Path, rows: Iterable[Event], days: int = 400) -> Path:
    """Events as a CSV file; its rows precede the stream's by so many days, so that nothing overlaps."""
    lines = ["who,at,x,tag,y"]
    for row in rows:
        at = datetime.fromisoformat(row["at"]) - timedelta(days=days)
        lines.append(f"{row['who']},{at},{row['x']},{row['tag']},{row['y']}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def send(broker: Broker, topic: str, rows: Iterable[Event | bytes], *, keyed: bool = True) -> int:
    """Produce the events, keyed by who, and wait until they are acknowledged."""
    return produce(broker.producer(), topic, rows, keyed=keyed)


def produce(producer: KafkaProducer, topic: str, rows: Iterable[Event | bytes], *, keyed: bool = True) -> int:
    """`send` with a producer that is kept."""
    sent = []
    for row in rows:
        value = row if isinstance(row, bytes) else json.dumps(row).encode()
        key = None if isinstance(row, bytes) or not keyed else str(row["who"]).encode()
        sent.append(producer.send(topic, value=value, key=key))
    producer.flush()
    for one in sent:
        one.get(30)
    return len(sent)


def lifted(definition: Definition, log: Log, position: int, row: Event) -> dict[str, State]:
    at = datetime.fromisoformat(row["at"]).replace(tzinfo=UTC)
    held = {**row, "at": at, "_event_ts": at, "_incarnation": log[0], "_partition": log[1], "_position": position}
    return {name: feature.lift(held, TYPES) for name, feature in definition.features.items()}


class Oracle:
    """Everything that ever happened, recomputed one event at a time up to any vector; good: the event of a record."""

    def __init__(
        self,
        definition: Definition,
        broker: Broker,
        history: Path | None,
        sha256: str | None,
        good: Callable[[bytes | None], Event | None] | None = None,
    ) -> None:
        self._good = good or _good
        self._definition = definition
        self._broker = broker
        self._read: dict[Log, list[tuple[int, Event]]] = {}
        if history is not None and sha256 is not None:
            names, *rows = [line.split(",") for line in history.read_text("utf-8").splitlines()]
            typed = [{**dict(zip(names, row, strict=True)), "x": float(row[2]), "y": float(row[4])} for row in rows]
            self._read[HISTORY, sha256] = list(enumerate(typed))

    def refresh(self) -> Vector:
        """Read what the topic holds now; where it ends. What it lost before it was read never happened."""
        topic = self._broker.topic(self._definition.source.name)
        held = self._broker.held(topic)
        end = {partition: n for partition, (_, n) in held.items()}
        read = {int(p): found[-1][0] + 1 for (i, p), found in self._read.items() if i == topic.incarnation and found}
        start = {partition: max(earliest, read.get(partition, 0)) for partition, (earliest, _) in held.items()}
        for record in self._broker.records(topic, start, end):
            found = self._read.setdefault((topic.incarnation, str(record.partition)), [])
            event = self._good(record.value)
            if event is not None:
                found.append((record.offset, event))
        return Vector({(topic.incarnation, str(p)): n for p, n in end.items()})

    def people(self, until: Vector) -> set[str]:
        """Who has an event before `until`."""
        return {
            row["who"] for log, found in self._read.items() for position, row in found if position < until.get(log, 0)
        }

    def states(self, entity: str, until: Vector) -> dict[str, State] | None:
        """The states of the entity's events before `until`, None for no event."""
        features = self._definition.features
        lifts = [
            lifted(self._definition, log, position, row)
            for log, found in self._read.items()
            for position, row in found
            if position < until.get(log, 0) and row["who"] == entity
        ]
        if not lifts:
            return None
        return reduce(lambda a, b: {name: f.merge(a[name], b[name]) for name, f in features.items()}, lifts)

    def check(self, store: Store, registry: Path) -> dict[str, Vector]:
        """Every key of the log is answered by the recomputation at the generation and vector its answer carries, and
        one without an answer has no event that is counted; the answers' vectors."""
        name = self._definition.name
        # Before the look-ups, which may only have counted more since.
        self.refresh()
        generation = store.champion(name).generation
        below = store.progress(name, generation)
        counted = below.vector if below else Vector.from_json(Registry(registry).load(name, generation).manifest.cut)
        keys = sorted({row["who"] for found in self._read.values() for _, row in found})
        lookups = Lookups(store, 0, lambda: datetime.now(UTC))
        answers, missing = [], set()
        for start in range(0, len(keys), MAX_ENTITIES):
            found = lookups.many(name, keys[start : start + MAX_ENTITIES])
            answers += found.answers
            missing |= set(found.missing)
        lost = missing & self.people(counted)
        assert not lost, f"{sorted(lost)} have events below {counted.to_json()} and are not served"
        self.refresh()
        vectors = {}
        for answer in answers:
            generation = Registry(registry).load(self._definition.name, answer.generation)
            vector = Vector.from_json(answer.vector)
            states = self.states(answer.entity, vector)
            assert states is not None, f"{answer.entity} is served and has no event below {answer.vector}"
            expected = json.loads(
                finished_outputs(bare_plan(self._definition, generation), {answer.entity: states})[answer.entity]
            )
            said = {"features": dict(answer.features), "prediction": dict(answer.prediction)}
            assert said == expected, f"{answer.entity} at {answer.vector}: {said} is not {expected}"
            vectors[answer.entity] = vector
        self._check_model(store, registry)
        return vectors

    def _check_model(self, store: Store, registry: Path) -> None:
        """Live parameters are those of all samples below the vector that they carry."""
        scorer = Lookups(store, 0, lambda: datetime.now(UTC)).scorer(self._definition.name)
        self.refresh()
        generation = Registry(registry).load(self._definition.name, scorer.served.generation.number)
        cut, fitted = Vector.from_json(generation.manifest.cut), generation.theta()["learner"]
        learner = self._definition.event_learner
        assert learner is not None
        names = self._definition.sample_columns
        since = [
            [value if isinstance(value := row.get(name), str) else _number(value) for name in names]
            for log, found in self._read.items()
            for position, row in found
            if cut.get(log, 0) <= position < scorer.vector.get(log, 0)
        ]
        contribution = learner.contribution(fitted, np.array(since, dtype=object).reshape(-1, len(names)))
        assert scorer.parameters == learner.live(fitted, contribution), (scorer.vector, len(since))


def bare_plan(definition: Definition, generation: Generation) -> Plan:
    return Plan(
        definition,
        generation.manifest.generation,
        Champion(),
        Vector.from_json(generation.manifest.cut),
        generation.theta(),
    )


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _good(value: bytes | None) -> Event | None:
    try:
        event = json.loads((value or b"").decode())
        if datetime.fromisoformat(event["at"]).year > 2100:  # after its arrival by more than a clock is off
            return None
        if len((event.get("tag") or "").encode()) > 32_768:
            return None
        return (
            {**event, "x": None if event["x"] is None else float(event["x"])} if isinstance(event["who"], str) else None
        )
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        return None
