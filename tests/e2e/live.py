"""A definition of one's own kept current by `headrace stream` processes, with events that keep coming."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from tapped import Oracle, events, history_file, produce

from headrace.config import load
from headrace.definitions import load_definition
from headrace.schemas import Vector
from headrace.sources.files import fingerprint
from headrace.sources.kafka import Broker
from headrace.stores import open_store
from headrace.stores.port import Store

from .conftest import HEADRACE, Shell

TAPS = textwrap.dedent(
    """\
    from headrace import Count, CountDistinct, Definition, Field, Last, LinearRegression, Max, Schema, Stream, Sum

    TAP = Schema(
        [
            Field("who", "string"),
            Field("at", "timestamp", required=True),
            Field("x", "double"),
            Field("tag", "string"),
            Field("y", "double"),
        ]
    )

    taps = Definition(
        name="taps",
        entity="who",
        event_time="at",
        source=Stream("taps", TAP),
        features={
            "n": Count(),
            "spent": Sum("x", step="0.001"),
            "most": Max("x"),
            "kinds": CountDistinct("tag"),
            "last_tag": Last("tag"),
        },
        learner=LinearRegression(("y",), ridge=0.01),
        target="x",
    )
    """
)
NAME = "taps.py:taps"
COUNTED = '"event": "counted"'  # what the log says of each micro-batch
POISON: list[bytes] = [
    b"{broken",
    b'{"who": "p1", "at": "never", "x": 1, "tag": "a"}',
    b'{"who": "p2", "at": "2026-01-02 03:04:05", "x": "much", "tag": "a"}',
    b"\xff\xfe",
    b'{"who": "p3", "at": "2026-01-02 03:04:05", "x": 1, "tag": "a\x00b"}',
    b'{"who": "p4", "at": "2999-01-01 00:00:00", "x": 1, "tag": "ahead of the broker"}',
    b"[" + b"1," * 500_000 + b"1]",
    b'{"who": "p5", "at": "2026-01-02 03:04:05", "x": 1, "tag": "' + b"long" * 225_000 + b'"}',
]


@dataclass
class Streaming:
    """One `headrace stream` process and what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def wait_for(self, text: str, seconds: float = 150) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.said():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}\n{self.said()[-3000:]}"
            assert time.monotonic() < deadline, f"{text!r} was not said\n{self.said()[-3000:]}"
            time.sleep(0.2)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        time.sleep(0.2)

    def signal(self, number: int) -> None:
        """To the driver and all it started."""
        os.killpg(self.process.pid, number)

    def end(self, seconds: float = 90) -> int:
        """SIGTERM, which lets the micro-batch in work end; the exit code."""
        self.process.terminate()
        return self.process.wait(seconds)

    def python_workers(self) -> list[psutil.Process]:
        return self.started_by_it("headrace.python_workers")

    def started_by_it(self, *words: str) -> list[psutil.Process]:
        """Its processes, also those of processes, whose command line has all the words."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                line = " ".join(child.cmdline())
                if all(word in line for word in words):
                    found.append(child)
        return found

    def told(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log for machines that tell of that event; one that was cut off by a kill is left out."""
        lines = (json.loads(line) for line in re.findall(r'\{"time": .*\}$', self.said(), re.MULTILINE))
        return [line for line in lines if line["event"] == event]

    def replays(self) -> int:
        """Items that a batch found counted before, wholly or in part."""
        return sum(line["replayed"] + line["recut"] for line in self.told("counted"))


def streaming(shell: Shell, definition: str, number: int, *arguments: str, before: Sequence[str] = ()) -> Streaming:
    """A `headrace stream` process, the shell's `number`th; `before`: a command that runs it."""
    log = shell.home.parent / f"stream-{number}.log"
    command = [*before, *HEADRACE, "stream", definition, "-v", "--set", "stream.heartbeat_s=0.2"]
    command += ["--set", "stream.ingest_interval_s=1", *arguments]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=shell.home.parent,
            env=shell.environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Streaming(process, log)


