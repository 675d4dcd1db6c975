"""What takes long is said on stderr: a bar on a terminal, else one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal


@contextmanager
def shown(
    text: str, total: int | None, unit: Literal["bytes", "rows", "answers", "entities"], *, wanted: bool = True
) -> Iterator[Callable[[int], None]]:
    """A function to be told how much more is done; it does nothing off a terminal or where it is not `wanted`."""
    if not (wanted and sys.stderr.isatty()):
        say(text, wanted=wanted)
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    done = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), done, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(text, total=total)
        yield lambda more: bar.advance(task, more)


def say(text: str, *, wanted: bool = True) -> None:
    """One line on stderr."""
    if wanted:
        sys.stderr.write(f"headrace: {text}\n")
