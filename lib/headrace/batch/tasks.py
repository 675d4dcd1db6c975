"""Groups of Spark jobs as people see them: a progress bar on a terminal, and Ctrl-C that is always Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from rich.progress import Progress

_POLL_S = 0.5


@contextmanager
def interruptible(spark: SparkSession) -> Iterator[None]:
    """Let Ctrl-C end a block as KeyboardInterrupt, with Spark's jobs cancelled.

    An exception raised inside py4j would leave its message half read, and PySpark's own handler talks over the
    same connection. So while py4j waits, the jobs are cancelled from another thread until the wait ends in their
    failure, which is then the interrupt. Outside the main thread nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed, left = threading.Event(), threading.Event()

    def cancel() -> None:
        while not left.is_set():
            with suppress(Exception):
                spark.sparkContext.cancelAllJobs()
            left.wait(_POLL_S)

    def handle(_signal: int, frame: FrameType | None) -> None:
        if not _waits_in_py4j(frame):
            raise KeyboardInterrupt
        if not pressed.is_set():
            pressed.set()
            threading.Thread(target=cancel, name="interrupt", daemon=True).start()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    except Exception as error:
        if pressed.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        left.set()
        signal.signal(signal.SIGINT, before)


def _waits_in_py4j(frame: FrameType | None) -> bool:
    while frame is not None:
        if "py4j" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


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


@contextmanager
def counting(label: str, total: int, *, shown: bool) -> Iterator[Callable[[], None]]:
    """What to call, in any thread, for each of `total` pieces of work that is done; a bar as `watching` has it."""
    if not (shown and sys.stderr.isatty()):
        yield lambda: None
        return
    with _bar() as progress:
        drawn = progress.add_task(label, total=total)
        yield lambda: progress.advance(drawn)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _draw(spark: SparkSession, group: str, label: str, stop: threading.Event) -> None:
    with _bar() as progress:
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
