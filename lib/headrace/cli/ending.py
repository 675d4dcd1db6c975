"""How long-running commands end: in order, when they are asked to."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ending(say: Callable[[str], None], text: str, *, breaks_off: bool) -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, saying `text`; with `breaks_off`, a second one ends the block at once."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def end(_number: int, _frame: FrameType | None) -> None:
        if breaks_off:
            restore()
        say(text)
        stop.set()

    for number in before:
        signal.signal(number, end)
    try:
        yield stop
    finally:
        restore()
