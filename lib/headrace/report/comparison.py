"""A champion and a challenger side by side, as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace.report.page import rendered, written
from headrace.report.plots import Point, ranked


def write_comparison(path: Path, text: str, facts: Mapping[str, Any]) -> Path:
    """Write the page of a comparison to `path`, as `write_report` writes that of a run.

    text: the finding in a sentence. facts: `definition`, `champion`, `challenger`, `behind`, `ahead`, `whole`,
    `compared`, `differing`, `only_champion`, `only_challenger`, `outputs` (by name) and `examples`.
    """
    outputs = facts["outputs"]
    points = [
        Point(name, 100 * one["differing"] / one["compared"], None, one["differing"] > 0)
        for name, one in sorted(outputs.items(), key=lambda one: -one[1]["differing"])
    ]
    caption = "Of the entities that both generations answer, those whose value is not the same."
    return written(
        path,
        rendered(
            "comparison.html.j2",
            [ranked("Entities that differ, by output", "percent", points, caption)] if points else [],
            text=text,
            run=facts,
            counts={name: facts[name] for name in ("compared", "differing", "only_champion", "only_challenger")},
            examples=[
                {**one, "champion": json.dumps(one["champion"]), "challenger": json.dumps(one["challenger"])}
                for one in facts["examples"]
            ],
            facts=json.dumps(facts, default=str),
        ),
    )
