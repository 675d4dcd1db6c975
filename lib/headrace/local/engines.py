"""The local engines: started, found again, and stopped.

Every engine has a folder `<engine_home>/<name>` with its data, its log and `state.json`, which says which process runs
it, on which ports. The same code runs `headrace up` and the fixtures of the tests.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from headrace import config
from headrace.config import Settings
from headrace.errors import EngineError, TerminalError, nearest
from headrace.local import process
from headrace.local.cassandra import Cassandra
from headrace.local.download import exclusive
from headrace.local.dynamodb import DynamoDB
from headrace.local.jars import ensure_jars
from headrace.local.java import find_java
from headrace.local.kafka import Kafka
from headrace.local.kinesis import KinesisEngine
from headrace.local.launch import Engine, Place
from headrace.local.ports import choose, is_free
from headrace.local.postgres import Postgres
from headrace.local.process import Identity
from headrace.local.s3 import S3

ENGINES: dict[str, Engine] = {
    engine.name: engine for engine in (DynamoDB(), Kafka(), Cassandra(), S3(), KinesisEngine(), Postgres())
}
DEFAULT = ("dynamodb", "kafka")
"""What `headrace up` starts when no engine is named."""

_ANSWER_S = 2.0
_BUSY_S = 10.0
_STARTS = 2
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineStatus:
    """One engine as it is now.

    state: `running` (it answers), `silent` (its process runs and does not answer), `dead` (its process is gone without
    having been stopped) or `stopped`.
    """

    name: str
    state: str
    endpoint: str | None
    pid: int | None
    folder: Path
    log: Path


@dataclass(frozen=True)
class _State:
    ports: dict[str, int] = field(default_factory=dict)
    process: Identity | None = None
    ready: bool = False


def up(names: Sequence[str], settings: Settings, *, progress: bool = True) -> list[EngineStatus]:
    """Start the named engines (none named: the default ones) in parallel and return when each of them answers.

    An engine that answers already is left alone. Raises EngineError with the last lines of its log for one that does
    not start; the others keep running.
    """
    chosen = named(names or DEFAULT)
    _ensure(chosen, settings, progress)
    stop = threading.Event()
    with ThreadPoolExecutor(len(chosen), thread_name_prefix="up") as pool:
        starting = [
            pool.submit(_up, engine, settings.engine_home / engine.name, settings, in_memory=False, stop=stop)
            for engine in chosen
        ]
        try:
            return [future.result() for future in starting]
        except KeyboardInterrupt:
            stop.set()
            raise


def down(names: Sequence[str], settings: Settings) -> list[EngineStatus]:
    """Stop the named engines (none named: all) that this folder started; their data and ports are kept."""
    chosen = named(names or list(ENGINES))
    with ThreadPoolExecutor(len(chosen), thread_name_prefix="down") as pool:
        return list(pool.map(lambda engine: _down(engine, settings.engine_home / engine.name), chosen))


def status(settings: Settings, names: Sequence[str] = ()) -> list[EngineStatus]:
    """The named engines (none named: all) as they are now; each that should run is asked."""
    chosen = named(names or list(ENGINES))
    with ThreadPoolExecutor(len(chosen), thread_name_prefix="status") as pool:
        return list(pool.map(lambda engine: _status(engine, settings.engine_home / engine.name), chosen))


def endpoint(name: str, settings: Settings) -> str:
    """The address of a running engine. Raises EngineError, naming `headrace up NAME`, when it does not answer."""
    (engine,) = named([name])
    now = _status(engine, settings.engine_home / name)
    if now.state != "running" or now.endpoint is None:
        raise EngineError(
            f"the local engine {name} does not answer",
            found=f"it is {now.state} in {now.folder}",
            do=f"start it with `headrace up {name}`",
        )
    return now.endpoint


def kept_ports(name: str, settings: Settings) -> list[int]:
    """The ports an engine had when it last ran, which its next start takes again where they are free."""
    return list(_read(settings.engine_home / name).ports.values())


@contextmanager
def running(
    name: str, folder: Path, settings: Settings | None = None, *, in_memory: bool = True
) -> Iterator[EngineStatus]:
    """One engine for the length of a block, in `folder`/<name>; for tests.

    `in_memory` keeps nothing on disk where the engine can do so. Raises EngineError when it does not start.
    """
    (engine,) = named([name])
    settings = settings or config.load()
    _ensure([engine], settings, progress=True)
    home = folder / name
    try:
        yield _up(engine, home, settings, in_memory=in_memory, stop=threading.Event())
    finally:
        _down(engine, home)


def named(names: Sequence[str]) -> list[Engine]:
    """The engines of these names, each once. Raises TerminalError for a name that is none."""
    for name in names:
        if name not in ENGINES:
            raise TerminalError(
                f"there is no engine {name!r}", expected=", ".join(ENGINES), nearest=nearest(name, ENGINES)
            )
    return [ENGINES[name] for name in dict.fromkeys(names)]


def _ensure(chosen: Sequence[Engine], settings: Settings, progress: bool) -> None:
    """Fetch what the engines load, before they start side by side."""
    ensure_jars([group for engine in chosen for group in engine.jar_groups], settings.cache, progress)


def _up(engine: Engine, home: Path, settings: Settings, *, in_memory: bool, stop: threading.Event) -> EngineStatus:
    try:
        with exclusive(home / "lock"):
            state = _read(home)
            if state.ready and process.alive(state.process) and _await(engine, state, _BUSY_S, stop):
                return _status(engine, home)
            # Left by a start that was broken off, or hung: it cannot be trusted and holds the data.
            process.stop(state.process)
            return _start(engine, home, state.ports, settings, in_memory=in_memory, stop=stop)
    except OSError as error:
        raise EngineError(
            f"the local engine {engine.name} cannot use its folder {home}",
            found=str(error),
            do="free some space, or set $HEADRACE_HOME to a folder of yours",
        ) from error


def _start(
    engine: Engine,
    home: Path,
    kept: Mapping[str, int],
    settings: Settings,
    *,
    in_memory: bool,
    stop: threading.Event,
) -> EngineStatus:
    for _ in range(_STARTS):
        state = _State(choose(engine.port_names, kept))
        if _launch(engine, home, state, settings, in_memory=in_memory, stop=stop):
            return _status(engine, home)
        if stop.is_set() or all(map(is_free, state.ports.values())):
            break
        log.warning("%s did not start: somebody took one of its ports %s; trying others", engine.name, state.ports)
    raise EngineError(
        f"the local engine {engine.name} does not start",
        found=f"at the end of {_log(home)}:\n{process.last_lines(_log(home))}\n",
        do="mend what it says, or see `headrace doctor`",
    )


def _launch(
    engine: Engine, home: Path, state: _State, settings: Settings, *, in_memory: bool, stop: threading.Event
) -> bool:
    """One start; False when it ended or did not answer in time, and then nothing of it is left running."""
    place = Place(
        home=home.resolve(),
        ports=state.ports,
        java=find_java(settings.cache).executable if engine.jar_groups else None,
        jars=ensure_jars(engine.jar_groups, settings.cache),
        heap_mb=engine.heap_mb(settings.engines),
        in_memory=in_memory,
    )
    place.data.mkdir(parents=True, exist_ok=True)
    engine.prepare(place)
    state = _State(state.ports, process.start(engine.command(place), _log(home), home, engine.environment(place)))
    try:
        _write(home, state)
        if not _await(engine, state, engine.patience_s, stop):
            return False
        engine.restore(place)
        state = _State(state.ports, state.process, ready=True)
        _write(home, state)
        return True
    finally:
        if not state.ready:
            process.stop(state.process)
            _write(home, _State(state.ports))


def _await(engine: Engine, state: _State, patience_s: float, stop: threading.Event) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and not stop.is_set():
        if not process.alive(state.process):
            return False
        if engine.answers(state.ports, _ANSWER_S) and process.alive(state.process):
            return True
        stop.wait(0.1)
    return False


def _down(engine: Engine, home: Path) -> EngineStatus:
    if home.is_dir():
        with exclusive(home / "lock"):
            state = _read(home)
            process.stop(state.process)
            _write(home, _State(state.ports))
    return _status(engine, home)


def _status(engine: Engine, home: Path) -> EngineStatus:
    state = _read(home)
    identity = state.process
    if identity is None:
        return EngineStatus(engine.name, "stopped", None, None, home, _log(home))
    if not process.alive(identity):
        return EngineStatus(engine.name, "dead", None, None, home, _log(home))
    answering = state.ready and engine.answers(state.ports, _ANSWER_S)
    address = engine.endpoint(state.ports)
    return EngineStatus(engine.name, "running" if answering else "silent", address, identity.pid, home, _log(home))


def _log(home: Path) -> Path:
    return home / "log" / "engine.log"


def _read(home: Path) -> _State:
    """The state left by the last `up` or `down`; a damaged file counts as none."""
    try:
        plain = json.loads((home / "state.json").read_text("utf-8"))
        held = plain["process"]
        ports = {str(name): int(port) for name, port in plain["ports"].items()}
        return _State(ports, Identity(**held) if held else None, bool(plain["ready"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return _State()


def _write(home: Path, state: _State) -> None:
    fresh = home / "state.json.new"
    fresh.write_text(json.dumps(asdict(state), indent=2) + "\n", "utf-8")
    fresh.replace(home / "state.json")
