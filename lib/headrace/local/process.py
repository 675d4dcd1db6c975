"""Processes that outlive the command that started them, and are recognised beyond doubt."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_TERMINATE_S = 20.0
_KILL_S = 10.0
_LOG_BYTES = 10_000_000
# Children of this very process, kept so that their exit is collected by whoever stops them.
_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Identity:
    """A process: its pid, and when it started in seconds since the machine did.

    A pid alone may have been given to somebody else. Seconds since the boot stay put when the clock is set.
    """

    pid: int
    started: float


def identify(pid: int) -> Identity | None:
    """Who has this pid now; None when nobody does, or only a zombie."""
    process = _process(pid)
    if process is None:
        return None
    try:
        return Identity(pid, round(process.create_time() - psutil.boot_time(), 2))
    except psutil.Error:
        return None


def alive(identity: Identity | None) -> bool:
    """Whether this very process still runs."""
    if identity is None:
        return False
    now = identify(identity.pid)
    # The clock's tick is 10 ms; nobody starts, ends and hands on a pid in five of them.
    return now is not None and abs(now.started - identity.started) < 0.05


def start(command: Sequence[str], log: Path, cwd: Path, environment: Mapping[str, str]) -> Identity:
    """Start a process in a session of its own, so that Ctrl-C in the terminal does not reach it; output goes to `log`.

    Raises OSError when the program is not there.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.is_file() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_name(log.name + ".1"))
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 - a list from our own engines, no shell
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    _CHILDREN[child.pid] = child
    return identify(child.pid) or Identity(child.pid, -1.0)


def stop(identity: Identity | None, patience_s: float = _TERMINATE_S) -> bool:
    """End this very process: SIGTERM, then SIGKILL after `patience_s`. False when it did not run any more."""
    if identity is None or not alive(identity):
        _collect(identity)
        return False
    process = _process(identity.pid)
    if process is None:
        return False
    try:
        # psutil itself refuses to signal a pid that changed hands since the look-up above.
        process.terminate()
        try:
            process.wait(patience_s)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(_KILL_S)
    except psutil.NoSuchProcess:
        pass
    _collect(identity)
    return True


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 20_000))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-count:])


def _process(pid: int) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.Error:
        return None


def _collect(identity: Identity | None) -> None:
    child = _CHILDREN.pop(identity.pid, None) if identity else None
    if child:
        child.poll()
