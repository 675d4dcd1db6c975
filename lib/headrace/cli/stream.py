"""`headrace stream`: the speed layer of a definition."""

from __future__ import annotations

import click

from headrace.cli.ending import ending
from headrace.cli.opening import load, now, opened_spark
from headrace.cli.options import definition_argument, with_settings
from headrace.cli.output import say_steps
from headrace.config import Settings

# Small batches: re-planning every stage, and packing what is read once, cost more than they save.
SPARK = {
    "spark.sql.adaptive.enabled": "false",
    "spark.scheduler.mode": "FAIR",
    "spark.sql.streaming.metricsEnabled": "false",
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
}


@click.command()
@definition_argument
@click.option("--only", type=click.Choice(["ingest", "update"]), help="Only land the stream, or only count it.")
@click.option("--until-idle", is_flag=True, help="End when everything the stream holds is landed and counted.")
@click.option("--allow-gap", is_flag=True, help="Go on where events were lost; the missing ranges are noted in gaps/.")
@click.option("--disjoint", is_flag=True, help="No event of the stream is in the history, whatever times they cover.")
@with_settings
def stream(
    settings: Settings, definition: str, only: str | None, until_idle: bool, allow_gap: bool, disjoint: bool
) -> None:
    """Keep DEFINITION current from its stream until stopped: land its events, count them, and hand over.

    Each event is counted once, whatever crashes; start it again at any time. SIGTERM and Ctrl-C end it after the
    micro-batch in work.
    """
    from headrace.batch.lease import owner_name
    from headrace.local.endpoints import store_endpoint, stream_address
    from headrace.speed.driver import Driver
    from headrace.speed.metrics import Metrics
    from headrace.stores import Opening

    loaded = load(definition)
    address = stream_address(settings, loaded.source.name)
    opening = Opening(settings.store, store_endpoint(settings), settings.publish.retry_s)
    say = say_steps(as_json=False)
    metrics = Metrics(loaded.name, loaded.source.name)
    if settings.stream.metrics_port:
        metrics.serve(settings.stream.metrics_port)
    opened = opened_spark(settings, f"stream {loaded.name}", say, ("delta", "kafka-source"), SPARK)
    with opened as spark, ending(say, "ending after the micro-batch in work", breaks_off=False) as stop:
        driver = Driver(
            spark, settings, loaded, opening, address, owner=owner_name(), clock=now, say=say, metrics=metrics
        )
        landing = {"allow_gap": allow_gap, "disjoint": disjoint}
        driver.run(stop, only=only, until_idle=until_idle, **landing)  # type: ignore[arg-type]  # click checked it
