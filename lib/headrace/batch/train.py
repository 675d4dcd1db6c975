"""Train on one pinned snapshot and seal a generation."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import headrace
from headrace.algebra import explain_overflow, states_by_entity
from headrace.batch.finished import features_of, finished
from headrace.batch.gating import judged, sides
from headrace.batch.theta import fitted, unfitted
from headrace.config import Settings, redacted
from headrace.definitions import Definition
from headrace.definitions.archive import definition_sha256, describe
from headrace.definitions.events import prepared
from headrace.errors import InputError
from headrace.evaluate.gate import Verdict
from headrace.registry import Draft, Generation, Manifest, Registry
from headrace.registry.generations import DESCRIPTION, MODEL, STATE, THETA
from headrace.sources.lake import Snapshot, snapshot

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A sealed generation, and whether an equal one was found instead of training again."""

    generation: Generation
    reused: bool


def train(
    spark: SparkSession,
    settings: Settings,
    definition: Definition,
    *,
    now: datetime,
    base: Generation | None = None,
    above: int = 0,
    reusable: frozenset[int] = frozenset(),
) -> Trained:
    """Read one snapshot, record its cut, compute features, fit, and seal.

    base: the champion, whose cluster numbers are kept. above: generation numbers start higher, such as the
    highest the serving table has seen. reusable: sealed generations that may be taken as they are when their
    fingerprint says training would give them again, so that an interrupted run resumes.
    Raises InputError when no event can be counted; nothing is sealed then.
    """
    seen = snapshot(spark, settings.lake, definition.source.name)
    print_of = fingerprint(definition, seen)
    registry = Registry(settings.registry)
    for g in sorted(reusable & set(registry.sealed(definition.name)), reverse=True):
        if registry.peek(definition.name, g).fingerprint == print_of:
            log.info("generation %d has the fingerprint of this run; it is taken as it is", g)
            return Trained(registry.load(definition.name, g), reused=True)
    draft = registry.claim(definition.name, above)
    log.info("training generation %d of %s on Delta version %d", draft.generation, definition.name, seen.version)
    sealed = _fit_and_seal(settings, definition, seen, draft, base=base, print_of=print_of, now=now)
    return Trained(sealed, reused=False)


def fingerprint(definition: Definition, seen: Snapshot) -> str:
    """Equal for two runs over the same events with the same definition and code."""
    essence = [definition_sha256(definition), headrace.__version__, seen.cut.to_json()]
    return hashlib.sha256(json.dumps(essence).encode()).hexdigest()


def countable_states(definition: Definition, events: DataFrame) -> tuple[DataFrame, dict[str, str]]:
    """One row an entity with one state column a feature, and the types of the columns that features read."""
    counted = prepared(definition, events)
    read = {column for feature in definition.features.values() for column in feature.columns}
    types = {name: kind for name, kind in counted.dtypes if name in read}
    return states_by_entity(counted, definition.entity, definition.features), types


@contextmanager
def named_bounds() -> Iterator[None]:
    """Say as StateBoundError what Spark reports of a state that outgrew its bound."""
    try:
        yield
    except Exception as error:
        explained = explain_overflow(error)
        if explained is None:
            raise
        raise explained from error


@dataclass(frozen=True)
class _Fit:
    """What was found out while a draft's files were written, for its manifest."""

    types: dict[str, str]
    entities: int
    metrics: dict[str, Any]
    verdict: Verdict | None


def _fit(definition: Definition, seen: Snapshot, draft: Draft, base: Generation | None) -> _Fit:
    """Fit, and write everything of the generation but its manifest."""
    states, types = countable_states(definition, seen.events)
    states = states.persist()
    theta = unfitted(definition, types, seen.latest_event)
    features = features_of(states, definition, theta).persist()
    try:
        with named_bounds():
            entities = features.count()
        if not entities:
            raise _nothing_counted(definition, seen)
        parts = sides(definition, seen.events)
        theta, learned = fitted(definition, theta, features, parts.training, base.theta() if base else None)
        held_out, verdict = judged(definition, learned, features, parts)
        if learned is not None:
            learned.pipeline.write().save(str(draft.path / MODEL))
        draft.write_json(THETA, theta)
        draft.write_json(DESCRIPTION, describe(definition))
        finished(states, definition, theta).write.parquet(str(draft.path / STATE))
    finally:
        features.unpersist(blocking=True)
        states.unpersist(blocking=True)
    return _Fit(types, entities, {**(learned.metrics if learned else {}), **held_out}, verdict)


def _fit_and_seal(
    settings: Settings,
    definition: Definition,
    seen: Snapshot,
    draft: Draft,
    *,
    base: Generation | None,
    print_of: str,
    now: datetime,
) -> Generation:
    fit = _fit(definition, seen, draft, base)

    def facts(files: dict[str, str]) -> Manifest:
        return Manifest(
            generation=draft.generation,
            definition=definition.name,
            base=base.manifest.generation if base else None,
            stream=definition.source.name,
            delta_version=seen.version,
            cut=seen.cut.to_json(),
            as_of=seen.as_of,
            reference=definition.clock.reference(seen.latest_event),
            clock=definition.clock.kind,
            max_age_s=definition.max_age.total_seconds() if definition.max_age else None,
            types=fit.types,
            schema_sha256=definition.source.schema.sha256,
            definition_sha256=definition_sha256(definition),
            code_version=headrace.__version__,
            seed=getattr(definition.learner, "seed", None),
            fingerprint=print_of,
            rows=seen.rows,
            entities=fit.entities,
            metrics=fit.metrics,
            gate=fit.verdict.to_json() if fit.verdict else None,
            settings=redacted(settings),
            created_at=now,
            files=files,
        )

    return draft.seal(facts)


def _nothing_counted(definition: Definition, seen: Snapshot) -> InputError:
    return InputError(
        f"no event of stream {definition.source.name!r} can be counted for definition {definition.name!r}",
        found=f"{seen.rows} events, all dropped or without {definition.entity!r}",
        do="look at the drop reasons in the report, and at `prepare`",
    )
