"""The two laws of the platform, checked for one definition on given events."""

from __future__ import annotations

import dataclasses
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.algebra import encode, merge_states, states_by_entity
from headrace.batch.finished import features_of
from headrace.batch.theta import fitted, unfitted
from headrace.definitions import Definition, drop_reasons, finish, prepared
from headrace.errors import InputError
from headrace.schemas import Vector
from headrace.testing.frames import SHOWN, Cells, bag_faults, cells
from headrace.testing.samples import Row, each_once, frame_of, rows_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# entity -> feature -> state
States = Mapping[str, Mapping[str, Any]]
ENTITY = "entity"
_KEY = "_entity"
_PIECES = 3
_PIECE = "_piece_entity"
_PREFIX = 9


def assert_law(definition: Definition, events: Sequence[Row] | DataFrame, seed: int = 7, cuts: int = 20) -> None:
    """Assert that a definition obeys the state law and the output law on these events.

    events: dicts of the stream's declared columns (an absent column is null, a timestamp may be ISO 8601 text), or a
    Spark frame with those columns. Tens to hundreds: the odd cases, not the volume.
    cuts: how many random cuts are tried, empty sides included; seed: the same cuts, batches and orders every time.

    Checked: `prepare` gives the same rows whichever events it is given together. Plain Python and Spark make the
    same states. The states of events before and after a cut, in any order and batching, merge to the states of all
    events, bit for bit, and no operand is changed. `finish` gives the same outputs whichever rows it is given
    together; learner and derivation take part if they can be fitted on so few events, which is warned about if not.

    Raises AssertionError naming entity, feature, cut and both states; InputError for events the stream does not
    declare. Needs a running Spark session: ask for the fixture `spark`.
    """
    spark = _session(events)
    chance = random.Random(seed)  # noqa: S311 (repeatable on purpose)
    every = rows_of(definition, events)
    counted = prepared(definition, frame_of(definition, every, spark)).persist()
    try:
        rows = _collected(definition, counted)
        if not rows:
            reasons = drop_reasons(definition, frame_of(definition, every, spark)).collect()
            raise AssertionError(f"the laws of {definition.name!r} hold for no events, which says nothing: {reasons}")
        law = _Law(definition, dict(counted.dtypes), chance)
        whole = states_by_entity(counted, definition.entity, definition.features).persist()
        table = whole.toArrow()
        in_python = law.fold(rows)
        law.require_equal(in_python, law.states(table), "Spark and plain Python make different states", "all events")
        for cut in _cuts(every, cuts, chance):
            law.check_cut(rows, in_python, cut)
        law.check_pieces(each_once(definition, every, spark), rows, in_python, spark)
        theta = _theta(law, whole, counted, max(row["_event_ts"] for row in every))
        law.check_outputs(theta, table, in_python)
        whole.unpersist()
    finally:
        counted.unpersist()


