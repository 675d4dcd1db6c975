"""An evaluation for people: a short table, and a page with plots of where the learner misses and how sure it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.report.curves import curve, histogram
from headrace.report.page import number, rendered, written
from headrace.report.plots import Plot

if TYPE_CHECKING:
    from rich.console import RenderableType

_PLAIN = (int, float)
_BASELINES = {"rmse": "rmse_of_mean", "log_loss": "log_loss_of_shares"}


def write_evaluation(path: Path, found: Mapping[str, Any]) -> Path:
    """Write the page of an evaluation to `path`, as `write_report` writes that of a run.

    found: what `Evaluation.to_json` gives.
    """
    return written(
        path,
        rendered(
            "evaluation.html.j2",
            _plots(found),
            run=found,
            text=evaluation_headline(found),
            numbers=[(name, f"{value:.6g}") for name, value in plain_numbers(found).items()],
            by_class=found.get("by_class", []),
            confusion=found.get("confusion", []),
            against=found.get("against", []),
            part=json.dumps(found["splitting"]) if found["splitting"] else "every event",
            facts=json.dumps(found, default=str),
        ),
    )


def evaluation_summary(found: Mapping[str, Any], report: Path) -> RenderableType:
    """The finding, the numbers, and those of the other generation if there is one."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    beside = {one["metric"]: one for one in found.get("against", ())}
    table = Table("", f"generation {found['generation']}", *([f"generation {found['other']}"] if beside else []))
    for name, value in plain_numbers(found).items():
        other = [f"{beside[name]['other']:.6g}" if name in beside else ""] if beside else []
        table.add_row(name, f"{value:.6g}", *other)
    skipped = [Text(f"skipped {rows:,}: {why}") for why, rows in found["skipped"].items()]
    return Group(Text(evaluation_headline(found), style="bold"), table, *skipped, Text(f"report {report}", style="dim"))


def evaluation_headline(found: Mapping[str, Any]) -> str:
    """The usual metric beside that of knowing nothing but the target's own values.

    >>> evaluation_headline({"target": "totalsold", "rows": 30382, "rmse": 2.0, "rmse_of_mean": 4.0})
    'rmse of totalsold 2 on 30,382 held-out events; of always answering the mean: 4'
    """
    metric = next(name for name in _BASELINES if name in found)
    knows = "the mean" if metric == "rmse" else "the shares"
    return (
        f"{metric} of {found['target']} {found[metric]:.6g} on {found['rows']:,} held-out events; of always answering "
        f"{knows}: {found[_BASELINES[metric]]:.6g}"
    )


def plain_numbers(found: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are single numbers."""
    about = ("generation", "delta_version", "other")
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, _PLAIN) and not isinstance(value, bool) and name not in about
    }


def _plots(found: Mapping[str, Any]) -> list[Plot]:
    made = []
    if "residuals" in found:
        held = found["residuals"]
        caption = (
            f"Actual less prediction; {held['too_low']:.1%} were told too low, {held['too_high']:.1%} too high. "
            "The outermost bars also hold what is beyond them."
        )
        made.append(histogram(f"Residuals of {found['target']}", "residual", held["edges"], held["counts"], caption))
    if "calibration" in found:
        bins = found["calibration"]["bins"]
        caption = "On the line, events that are told to be so likely are so often the case."
        points = ([one["probability"] for one in bins], [one["share"] for one in bins])
        made.append(curve("Calibration", "told probability", "share of class 1", {"": points}, caption, diagonal=True))
    if "cuts" in found:
        cuts = found["cuts"]
        lines = {
            name: ([one["cut"] for one in cuts], [one[name] for one in cuts]) for name in ("precision", "recall", "f1")
        }
        best = found["best_cut"]["f1"]
        caption = f"Class 1 is told from this probability on; F1 is greatest at {number(best)}."
        made.append(curve("Where to cut", "cut", "", lines, caption))
    return made
