"""`headrace compact`, `vacuum`, `index` and `refresh`: periodic jobs over a stream's tables in the lake."""

from __future__ import annotations

from dataclasses import asdict

import click

from headrace.cli.opening import load, now, opened_spark, opened_store
from headrace.cli.options import definition_argument, json_option, with_settings
from headrace.cli.output import say_steps, show
from headrace.config import Settings


@click.command()
@definition_argument
@json_option
@with_settings
def compact(settings: Settings, definition: str, as_json: bool) -> None:
    """Merge small files of the tables of DEFINITION's stream; what readers see stays as it is."""
    from headrace.speed.maintenance import compact as merge

    stream = load(definition).source.name
    with opened_spark(settings, f"compact {stream}", say_steps(as_json)) as spark:
        done = merge(spark, settings, stream)
    said = {"stream": stream, "tables": [asdict(table) for table in done]}
    show(as_json, said, lambda: "\n".join(f"{t.table}: {t.removed:,} files became {t.added:,}" for t in done))


@click.command()
@definition_argument
@click.option(
    "--hours",
    type=click.IntRange(1),
    default=168,
    show_default=True,
    metavar="N",
    help="Keep what was current in the last N hours; no less than any write or read of another process takes.",
)
@json_option
@with_settings
def vacuum(settings: Settings, definition: str, hours: int, as_json: bool) -> None:
    """Remove files of DEFINITION's stream that no retained generation reads; run it at least once a fortnight.

    What the champion, its challengers and the generations within the rollback window were trained on stays, of every
    definition over the stream.
    """
    from headrace.speed.maintenance import vacuum as remove

    stream = load(definition).source.name
    with opened_spark(settings, f"vacuum {stream}", say_steps(as_json)) as spark, opened_store(settings) as store:
        done = remove(spark, settings, stream, store, hours=hours, now=now())
    lines = [f"{table}: {files:,} files removed" for table, files in done.removed.items()]
    if done.kept:
        lines.append(f"{done.kept:,} files were kept for {', '.join(map(str, done.pins))}")
    show(as_json, {"stream": stream, **asdict(done)}, lambda: "\n".join(lines))


@click.command()
@definition_argument
@json_option
@with_settings
def index(settings: Settings, definition: str, as_json: bool) -> None:
    """Keep DEFINITION's events in the lake found by entity, up to what has landed now; run it periodically.

    `headrace lookup --as-of T` answers from them, without Spark.
    """
    from headrace.speed.index import index as bring_up

    loaded = load(definition)
    with opened_spark(settings, f"index {loaded.name}", say_steps(as_json)) as spark:
        done = bring_up(spark, settings, loaded)
    said = {"definition": loaded.name, "rows": done.rows, "merged": done.merged, "covered": done.covered.to_json()}
    show(as_json, said, lambda: f"{done.rows:,} events added" if done.rows else "nothing has landed since")


@click.command()
@definition_argument
@json_option
@with_settings
def refresh(settings: Settings, definition: str, as_json: bool) -> None:
    """Take what entities add to DEFINITION's live parameters anew from the lake; run it periodically.

    For a learner whose samples are entities, such as k-means: `headrace predict` then scores with centres moved to
    the entities as they are now. Predictions by key stay those of the champion's own parameters.
    """
    from headrace.speed.learning import refresh as take

    loaded = load(definition)
    with opened_spark(settings, f"refresh {loaded.name}", say_steps(as_json)) as spark, opened_store(settings) as store:
        done = take(spark, settings, loaded, store)
    said = {
        "definition": loaded.name,
        "generation": done.generation,
        "written": done.written,
        "entities": done.entities,
        "parameters_vector": done.vector.to_json(),
    }
    text = (
        f"generation {done.generation}: {done.entities:,} entities taken"
        if done.written
        else "nothing has landed since"
    )
    show(as_json, said, lambda: text)
