"""A selection for people: its trials as a table and a picture on a page, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.evaluate.selection import Selection, Trial
from headrace.report.page import rendered, written
from headrace.report.plots import Plot, Point, ranked


@dataclass(frozen=True)
class TrialRow:
    """A trial in a table: what was set, what was found, whether it is the best or why it was refused."""

    label: str
    cells: tuple[str, ...]
    best: bool
    refusal: str | None


def trial_table(selection: Selection) -> tuple[tuple[str, ...], list[TrialRow]]:
    """Heads and rows: the settings, the metric compared by and its spread over the turns, the other metrics' means."""
    best, chosen = selection.best, selection.metric.name
    spreads = [f"± {chosen}"] if len(best.turns) > 1 else []
    others = [name for name in means(best) if name not in (chosen, "rows", "skipped")]
    rows = []
    for trial in selection.trials:
        settings, found = [f"{value}" for value in trial.settings.values()], [""] * (1 + len(spreads) + len(others))
        if trial.refusal is None:
            spread, told = trial.spread(chosen), means(trial)
            found = [_brief(told[chosen]), *([] if spread is None else [_brief(spread)])]
            # Trials may have metrics of their own, such as those of a class that others do not have.
            found += [_brief(told[name]) if name in told else "" for name in others]
        rows.append(TrialRow(_label(trial.settings), (*settings, *found), trial is best, trial.refusal))
    return (*selection.trials[0].settings, chosen, *spreads, *others), rows


def means(trial: Trial) -> dict[str, float]:
    """The mean over the turns of every metric that is a number in all of them."""
    first, *others = trial.turns
    shared = [
        name for name, value in first.items() if isinstance(value, int | float) and all(name in t for t in others)
    ]
    return {name: trial.mean(name) for name in shared}


def selection_to_json(selection: Selection) -> dict[str, Any]:
    """The metric, the best settings, and every trial: its settings, means, spread and turns, or why it was refused."""
    chosen = selection.metric
    trials = [
        {"settings": dict(trial.settings), "refusal": trial.refusal}
        if trial.refusal is not None
        else {
            "settings": dict(trial.settings),
            "mean": means(trial),
            "spread": trial.spread(chosen.name),
            "turns": list(trial.turns),
        }
        for trial in selection.trials
    ]
    return {
        "metric": chosen.name,
        "greater_is_better": chosen.greater_is_better,
        "best": dict(selection.best.settings),
        "trials": trials,
    }


def write_selection(path: Path, definition: str, selection: Selection) -> Path:
    """Write the page of a selection to `path`, as `write_report` writes that of a run."""
    heads, rows = trial_table(selection)
    return written(
        path,
        rendered(
            "selection.html.j2",
            [_plot(selection)],
            definition=definition,
            heads=heads,
            rows=rows,
            metric=selection.metric,
            best=_label(selection.best.settings),
            turns=len(selection.best.turns),
            facts=json.dumps(selection_to_json(selection), default=str),
        ),
    )


def _plot(selection: Selection) -> Plot:
    name = selection.metric.name
    points = [
        Point(_label(trial.settings), trial.mean(name), trial.spread(name), trial is selection.best)
        for trial in selection.trials
        if trial.refusal is None
    ]
    side = "greater" if selection.metric.greater_is_better else "less"
    folds = ", over the parts held out with their standard deviation" if len(selection.best.turns) > 1 else ""
    return ranked(f"{name} by settings", name, points, f"Mean {name}{folds}; {side} is better.")


def _label(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _brief(value: float) -> str:
    """
    >>> [_brief(value) for value in (0.123456, 12345.678, 0.0)]
    ['0.12346', '12346', '0']
    """
    return f"{value:.5g}"
