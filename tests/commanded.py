"""`headrace` commands of the serving layer, run as processes over a filled table."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from published import promote, publish, version

from headrace.config import Settings
from headrace.stores import open_store
from headrace.stores.port import Store

TOKEN = "a-token-for-tests"
ENTITIES = [f"e{i}" for i in range(100)]


@dataclass
class Table:
    """A filled table and how a command reaches it."""

    store: Store
    options: list[str]
    environment: dict[str, str]

    def run(self, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "headrace.cli", *arguments, *self.options]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=self.environment, timeout=60)
        assert done.returncode == expect, f"{arguments} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


@contextmanager
def filled_table(settings: Settings, home: Path) -> Iterator[Table]:
    """Two generations, the second a diff of the first and the champion."""
    store = open_store(settings.store, None)
    store.prepare()
    publish(
        store, "segments", 1, {"17850": version(1, 1), "a b/ü": version(2, 1), **dict.fromkeys(ENTITIES, version(1, 1))}
    )
    publish(store, "segments", 2, {"17850": version(301, 4), **dict.fromkeys(ENTITIES, version(2, 2))}, base=1)
    promote(store, "segments", 2)
    options = ["--set", f"store.endpoint={settings.store.endpoint}", "--set", f"store.table={settings.store.table}"]
    yield Table(store, options, {**os.environ, "HEADRACE_HOME": str(home), "HEADRACE_TOKEN": TOKEN})
    store.close()


@dataclass
class Running:
    """A `headrace serve` process."""

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)

    def stop(self, signum: int = signal.SIGTERM) -> int:
        self.process.send_signal(signum)
        return self.process.wait(20)

    @property
    def log(self) -> str:
        return "".join(self.lines)


@contextmanager
def serve(table: Table, *arguments: str, python: tuple[str, ...] = ()) -> Iterator[Running]:
    command = [sys.executable, *python, "-m", "headrace.cli", "serve", "--port", "0", *table.options, *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=table.environment)
    running = Running(process)
    assert process.stderr is not None
    announced = threading.Event()

    def drain() -> None:
        for line in process.stderr or ():
            running.lines.append(line)
            if found := re.search(r"serving on (http://\S+)", line):
                running.url = found[1]
                announced.set()
        announced.set()

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    try:
        assert announced.wait(30)
        assert running.url, running.log
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join(5)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
