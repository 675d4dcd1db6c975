"""Logged answers against their recomputation, as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace.report.page import rendered, written
from headrace.report.plots import Point, ranked

MUCH = 0.25


def write_audit(path: Path, definition: str, facts: Mapping[str, Any]) -> Path:
    """Write the page of an audit to `path`, as `write_report` writes that of a run.

    facts: `checked`, `mismatched`, `missing`, `extra`, `smape`, `generations`, `drift` (index by column), `examples`.
    """
    points = [Point(name, index, None, index > MUCH) for name, index in facts["drift"].items()]
    caption = "Population stability index against the training set: below 0.1 little, beyond 0.25 much (marked)."
    return written(
        path,
        rendered(
            "audit.html.j2",
            [ranked("Drift of what is served", "index", points, caption)] if points else [],
            definition=definition,
            counts={name: facts[name] for name in ("checked", "mismatched", "missing", "extra")},
            smape=f"{facts['smape']:.3g}",
            generations=facts["generations"],
            drift=facts["drift"],
            examples=[
                {**one, "served": json.dumps(one["served"]), "recomputed": json.dumps(one["recomputed"])}
                for one in facts["examples"]
            ],
            facts=json.dumps(facts, default=str),
        ),
    )
