"""A definition: the one description that drives training, backfill, the stream, serving and the proof."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headrace.algebra import Aggregate
from headrace.errors import DefinitionError, nearest
from headrace.evaluate.gate import Gate
from headrace.evaluate.splitting import Splitting
from headrace.models.learner import Learner
from headrace.schemas import META_COLUMNS, Schema
from headrace.schemas.positions import SEQUENCE
from headrace.transforms.derivation import Derivation

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class ClockRule:
    """How the instant that features are finished at is chosen; made by `fixed`, or `CUT`, or `READER`.

    fixed: always `instant`. cut: the latest event time before the generation's cut. reader: the same for what
    a learner reads, and the reader's own now for the features shown.
    """

    kind: Literal["fixed", "cut", "reader"]
    instant: datetime | None = None

    def reference(self, latest_event: datetime) -> datetime:
        return self.instant if self.instant is not None else latest_event


def fixed(instant: str) -> ClockRule:
    """A clock that stands still, such as the reference date of a published study; UTC unless it says otherwise.

    >>> fixed("2011-12-09").instant
    datetime.datetime(2011, 12, 9, 0, 0, tzinfo=datetime.timezone.utc)
    """
    parsed = datetime.fromisoformat(instant)
    return ClockRule("fixed", parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))


CUT = ClockRule("cut")
READER = ClockRule("reader")


@dataclass(frozen=True)
class Table:
    """Where a stream's history comes from when no input is named: the name of a known data set."""

    name: str


@dataclass(frozen=True)
class Stream:
    """A named log of events: its topic, its table in the lake (`events/<name>`), its columns, its history.

    payload: how a record of the topic spells an event. payload_schemas: for `avro`, framed as Confluent's clients do
    it, the writers' schemas (JSON text) by id.
    """

    name: str
    schema: Schema
    history: Table | None = None
    payload: Literal["json", "avro"] = "json"
    payload_schemas: Mapping[int, str] = field(default_factory=dict)


# A pure, stateless transform of events, the same in batch and in the stream. A row it does not want counted
# keeps its place with a text in `drop_reason`; rows without that column or with a null there are counted.
Prepare = Callable[["DataFrame"], "DataFrame"]
DROP_REASON = "drop_reason"


@dataclass(frozen=True)
class Definition:
    """One prediction by key.

    entity: the column whose values are the keys, served as text; rows with a null entity are not counted.
    event_time: the timestamp column of `source.schema` that orders events.
    features: name -> aggregate over the prepared events of one entity.
    learner, derive: what is fitted on the finished features and what is made of both; optional. A learner whose
    sample is an event is fitted on columns of the prepared events instead, and scores records, not entities.
    target: the column of the prepared events that such a learner is to tell.
    training: the part of the events that such a learner is fitted on; the others are held out, and measured.
    gate: what the learner must show on samples held out from training before a generation is promoted.
    event_id: a column that identifies an event, by which copies are counted once.
    max_age: an answer older than this says `stale`.
    zone: the time zone whose calendar days are counted.
    """

    name: str
    entity: str
    event_time: str
    source: Stream
    features: Mapping[str, Aggregate]
    clock: ClockRule = CUT
    prepare: Prepare | None = None
    learner: Learner | None = None
    derive: Derivation | None = None
    target: str | None = None
    gate: Gate | None = None
    training: Splitting | None = None
    event_id: str | None = None
    max_age: timedelta | None = None
    zone: str = "UTC"
    origin: str = field(default="", compare=False)  # where it was loaded from, for people

    def __post_init__(self) -> None:
        for what, name in (
            ("definition", self.name),
            ("stream", self.source.name),
            *(("feature", name) for name in self.features),
        ):
            if not _NAME.fullmatch(name):
                raise DefinitionError(
                    f"the {what} name is not usable", found=repr(name), expected="snake_case, at most 63 characters"
                )
        if not self.features:
            raise DefinitionError(f"definition {self.name!r} has no features", do="declare at least one aggregate")
        schema = self.source.schema
        for what, column in (("entity", self.entity), ("event_time", self.event_time), ("event_id", self.event_id)):
            if column is not None and column not in schema:
                raise DefinitionError(
                    f"{what} of definition {self.name!r} is not a column of stream {self.source.name!r}",
                    found=repr(column),
                    expected=f"one of {list(schema.names)}",
                    nearest=nearest(column, schema.names),
                )
        if schema.field(self.event_time).type != "timestamp":
            raise DefinitionError(
                f"event_time of definition {self.name!r} is not a timestamp",
                found=f"{self.event_time!r} of type {schema.field(self.event_time).type}",
                do="declare the column as a timestamp, with `format` if it comes as text",
            )
        clash = sorted({*schema.names, *self.features} & {*META_COLUMNS, SEQUENCE, DROP_REASON})
        if clash:
            raise DefinitionError(f"definition {self.name!r} uses reserved column names", found=clash)
        self._check_outputs()
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise DefinitionError(
                f"definition {self.name!r} has an unknown time zone", found=repr(self.zone)
            ) from error

    def features_only(self) -> Definition:
        """The same without what is learned and derived."""
        return replace(self, learner=None, derive=None, target=None, gate=None, training=None)

    @property
    def entity_learner(self) -> Learner | None:
        """The learner, if it scores entities."""
        return self.learner if self.learner is not None and self.learner.sample == "entity" else None

    @property
    def event_learner(self) -> Learner | None:
        """The learner, if its samples are events."""
        return self.learner if self.learner is not None and self.learner.sample == "event" else None

    @property
    def sample_columns(self) -> tuple[str, ...]:
        """What the event learner reads of prepared events, the target last; none without one."""
        if self.event_learner is None or self.target is None:
            return ()
        return (*self.event_learner.inputs(()), self.target)

    def _check_outputs(self) -> None:
        """Every learner input is a feature, and what is finished has distinct names."""
        names = ["entity", *self.features]
        self._check_target()
        self._check_gate()
        if self.entity_learner is not None:
            self.entity_learner.inputs(tuple(self.features))
            names += self.entity_learner.outputs
        if self.derive is not None:
            names += self.derive.outputs
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DefinitionError(
                f"definition {self.name!r} finishes two columns of one name",
                found=twice,
                do="features, learner outputs and derived outputs share one row with `entity`; rename a feature",
            )

    def _check_target(self) -> None:
        """A learner of events has a target, which is none of its inputs; nothing else has one."""
        if (self.target is not None) != (self.event_learner is not None):
            raise DefinitionError(
                f"definition {self.name!r} needs a target and a learner of events together",
                found=f"target {self.target!r} and learner {self.learner.kind if self.learner else None!r}",
                do="name the column to tell as `target`" if self.target is None else "leave `target` out",
            )
        if self.training is not None and self.event_learner is None:
            raise DefinitionError(
                f"definition {self.name!r} names a part to train on but has no learner of events",
                do="leave `training` out: entities have no positions",
            )
        if len(set(self.sample_columns)) < len(self.sample_columns):
            raise DefinitionError(
                f"the target of definition {self.name!r} is an input of its learner", found=repr(self.target)
            )

    def _check_gate(self) -> None:
        """A gate asks for a metric of the learner, which there is."""
        if self.gate is None:
            return
        if self.learner is None:
            raise DefinitionError(
                f"definition {self.name!r} has a gate but nothing to measure", do="declare a learner, or leave it out"
            )
        self.gate.check(self.learner)

    def describe(self) -> dict[str, Any]:
        """What is archived with a generation; see `definitions.archive`."""
        from headrace.definitions.archive import describe

        return describe(self)
