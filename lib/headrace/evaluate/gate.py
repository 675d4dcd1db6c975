"""The gate of a promotion: what samples that were held out must show before a generation serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from headrace.errors import DefinitionError
from headrace.evaluate.metrics import metric_named
from headrace.evaluate.splits import require_share
from headrace.models.learner import Learner


@dataclass(frozen=True)
class Gate:
    """A bound that a metric must keep over a `share` of the samples, drawn by a hash with the `seed`.

    metric: one that the definition's learner has. at_most: for one of which less is better; at_least: for the others.
    Training fits twice then: on the other samples, which is measured, and on all, which is sealed.
    """

    metric: str
    at_most: float | None = None
    at_least: float | None = None
    share: float = 0.2
    seed: int = 7

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.at_most, self.at_least) if bound is not None]
        if len(bounds) != 1 or not np.isfinite(bounds[0]):
            raise DefinitionError(
                f"a gate on {self.metric!r} has no such bound",
                found=f"at_most={self.at_most}, at_least={self.at_least}",
                expected="a finite number for one of them",
            )
        require_share(self.share)

    def check(self, learner: Learner) -> None:
        """DefinitionError for a metric that the learner does not have, or a bound on its wrong side."""
        metric = metric_named(learner, self.metric)
        if metric.greater_is_better != (self.at_least is not None):
            right = "at_least" if metric.greater_is_better else "at_most"
            raise DefinitionError(
                f"the gate on {self.metric!r} is on its wrong side",
                expected=f"{right}: {'greater' if metric.greater_is_better else 'less'} is better",
            )

    def describe(self) -> dict[str, Any]:
        """A JSON value of the gate, part of the definition's hash."""
        return asdict(self)

    def verdict(self, held_out: Mapping[str, Any]) -> Verdict:
        """What the metrics of the held-out samples mean for it."""
        return Verdict(self.metric, float(held_out[self.metric]), self.at_most, self.at_least, held_out["rows"])


@dataclass(frozen=True)
class Verdict:
    """What a gate found on so many held-out rows, sealed with a generation and carried to the serving store.

    >>> said = Verdict("rmse", found=12.5, at_most=10.0, at_least=None, rows=80)
    >>> said.fails_by, said.text, Verdict.of(said.to_json()) == said
    (2.5, 'rmse 12.5 on 80 held-out rows, at most 10 expected: 2.5 too much', True)
    >>> Verdict("auc", found=0.8, at_most=None, at_least=0.8, rows=80).text
    'auc 0.8 on 80 held-out rows, at least 0.8 expected'
    """

    metric: str
    found: float
    at_most: float | None
    at_least: float | None
    rows: int

    @property
    def fails_by(self) -> float:
        """By how much the bound is missed; 0: it is kept."""
        missed = self.found - self.at_most if self.at_most is not None else (self.at_least or 0.0) - self.found
        return max(0.0, missed)

    @property
    def bound(self) -> str:
        return f"at most {self.at_most:g}" if self.at_most is not None else f"at least {self.at_least:g}"

    @property
    def text(self) -> str:
        """The finding for a person."""
        said = f"{self.metric} {self.found:g} on {self.rows:,} held-out rows, {self.bound} expected"
        if not self.fails_by:
            return said
        return f"{said}: {self.fails_by:g} too {'much' if self.at_most is not None else 'little'}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "fails_by": self.fails_by}

    @classmethod
    def of(cls, sealed: Mapping[str, Any]) -> Verdict:
        """The verdict whose `to_json()` was sealed."""
        return cls(**{name: value for name, value in sealed.items() if name != "fails_by"})
