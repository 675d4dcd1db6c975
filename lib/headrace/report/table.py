"""The short table that a run prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headrace.report.facts import RunFacts
from headrace.report.page import number
from headrace.report.plots import shown
from headrace.report.selection import trial_table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from headrace.evaluate.selection import Selection


def summary(run: RunFacts, report: Path | None = None) -> RenderableType:
    """What was made, in a screenful: counts per named output, or features; cut, champion, publication, report."""
    from rich.columns import Columns
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = [Text(run.note, style="bold yellow")] if run.note else []
    tables: list[RenderableType] = []
    for category in run.categories:
        table = Table()
        table.add_column(Text(shown(category.name.replace("_", " "))))
        table.add_column(Text(run.noun), justify="right")
        for value, count in category.counts.items():
            table.add_row(Text(shown(value)), number(count))
        tables.append(table)
    if not run.categories and run.features:
        tables.append(_features(run))
    if tables:
        parts.append(Columns(tables, padding=(0, 3)))
    facts = Table.grid(padding=(0, 2))
    for name, value in _lines(run, report):
        facts.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    return Group(*parts, facts)


def selection_summary(selection: Selection, report: Path | None = None) -> RenderableType:
    """The trials as a table, the best one marked, and what was refused."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    heads, rows = trial_table(selection)
    table = Table("")
    for head in heads:
        table.add_column(Text(shown(head)), justify="right")
    for row in rows:
        table.add_row("best" if row.best else "", *(Text(shown(cell)) for cell in row.cells))
    parts: list[RenderableType] = [table]
    parts += [Text(f"{row.label} was refused: {row.refusal}") for row in rows if row.refusal is not None]
    if report is not None:
        parts.append(Text(f"report {report}", overflow="fold"))
    return Group(*parts)


def _features(run: RunFacts) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("feature")
    for name in ("least", "median", "mean", "greatest"):
        table.add_column(name, justify="right")
    for feature in run.features:
        values = (feature.least, feature.median, feature.mean, feature.greatest)
        table.add_row(Text(shown(feature.name)), *(number(value) for value in values))
    return table


def _lines(run: RunFacts, report: Path | None) -> list[tuple[str, str]]:
    lines = [("definition", run.definition)]
    if run.source:
        lines.append(("input", run.source))
    if run.rows_read is not None:
        lines.append(("rows read", f"{number(run.rows_read)}, {number(run.quarantined_rows)} quarantined"))
    if run.rows is not None:
        lines.append(("events", f"{number(run.rows)}, {number(run.dropped_rows)} dropped"))
    if run.entities is not None:
        lines.append((run.noun, number(run.entities)))
    if run.inertia is not None:
        lines.append(("inertia", number(run.inertia)))
    if run.generation is not None:
        lines.append(("generation", f"{run.generation}{_champion(run)}"))
    if run.cut:
        told = f"{len(run.cut)} partition{'s' if len(run.cut) > 1 else ''}"
        version = "" if run.delta_version is None else f", lake version {run.delta_version}"
        lines.append(("cut", f"{told}, {number(sum(position for _, _, position in run.cut))} positions{version}"))
    if run.published is not None:
        lines.append(
            ("published", f"{number(run.published.changed)} written, {number(run.published.unchanged)} unchanged")
        )
    if report is not None:
        lines.append(("report", str(report)))
    return lines


def _champion(run: RunFacts) -> str:
    if run.champion_after is None:
        return ""
    if run.champion_after == run.champion_before:
        return f", champion is {run.champion_after} as before"
    return f", champion is {run.champion_after}, before {run.champion_before or 'none'}"