@dataclass(frozen=True)
class _Law:
    definition: Definition
    types: Mapping[str, str]
    chance: random.Random

    def fold(self, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
        """The states of events, one after the other."""
        states: dict[str, dict[str, Any]] = {}
        for row in rows:
            own = states.setdefault(row[_KEY], self.empty())
            for name, feature in self.definition.features.items():
                own[name] = feature.merge(own[name], feature.lift(row, self.types))
        return states

    def empty(self) -> dict[str, Any]:
        return {name: feature.empty() for name, feature in self.definition.features.items()}

    def states(self, table: pa.Table) -> dict[str, dict[str, Any]]:
        columns = [ENTITY, *self.definition.features]
        return {row.pop(ENTITY): row for row in table.select(columns).to_pylist()}

    def merge(self, entity: str, name: str, left: Any, right: Any) -> Any:
        """The merged state, after seeing that neither operand was changed by it."""
        before = _bytes(left), _bytes(right)
        merged = self.definition.features[name].merge(left, right)
        after = _bytes(left), _bytes(right)
        if before != after:
            at = next(i for i in (0, 1) if before[i] != after[i])
            raise AssertionError(
                f"merging changed its {('left', 'right')[at]} operand: definition {self.definition.name!r}, "
                f"feature {name!r}, entity {entity!r}\n  before: {_shown(before[at])}\n  after:  {_shown(after[at])}"
            )
        return merged

    def merged(self, parts: Sequence[States], entities: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The parts merged in a random order and a random nesting; an entity that a part lacks is empty there."""
        result: dict[str, dict[str, Any]] = {}
        for entity in entities:
            result[entity] = {}
            for name, feature in self.definition.features.items():
                heap = [part[entity][name] if entity in part else feature.empty() for part in parts]
                while len(heap) > 1:
                    self.chance.shuffle(heap)
                    heap.append(self.merge(entity, name, heap.pop(), heap.pop()))
                result[entity][name] = heap[0]
        return result

    def check_cut(self, rows: Sequence[Row], whole: States, cut: Vector) -> None:
        """Events before and after a cut, each side in random order and batches, merge to the whole."""
        sides = [[row for row in rows if _is_before(row, cut) is before] for before in (True, False)]
        batches = [batch for side in sides for batch in self._batches(side)]
        where = f"cut at {cut.to_json()}, batches of {[len(batch) for batch in batches]} events"
        merged = self.merged([self.fold(batch) for batch in batches], list(whole))
        self.require_equal(whole, merged, "the states of split events do not merge to the state of all", where)

    def check_pieces(self, every: Sequence[Row], rows: Sequence[Row], whole: States, spark: SparkSession) -> None:
        """Pieces of the events, each prepared and aggregated by Spark on its own, merge to the whole.

        In: `every`, the events without copies; `rows`, what `prepare` makes of them all together.
        """
        from pyspark.sql import functions as F

        once = dataclasses.replace(self.definition, event_id=None)
        shuffled = self.chance.sample(every, len(every))
        ends = sorted(self.chance.randint(0, len(every)) for _ in range(_PIECES - 1))
        where = f"pieces ending at {[*ends, len(every)]} of the events shuffled"
        pieces = [
            prepared(once, frame_of(once, shuffled[start:end], spark)).withColumn(
                _PIECE, F.concat(F.lit(f"{start:0{_PREFIX}d}"), F.col(once.entity).cast("string"))
            )
            for start, end in zip([0, *ends], [*ends, len(every)], strict=True)
        ]
        apart = reduce(type(pieces[0]).unionByName, pieces).persist()
        try:
            faults = bag_faults(
                ("all together", _plain(rows)), ("pieces", _plain(_collected(once, apart.drop(_PIECE))))
            )
            if faults:
                raise AssertionError(
                    f"`prepare` of {once.name!r} is not row by row: {where} give other rows than all together\n"
                    + "\n".join(f"  {fault}" for fault in faults)
                )
            # One aggregation by (piece, entity), then the piece is forgotten.
            partial = states_by_entity(apart, _PIECE, once.features)
            partial = partial.withColumn(ENTITY, F.expr(f"substring({ENTITY}, {_PREFIX + 1})"))
            merged = merge_states(partial, once.features, self.types).toArrow()
        finally:
            apart.unpersist()
        self.require_equal(whole, self.states(merged), "Spark does not merge states to the state of all", where)

    def check_outputs(self, theta: Mapping[str, Any], table: pa.Table, whole: States) -> None:
        """Finishing merged states in random rows and batches gives what finishing all at once gives."""
        definition = self.definition
        if any(getattr(definition, part) is not None and theta[part] is None for part in ("learner", "derive")):
            definition = definition.features_only()
        expected = {row[ENTITY]: row for row in finish(definition, theta, table).to_pylist()}
        entities = self.chance.sample(sorted(whole), len(whole))
        for batch in self._batches(entities):
            columns = {
                name: pa.array([whole[entity][name] for entity in batch], feature.arrow_type(self.types))
                for name, feature in definition.features.items()
            }
            part = pa.table({ENTITY: pa.array(batch, pa.string()), **columns})
            for row in finish(definition, theta, part).to_pylist():
                wanted = expected[row[ENTITY]]
                for name, value in row.items():
                    if repr(value) != repr(wanted[name]):
                        raise AssertionError(
                            f"output law broken: the output depends on which entities are finished together: "
                            f"definition {definition.name!r}, entity {row[ENTITY]!r}, output {name!r}\n"
                            f"  alone with {len(batch) - 1} others: {value!r}\n  with all: {wanted[name]!r}"
                        )

    def require_equal(self, whole: States, other: States, what: str, where: str) -> None:
        if set(whole) != set(other):
            raise AssertionError(
                f"state law broken: {what}: definition {self.definition.name!r}, {where}\n"
                f"  entities only in plain Python: {sorted(set(whole) - set(other))[:SHOWN]}\n"
                f"  entities only in the other: {sorted(set(other) - set(whole))[:SHOWN]}"
            )
        for entity in whole:
            for name in self.definition.features:
                one, two = _bytes(whole[entity][name]), _bytes(other[entity][name])
                if one != two:
                    raise AssertionError(
                        f"state law broken: {what}: definition {self.definition.name!r}, feature {name!r}, "
                        f"entity {entity!r}, {where}\n  all events, in Python: {_shown(one)}\n"
                        f"  the other way:         {_shown(two)}"
                    )

    def _batches(self, items: Sequence[Any]) -> Iterator[list[Any]]:
        """The items in random order in up to four batches, of which some may be empty."""
        shuffled = self.chance.sample(items, len(items))
        ends = sorted(self.chance.randint(0, len(items)) for _ in range(self.chance.randint(0, 3)))
        for start, end in zip([0, *ends], [*ends, len(items)], strict=True):
            yield shuffled[start:end]


def _theta(law: _Law, states: DataFrame, events: DataFrame, latest: datetime) -> dict[str, Any]:
    """What a generation trained on these events would freeze; without `learner` and `derive` if it cannot be."""
    definition = law.definition
    theta = unfitted(definition, law.types, latest)
    if definition.learner is None and definition.derive is None:
        return theta
    features = features_of(states, definition, theta).persist()
    try:
        return fitted(definition, theta, features, events)[0]
    except InputError as error:
        warnings.warn(f"the output law of {definition.name!r} is checked for features only: {error}", stacklevel=3)
        return theta
    finally:
        features.unpersist()


def _session(events: Sequence[Row] | DataFrame) -> SparkSession:
    from pyspark.sql import SparkSession

    session: SparkSession | None = getattr(events, "sparkSession", None) or SparkSession.getActiveSession()
    if session is None:
        raise InputError("the laws need a running Spark session", do="ask for the fixture `spark` in the test")
    return session


def _collected(definition: Definition, frame: DataFrame) -> list[Row]:
    from pyspark.sql import functions as F

    return list(cells(frame.withColumn(_KEY, F.col(definition.entity).cast("string"))).rows)


def _cuts(rows: Sequence[Row], count: int, chance: random.Random) -> Iterator[Vector]:
    """A cut after everything, one before everything, and random ones."""
    ends: dict[tuple[str, str], int] = {}
    for row in rows:
        log = (row["_incarnation"], row["_partition"])
        ends[log] = max(ends.get(log, 0), row["_position"] + 1)
    yield Vector(ends)
    yield Vector()
    for _ in range(count - 2):
        yield Vector({log: chance.randint(0, end) for log, end in ends.items()})


def _is_before(row: Row, cut: Vector) -> bool:
    return bool(row["_position"] < cut.get((row["_incarnation"], row["_partition"]), 0))


def _plain(rows: Sequence[Row]) -> Cells:
    return Cells({}, rows, spark=True)


def _bytes(state: Any) -> bytes:
    return encode({"state": state})


def _shown(state: bytes) -> str:
    return state.decode()
