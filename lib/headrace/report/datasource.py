"""The statistics of a data source as a page: a table of its columns, and a picture of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from headrace.report.curves import histogram
from headrace.report.page import rendered, written
from headrace.report.plots import Plot, Point, ranked

_PICTURES = 40  # columns drawn at most


def write_statistics(path: Path, name: str, target: str, learner: str, columns: Sequence[Mapping[str, Any]]) -> Path:
    """Write the page to `path`, as `write_report` does. columns: of `evaluate.datasource.statistics`."""
    return written(
        path,
        rendered(
            "datasource.html.j2",
            [plot for one in columns[:_PICTURES] if (plot := _picture(one)) is not None],
            name=name,
            target=target,
            learner=learner,
            columns=columns,
            facts=json.dumps(columns, default=str),
        ),
    )


def _picture(one: Mapping[str, Any]) -> Plot | None:
    """Of a number its deciles as a histogram of equal shares; of anything else its most frequent values."""
    title, about = f"{one['name']}", f"{one['kind']}, {one['missing']:,} missing, {one['distinct']:,} distinct"
    if one["kind"] == "numeric" and one.get("deciles") and one["min"] < one["max"]:
        edges = [one["min"], *one["deciles"], one["max"]]
        tenth = one["count"] / 10
        kept = [(low, high) for low, high in pairwise(edges) if high > low]
        density = [round(tenth / (high - low) * (edges[-1] - edges[0]) / 10) for low, high in kept]
        caption = f"{about}. Each bar stands between two deciles; higher is denser."
        return histogram(title, one["name"], [low for low, _ in kept] + [kept[-1][1]], density, caption)
    if not one["top"]:
        return None
    points = [Point(str(each["value"]), each["rows"], None, best=False) for each in one["top"]]
    return ranked(title, "rows", points, about)