@dataclass
class Live:
    """The place: a shell with engines, a topic, an oracle."""

    shell: Shell
    broker: Broker
    store: Store
    oracle: Oracle
    table: str
    poisoned: int = 0
    sent: int = 0
    started: list[Streaming] = field(default_factory=list)

    def stream(self, *arguments: str, before: Sequence[str] = ()) -> Streaming:
        made = streaming(self.shell, NAME, len(self.started), *arguments, before=before)
        self.started.append(made)
        return made

    def head(self) -> Vector:
        topic = self.broker.topic("taps")
        return Vector({(topic.incarnation, str(p)): end for p, (_, end) in self.broker.held(topic).items()})

    def check(self) -> dict[str, Vector]:
        return self.oracle.check(self.store, self.shell.home / "registry")

    def settle(self) -> None:
        """Count and land all there is, then prove every key twice: by the oracle, and by `verify`."""
        done = self.stream("--until-idle")
        assert done.process.wait(300) == 0, done.said()[-3000:]
        head = self.head()
        assert all(vector.covers(head) for vector in self.check().values())
        found = self.shell.json("verify", NAME)
        assert (found["mismatched"], found["missing"], found["extra"]) == (0, 0, 0), found
        assert found["checked"] > 0

    @contextmanager
    def load(self, seed: int, rate: float = 200) -> Iterator[None]:
        """Events at a rate for the length of a block, one in a hundred of them poisoned."""
        stop = threading.Event()
        rng = random.Random(seed)
        failures: list[BaseException] = []

        def run() -> None:
            try:
                produced()
            except BaseException as error:  # noqa: BLE001 -- raised where the load is wanted
                failures.append(error)

        def produced() -> None:
            with Broker(self.settings.kafka, self.bootstrap) as broker:
                producer, number = broker.producer(), 0
                while not stop.wait(20 / rate):
                    rows: list[Any] = list(events(20, seed=rng.randrange(10**9), hot=0.3))
                    if rng.random() < 0.2:
                        rows.insert(rng.randrange(20), POISON[number % len(POISON)])
                        number += 1
                        self.poisoned += 1
                    self.sent += produce(producer, "taps", rows)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)
            assert not thread.is_alive()
            assert not failures, failures

    settings: Any = None
    bootstrap: str = ""


@contextmanager
def live(shell: Shell) -> Iterator[Live]:
    """History landed and served, an empty topic, and nothing running yet."""
    place = shell.home.parent
    (place / "taps.py").write_text(TAPS, "utf-8")
    history = history_file(place / "history.csv", events(2000, seed=1))
    shell.run("up", "kafka", "dynamodb")
    engines = {one["name"]: one["endpoint"] for one in shell.json("status")}
    shell.run("run", NAME, "--input", "history.csv")
    settings = load([f"home={shell.home}", f"store.endpoint={engines['dynamodb']}"], environment="local")
    sys.modules.pop("taps", None)  # of another module's place
    definition = load_definition(f"{place / 'taps.py'}:taps")
    with Broker(settings.kafka, engines["kafka"]) as broker:
        broker.create("taps", 2)
        store = open_store(settings.store, engines["dynamodb"])
        oracle = Oracle(definition, broker, history, fingerprint(history).sha256)
        made = Live(shell, broker, store, oracle, settings.store.table)
        made.settings, made.bootstrap = settings, engines["kafka"]
        try:
            yield made
        finally:
            for one in made.started:
                if one.process.poll() is None:
                    one.signal(signal.SIGCONT)
                    one.kill()
            store.close()


KINDS = ("offsets", "commits", "sources", "metadata")
WAYS: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "truncated": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "zeroed": lambda file: file.write_bytes(bytes(file.stat().st_size)),
}


def damage(folder: Path, rng: random.Random, turn: int) -> set[tuple[str, str]]:
    """Harm a file of each kind in dead processes' checkpoints, another way each `turn`; the kinds and ways."""
    done = set()
    files = [file for file in folder.rglob("*") if file.is_file()]
    for number, kind in enumerate(KINDS):
        way = [*WAYS][(turn + number) % len(WAYS)]
        of_kind = [file for file in files if kind in file.relative_to(folder).parts]
        for file in rng.sample(of_kind, min(len(of_kind), 2)):
            WAYS[way](file)
            done.add((kind, way))
    return done
