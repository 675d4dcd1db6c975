"""What a run came to: its facts, gathered from manifests, sealed outputs and the lake, and its report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.batch.run import Ran
from headrace.config import Settings
from headrace.definitions import Definition
from headrace.definitions.events import drop_reasons
from headrace.models.kmeans import KMeans, inertia_by_k
from headrace.registry import Generation
from headrace.report import Published, RunFacts, centres_of, facts_to_json, outputs_of, write_report
from headrace.sources.lake import events_at
from headrace.stores.reports import Report

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


# The curve over k is for the eye: it is drawn from at most this many entities, chosen by hash.
CURVE_ENTITIES = 20_000
CURVE_KS = range(2, 11)
# The facts that a console shows, and how many features and outputs of them at most.
_KEPT = (
    *("champion_before", "champion_after", "delta_version", "as_of", "reference", "created_at", "note"),
    *("rows_read", "rows", "blank", "dropped", "quarantined", "entities", "inertia", "published", "sent", "metrics"),
    *("code_version", "seed", "definition_sha256", "seconds"),
)
_MOST = 60


@dataclass(frozen=True)
class Outcome:
    """A run's facts and where its report is."""

    facts: RunFacts
    metrics: dict[str, Any]
    sent: int
    report: Path
    gate: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The facts, with `sent`, `metrics`, `segments` (counts of the text outputs), `report` and `gate` on top."""
        plain: dict[str, Any] = json.loads(facts_to_json(self.facts))
        named = {category.name: dict(category.counts) for category in self.facts.categories}
        told = {"metrics": self.metrics, "sent": self.sent, "report": str(self.report), "counts": named}
        return {**plain, **told, **({"gate": self.gate} if self.gate is not None else {})}

    def to_report(self, at: datetime) -> Report:
        """What the store keeps of it for the console."""
        run, plain = self.facts, self.to_json()
        facts = {name: plain[name] for name in _KEPT} | {"gate": self.gate}
        facts["categories"] = plain["categories"][:_MOST]
        shown = ("name", "entities", "missing", "least", "median", "mean", "greatest")
        facts["features"] = [{name: one[name] for name in shown} for one in plain["features"][:_MOST]]
        champion = "the champion" if run.champion_after == run.generation else "not promoted"
        told = (
            f"generation {run.generation}, {champion}: {run.entities or 0:,} {run.noun} of {run.counted or 0:,} events"
        )
        passes = None if self.gate is None else not self.gate["fails_by"]
        return Report("run", at, run.generation or 0, passes, told, facts)


def report_run(spark: SparkSession, settings: Settings, definition: Definition, ran: Ran, note: str) -> Outcome:
    """Gather the facts of a run and write its report beside the earlier ones."""
    generation = ran.trained.generation
    manifest = generation.manifest
    outputs = outputs_of(generation.state_path)
    sizes = next((c.counts for c in outputs.categories if c.name == "cluster"), {})
    events = events_at(spark, settings.lake, manifest.stream, manifest.delta_version)
    dropped = {row["drop_reason"]: row["rows"] for row in drop_reasons(definition, events).collect()}
    landed, published = ran.ingested, ran.published
    facts = RunFacts(
        definition=definition.name,
        entity=definition.entity,
        generation=manifest.generation,
        champion_before=ran.before.generation or None,
        champion_after=ran.after.generation,
        delta_version=manifest.delta_version,
        cut=tuple((str(i), str(p), int(n)) for i, p, n in manifest.cut),
        as_of=manifest.as_of.isoformat(),
        reference=manifest.reference.isoformat(),
        created_at=manifest.created_at.isoformat(),
        source=landed.source if landed else None,
        note=note,
        rows_read=landed.rows_read if landed else None,
        rows=manifest.rows,
        blank=landed.blank if landed else 0,
        dropped=dropped,
        quarantined=landed.quarantined_by_reason if landed else {},
        entities=manifest.entities,
        categories=outputs.categories,
        features=outputs.features,
        grid=outputs.grid,
        centres=centres_of(generation.theta()["learner"], sizes),
        inertia=manifest.metrics.get("inertia"),
        inertia_by_k=_inertia_by_k(spark, definition, generation),
        published=Published(published.changed, published.unchanged, published.removed),
        code_version=manifest.code_version,
        seed=manifest.seed,
        definition_sha256=manifest.definition_sha256,
        settings=manifest.settings,
        files=manifest.files,
        seconds=ran.seconds,
        example=outputs.example,
    )
    path = settings.reports / f"{definition.name}-{manifest.generation:08d}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_report(path, facts)
    return Outcome(facts, dict(manifest.metrics), published.sent, path, manifest.gate)


def _inertia_by_k(spark: SparkSession, definition: Definition, generation: Generation) -> tuple[tuple[int, float], ...]:
    learner = definition.learner
    if not isinstance(learner, KMeans):
        return ()
    from pyspark.sql import functions as F

    sealed = spark.read.parquet(str(generation.state_path))
    chosen = sealed.orderBy(F.xxhash64("entity")).limit(CURVE_ENTITIES).select("features.*")
    ks = [k for k in CURVE_KS if k < generation.manifest.entities]
    return tuple(sorted(inertia_by_k(chosen, tuple(definition.features), ks, learner.seed).items()))
