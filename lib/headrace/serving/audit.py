"""Logged answers against their recomputation, each at the generation and vector it carried, without Spark."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard

from headrace.definitions import Definition
from headrace.evaluate.drift import drift
from headrace.registry import Registry
from headrace.serving.past import Past
from headrace.serving.sampled import Logged
from headrace.stores.reports import Report

MAX_EXAMPLES = 10
# Enough for shares of tenths to be told to a hundredth, and read in a moment.
_TRAINED_ROWS = 20_000


@dataclass
class Audit:
    """Counts of answers: recomputed, different, wrongly not there, wrongly there; how far apart; and what has moved.

    smape: the symmetric mean absolute percentage error over every number that was served and recomputed, in [0, 2].
    drift: the population stability index of features and predictions, logged answers against the training set.
    """

    checked: int = 0
    mismatched: int = 0
    missing: int = 0
    extra: int = 0
    smape: float = 0.0
    examples: list[dict[str, Any]] = field(default_factory=list)
    drift: dict[str, float] = field(default_factory=dict)
    generations: list[int] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return not (self.mismatched or self.missing or self.extra)

    def to_json(self) -> dict[str, Any]:
        return {
            "checked": self.checked,
            "mismatched": self.mismatched,
            "missing": self.missing,
            "extra": self.extra,
            "smape": self.smape,
            "generations": self.generations,
            "drift": self.drift,
            "examples": self.examples,
        }

    def to_report(self, at: datetime) -> Report:
        """The finding as the store keeps it for the console; examples name entities, and stay out of it."""
        wrong = self.mismatched + self.missing + self.extra
        told = f"{self.checked:,} logged answers recomputed, {wrong:,} not as served"
        if self.drift:
            name, index = next(iter(self.drift.items()))
            told += f"; greatest drift {index:.3g}, of {name}"
        facts = {name: value for name, value in self.to_json().items() if name != "examples"}
        return Report("answers", at, max(self.generations, default=0), self.equal, told, facts)


def audit(past: Past, registry: Registry, definition: Definition, answers: Iterable[Logged]) -> Audit:
    """Recompute each answer and compare features and prediction, bit for bit.

    Drift is that of the last generation's answers from what that generation sealed. Raises as `Past.served`.
    """
    done = Audit()
    moving = definition.clock.kind == "reader"  # its features are of the moment they were read at
    apart: list[float] = []
    last: list[Mapping[str, Any]] = []
    for answer in answers:
        done.checked += 1
        found = past.served(answer.entity, answer.generation, answer.vector, answer.at)
        served = None if answer.features is None else {**answer.features, **(answer.prediction or {})}
        recomputed = None if found is None else {**({} if moving else found[0]), **found[1]}
        finding = _finding(served, recomputed)
        if finding is not None:
            setattr(done, finding, getattr(done, finding) + 1)
            if len(done.examples) < MAX_EXAMPLES:
                done.examples.append(
                    {
                        "entity": answer.entity,
                        "finding": finding,
                        "at": answer.at.isoformat(),
                        "generation": answer.generation,
                        "served": served,
                        "recomputed": recomputed,
                    }
                )
        if served is not None and recomputed is not None:
            apart += _apart(served, recomputed)
        if answer.generation not in done.generations:
            done.generations.append(answer.generation)
            last = []
        if served is not None and answer.generation == done.generations[-1]:
            last.append(served)
    done.smape = sum(apart) / len(apart) if apart else 0.0
    if done.generations and last:
        trained = list(sealed_outputs(registry.state_path(definition.name, done.generations[-1]), _TRAINED_ROWS))
        done.drift = drift(trained, last)
    return done


def sealed_outputs(state: Path, rows: int) -> Iterator[Mapping[str, Any]]:
    """Features and predictions, spelled as they are served, of so many entities of a generation's sealed files."""
    import pyarrow.parquet as pq

    files = sorted(state.glob("*.parquet"))
    share = -(-rows // max(1, len(files)))
    for file in files:
        with pq.ParquetFile(file) as sealed:
            batches = sealed.iter_batches(batch_size=1_000, columns=["outputs"])
            texts = (text for batch in batches for text in batch.column(0).to_pylist())
            for text in islice(texts, share):
                outputs = json.loads(text)
                yield {**outputs["features"], **outputs["prediction"]}


def _finding(served: Mapping[str, Any] | None, recomputed: Mapping[str, Any] | None) -> str | None:
    if served is None or recomputed is None:
        return None if served is recomputed else "missing" if served is None else "extra"
    return None if served == recomputed else "mismatched"


def _apart(served: Mapping[str, Any], recomputed: Mapping[str, Any]) -> Iterator[float]:
    """2 |a - b| / (|a| + |b|) of each number on both sides, 0 for two zeros."""
    for name, one in served.items():
        other = recomputed.get(name)
        if _is_number(one) and _is_number(other):
            size = abs(one) + abs(other)
            yield 2 * abs(one - other) / size if size else 0.0


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
