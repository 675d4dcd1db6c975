"""`headrace evaluate` and `headrace batch-predict`: a sealed generation on many events at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.opening import load, now, opened_spark
from headrace.cli.options import definition_argument, generation_option, json_option, with_settings
from headrace.cli.output import fields, say_steps, show
from headrace.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import SparkSession

    from headrace.definitions import Definition
    from headrace.evaluate.splitting import Splitting


class Part(click.ParamType["Splitting"]):
    """A splitting as JSON, or a file that holds it."""

    name = "part"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Splitting:
        from headrace.config import text_of
        from headrace.evaluate.splitting import Splitting

        if isinstance(value, Splitting):
            return value
        text = str(value)
        return Splitting.of(text_of(Path(text), "the part") if text.endswith(".json") else text)


_part = click.option(
    "--part",
    type=Part(),
    metavar="JSON",
    help='Which events, such as {"splitting": {"percentBegin": 70, "percentEnd": 100}}, or a .json file of it '
    "[default: those that the definition holds out].",
)


@click.command()
@definition_argument
@generation_option
@_part
@click.option("--against", type=click.IntRange(1), metavar="N", help="Measure that generation on the same events, too.")
@json_option
@with_settings
def evaluate(
    settings: Settings,
    definition: str,
    generation: int | None,
    part: Splitting | None,
    against: int | None,
    as_json: bool,
) -> None:
    """Measure a generation of DEFINITION on events that it was not fitted on, beside a baseline.

    A number: RMSE beside that of always answering the mean, MAE, R2, residuals. Classes: AUC, log loss, confusion,
    calibration, F1 of each, and of two the best cut. It writes a page; nothing is served by it.
    """
    from headrace.batch.evaluate import evaluate as measure
    from headrace.batch.evaluate import held_out_part
    from headrace.report import evaluation_summary, write_evaluation

    loaded = load(definition)
    held_out_part(loaded, part)
    chosen = _newest(settings, loaded.name, generation)
    with opened_spark(settings, f"evaluate {loaded.name}", say_steps(as_json)) as spark:
        found = measure(spark, settings, loaded, chosen, part=part, other=against).to_json()
    path = write_evaluation(settings.reports / f"{loaded.name}-evaluation-{chosen:08d}.html", found)
    show(as_json, {**found, "report": str(path)}, lambda: evaluation_summary(found, path))


@click.command("batch-predict")
@definition_argument
@click.option("--input", "path", type=click.Path(path_type=Path), help="A file of records, instead of the lake's.")
@generation_option
@_part
@click.option("--every", is_flag=True, help="All events of the lake's snapshot, not a part.")
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), help="Where to [default: in home].")
@click.option("--single", is_flag=True, help="Join the shards into one file, predictions.csv.gz.")
@click.option("--replace", is_flag=True, help="Drop what another job left in the folder; never anything else.")
@json_option
@with_settings
def batch_predict(
    settings: Settings,
    definition: str,
    path: Path | None,
    generation: int | None,
    part: Splitting | None,
    every: bool,
    folder: Path | None,
    single: bool,
    replace: bool,
    as_json: bool,
) -> None:
    """Score events by a generation of DEFINITION into gzip CSV files: trueLabel,score.

    The same command again resumes where it stopped, to the same bytes. Records that cannot be scored are counted by
    reason, and lie beside with their positions.
    """
    from headrace.batch.prediction import predict_events, predict_file

    if sum((path is not None, part is not None, every)) > 1:
        raise click.UsageError("--input, --part and --every exclude each other")
    loaded = load(definition)
    chosen = _newest(settings, loaded.name, generation)
    target = folder or _folder(settings, loaded.name, chosen)
    with opened_spark(settings, f"batch-predict {loaded.name}", say_steps(as_json)) as spark:
        asked: dict[str, Any] = {"generation": chosen, "single": single, "replace": replace}
        if path is None:
            done = predict_events(spark, settings, loaded, target, part=part, every=every, **asked)
        else:
            done = predict_file(spark, settings, loaded, path, target, now=now(), **asked)
    show(as_json, done.to_json(), lambda: fields(done.to_json()))


def held_out_told(
    spark: SparkSession, settings: Settings, definition: Definition, generation: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """What a run tells of the events held out: evaluated on a page, and predicted into files. Both resume."""
    from headrace.batch.evaluate import evaluate as measure
    from headrace.batch.prediction import predict_events
    from headrace.report import evaluation_headline, write_evaluation

    say("evaluate")
    found = measure(spark, settings, definition, generation).to_json()
    page = write_evaluation(settings.reports / f"{definition.name}-evaluation-{generation:08d}.html", found)
    say("batch-predict")
    done = predict_events(
        spark, settings, definition, _folder(settings, definition.name, generation), generation=generation, single=True
    )
    return {
        "evaluation": evaluation_headline(found),
        "page": str(page),
        "records_seen": done.seen,
        "records_failed": done.failed,
        "predictions": str(done.paths[0]),
    }


def _folder(settings: Settings, name: str, generation: int) -> Path:
    return settings.home / "predictions" / f"{name}-{generation:08d}"


def _newest(settings: Settings, name: str, generation: int | None) -> int:
    from headrace.registry import Registry

    registry = Registry(settings.registry)
    chosen = generation or registry.newest(name)
    registry.peek(name, chosen)
    return chosen
