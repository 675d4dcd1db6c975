"""How far the answers of two generations are apart: which outputs differ, how often, and by how much. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MOST_CHANGES = 12
MOST_EXAMPLES = 10
_SHARES = (0.5, 0.95, 0.99, 1.0)


@dataclass
class Output:
    """One output over all entities that both generations answer.

    differing: of `compared`, those whose values are not equal. gaps: |challenger - champion| of numbers that differ.
    changes: (champion's, challenger's) value -> entities, of values that are no numbers or whole ones.
    """

    compared: int = 0
    differing: int = 0
    gaps: list[float] = field(default_factory=list)
    shift: float = 0.0
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, before: Any, after: Any) -> None:
        """Count one entity."""
        self.compared += 1
        if before == after:
            return
        self.differing += 1
        if _is_number(before) and _is_number(after):
            self.gaps.append(abs(after - before))
            self.shift += after - before
        if not (isinstance(before, float) or isinstance(after, float)):
            self.changes[_text(before), _text(after)] += 1

    def to_json(self) -> dict[str, Any]:
        """Counts; of numbers the quantiles of the gap where there is one, and the mean shift over all compared."""
        told: dict[str, Any] = {"compared": self.compared, "differing": self.differing}
        if self.gaps:
            p50, p95, p99, most = (float(gap) for gap in np.quantile(self.gaps, _SHARES))
            told["gap"] = {"p50": p50, "p95": p95, "p99": p99, "max": most}
            told["mean_shift"] = self.shift / self.compared
        if self.changes:
            told["changes"] = [
                {"from": before, "to": after, "entities": n}
                for (before, after), n in sorted(self.changes.items(), key=lambda one: (-one[1], one[0]))[:MOST_CHANGES]
            ]
        return told


@dataclass
class Comparison:
    """The answers of a champion and a challenger to the same entities.

    An entity differs when any output does. An answer is a mapping of outputs, None where there is none.

    >>> told = Comparison()
    >>> for before, after in (({"segment": "A"}, {"segment": "B"}), ({"segment": "A"}, {"segment": "A"}), ({}, None)):
    ...     told.add("e", before, after)
    >>> told.to_json()["differing"], told.to_json()["only_champion"], told.outputs["segment"].to_json()["changes"]
    (1, 1, [{'from': 'A', 'to': 'B', 'entities': 1}])
    """

    compared: int = 0
    differing: int = 0
    only_champion: int = 0
    only_challenger: int = 0
    outputs: dict[str, Output] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, entity: str, champion: Mapping[str, Any] | None, challenger: Mapping[str, Any] | None) -> None:
        """Count one entity; one that neither answers counts for nothing."""
        if champion is None or challenger is None:
            self.only_champion += champion is not None
            self.only_challenger += challenger is not None
            return
        self.compared += 1
        for name in dict.fromkeys((*champion, *challenger)):
            self.outputs.setdefault(name, Output()).add(champion.get(name), challenger.get(name))
        if dict(champion) != dict(challenger):
            self.differing += 1
            if len(self.examples) < MOST_EXAMPLES:
                self.examples.append({"entity": entity, "champion": dict(champion), "challenger": dict(challenger)})

    @property
    def share(self) -> float:
        """Of the entities that both answer, those whose answers differ; 0 without one."""
        return self.differing / self.compared if self.compared else 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "compared": self.compared,
            "differing": self.differing,
            "share": round(self.share, 6),
            "only_champion": self.only_champion,
            "only_challenger": self.only_challenger,
            "outputs": {name: output.to_json() for name, output in self.outputs.items()},
            "examples": self.examples,
        }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return "none" if value is None else str(value)[:60]
