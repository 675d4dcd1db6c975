"""What a table holds, as a page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from headrace.report.page import rendered, written
from headrace.report.plots import Plot, counted


@dataclass(frozen=True)
class ColumnFacts:
    """One column. nulls: rows without a value; distinct: values; quantiles: at `Exploration.quantiles`, of numbers."""

    name: str
    type: str
    nulls: int
    distinct: int
    least: str | None
    greatest: str | None
    mean: float | None
    quantiles: tuple[float, ...] = ()


@dataclass(frozen=True)
class Ranking:
    """The first of `groups` groups by a column: (value, lines, total)."""

    title: str
    by: str
    rows: tuple[tuple[str, int, float], ...]
    groups: int


@dataclass(frozen=True)
class Exploration:
    """A table of purchases. Totals are in the currency of the price."""

    table: str
    rows: int
    distinct_rows: int
    columns: tuple[ColumnFacts, ...]
    return_lines: int
    return_invoices: int
    return_total: float
    total: float
    rankings: tuple[Ranking, ...]
    note: str = ""
    quantiles: tuple[float, ...] = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def write_exploration(path: Path, facts: Exploration) -> Path:
    """Write the page to `path`, whole or not at all, and return the path. Raises TransientError when it cannot be."""
    numeric = [column for column in facts.columns if column.quantiles]
    return written(
        path,
        rendered(
            "exploration.html.j2",
            _pictures(facts),
            facts=facts,
            numeric=numeric,
            heads=[f"{quantile:.0%}" for quantile in facts.quantiles],
            plain=json.dumps(asdict(facts)),
        ),
    )


def _pictures(facts: Exploration) -> list[Plot]:
    missing = {column.name: column.nulls for column in facts.columns}
    pictures = [counted("Rows without a value", "rows", missing)]
    for ranking in facts.rankings:
        if ranking.by == "price":
            counts = {value: lines for value, lines, _ in ranking.rows}
            pictures.append(counted("Lines at the greatest prices", "lines", counts))
        elif ranking.rows:
            totals = {value: round(total) for value, _, total in ranking.rows}
            caption = f"The first {len(totals)} of {ranking.groups:,}."
            pictures.append(counted(f"Total by {ranking.by}", "quantity times price", totals, caption))
    return pictures
