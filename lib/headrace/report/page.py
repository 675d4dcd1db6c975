"""One self-contained page: heading, numbers, plots, tables; nothing is loaded from anywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

from headrace.errors import TransientError
from headrace.report.facts import RunFacts, facts_to_json
from headrace.report.plots import Plot, plots, shown


def write_report(path: Path, run: RunFacts) -> Path:
    """Write the page of a run to `path`, whole or not at all, and return the path.

    The page needs no network and runs no script; texts of the run are escaped. Raises TransientError when it cannot
    be written.
    """
    return written(path, page(run))


def page(run: RunFacts) -> str:
    """The page as text; equal facts give equal text."""
    return rendered(
        "page.html.j2", plots(run), run=run, tiles=_tiles(run), settings=_flat(run.settings), facts=facts_to_json(run)
    )


def rendered(template: str, pictures: Sequence[Plot], **values: Any) -> str:
    """A template of this folder, filled in; texts are escaped, pictures are ours."""
    import jinja2
    from markupsafe import Markup

    folder = resources.files("headrace.report")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "shown": shown}
    drawn = [(plot.title, Markup(plot.svg), plot.caption) for plot in pictures]  # noqa: S704 - drawn, not given
    return environment.get_template(template).render(pictures=drawn, **values)


def written(path: Path, text: str) -> Path:
    """Write a page to `path`, whole or not at all, and return the path. Raises TransientError when it cannot be."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise TransientError(
            f"the report {path} cannot be written", found=str(error), do="free some space, or set another home"
        ) from error
    return path


def number(value: float | None) -> str:
    """A number as people read it.

    >>> [number(v) for v in (541909, 373.0, 9747747.934, 16.8712, 0.00012, None)]
    ['541,909', '373', '9,747,747.93', '16.87', '0.00012', '-']
    """
    if value is None:
        return "-"
    if value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 0.1 else f"{value:.3g}"


def _tiles(run: RunFacts) -> list[tuple[str, str]]:
    tiles: list[tuple[str, Any]] = [
        (run.noun, run.entities),
        ("rows read", run.rows_read),
        ("events", run.rows),
        ("dropped", run.dropped_rows if run.rows is not None else None),
        ("quarantined", run.quarantined_rows if run.rows_read is not None else None),
        ("inertia", run.inertia),
    ]
    if run.published is not None:
        tiles += [("items written", run.published.changed), ("items unchanged", run.published.unchanged)]
    return [(name, number(value)) for name, value in tiles if value is not None]


def _flat(settings: Any, prefix: str = "") -> list[tuple[str, str]]:
    flat: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, dict):
            flat += _flat(value, f"{prefix}{key}.")
        else:
            flat.append((f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, default=str)))
    return flat
