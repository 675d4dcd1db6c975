"""Select a learner's settings: every combination of a grid, measured on samples that were held out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.opening import load, opened_spark
from headrace.cli.options import definition_argument, json_option, with_settings
from headrace.cli.output import say_steps, show
from headrace.config import Settings
from headrace.errors import DefinitionError

if TYPE_CHECKING:
    from headrace.batch.select import Split

_FOLDS = 3


@click.command()
@definition_argument
@click.option(
    "--grid", multiple=True, required=True, metavar="NAME=V,V", help="A setting of the learner and values; repeatable."
)
@click.option(
    "--folds", type=click.IntRange(2), metavar="N", help=f"Hold out each of N parts once [default: {_FOLDS}]."
)
@click.option("--validation", type=float, metavar="SHARE", help="Hold out one part of that share instead, such as 0.3.")
@click.option("--latest", is_flag=True, help="Of --validation: the latest positions of every partition, not a draw.")
@click.option("--metric", metavar="NAME", help="What to compare by [default: the usual one of the learner].")
@click.option("--seed", type=int, default=7, show_default=True, help="Of the draw.")
@click.option("--parallelism", type=click.IntRange(1), default=2, show_default=True, help="Fits at a time, at most.")
@json_option
@with_settings
def select(
    settings: Settings,
    definition: str,
    grid: tuple[str, ...],
    folds: int | None,
    validation: float | None,
    latest: bool,
    metric: str | None,
    seed: int,
    parallelism: int,
    as_json: bool,
) -> None:
    """Fit DEFINITION's learner with every combination of settings, and measure each on samples held out.

    It reads the newest snapshot of the lake, prints a table and writes a page; nothing is sealed or served.
    """
    from headrace.batch.select import require_grid, select_settings
    from headrace.report import selection_summary, selection_to_json, write_selection

    loaded = load(definition)
    texts = _grid(grid)
    require_grid(loaded, texts, metric)
    split = _split(folds, validation, latest=latest, seed=seed, of_events=loaded.event_learner is not None)
    with opened_spark(settings, f"select {loaded.name}", say_steps(as_json)) as spark:
        found = select_settings(
            spark, settings, loaded, texts, split, metric=metric, parallelism=parallelism, progress=not as_json
        )
    path = write_selection(settings.reports / f"{loaded.name}-selection.html", loaded.name, found.selection)
    told = {"definition": loaded.name, "samples": found.samples, "delta_version": found.delta_version}
    show(
        as_json,
        {**told, **selection_to_json(found.selection), "report": str(path)},
        lambda: selection_summary(found.selection, path),
    )


def _grid(texts: tuple[str, ...]) -> dict[str, list[str]]:
    """Values by setting. Raises DefinitionError for what is not NAME=V,V or names a setting twice."""
    grid: dict[str, list[str]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or name in grid:
            raise DefinitionError(
                "a setting and its values cannot be read", found=repr(text), expected="each setting once: NAME=V,V"
            )
        grid[name] = values.split(",")
    return grid


def _split(folds: int | None, validation: float | None, *, latest: bool, seed: int, of_events: bool) -> Split:
    from headrace.evaluate import splits

    if (folds is not None and validation is not None) or (latest and validation is None):
        raise click.UsageError("--folds and --validation exclude each other, and --latest needs --validation")
    if latest and not of_events:
        raise click.UsageError("--latest needs a learner whose samples are events: entities have no position")
    if validation is None:
        return lambda samples, keys: splits.folds(samples, keys, folds or _FOLDS, seed)
    splits.require_share(validation)
    if latest:
        return lambda samples, _keys: splits.latest(samples, validation)
    return lambda samples, keys: splits.by_hash(samples, keys, validation, seed)
