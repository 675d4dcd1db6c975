"""Groups of Spark jobs as people see them: a progress bar on a terminal, and Ctrl-C that is always Ctrl-C."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_POLL_S = 0.5


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end a block as KeyboardInterrupt, also where it hit py4j in the middle of a message.

    py4j then fails to tell the JVM and raises that failure instead, with the interrupt as its context.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            cause = cause.__context__
        raise


@contextmanager
def watching(spark: SparkSession, group: str, label: str, *, shown: bool) -> Iterator[None]:
    """Run a block whose jobs are in `group`; with `shown`, and standard error a terminal, a bar counts their tasks."""
    context = spark.sparkContext
    context.setJobGroup(group, label, interruptOnCancel=True)
    stop = threading.Event()
    watcher = threading.Thread(target=_draw, args=(spark, group, label, stop), name="progress", daemon=True)
    bar = shown and sys.stderr.isatty()
    if bar:
        watcher.start()
    try:
        yield
    finally:
        stop.set()
        if bar:
            watcher.join()
        context.setLocalProperty("spark.jobGroup.id", None)  # type: ignore[arg-type]  # None removes it


def _draw(spark: SparkSession, group: str, label: str, stop: threading.Event) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        drawn = progress.add_task(label, total=None)
        while not stop.wait(_POLL_S):
            done, total = _counted(spark, group)
            progress.update(drawn, completed=done, total=total or None)


def _counted(spark: SparkSession, group: str) -> tuple[int, int]:
    """(tasks done, tasks) of the group's stages so far."""
    tracker = spark.sparkContext.statusTracker()
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(group)]
    stages = [tracker.getStageInfo(stage) for job in jobs if job is not None for stage in job.stageIds]
    known = [stage for stage in stages if stage is not None]
    return sum(stage.numCompletedTasks for stage in known), sum(stage.numTasks for stage in known)
