from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from headrace.local import process
from headrace.local.process import Identity, alive, identify, last_lines, start, stop

_STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


@pytest.fixture
def run(tmp_path):
    """Starts Python code as an engine is started; whatever is left is ended after the test."""
    started = []

    def run(code: str) -> Identity:
        identity = start([sys.executable, "-c", code], tmp_path / "log" / "engine.log", tmp_path, {"GIVEN": "yes"})
        started.append(identity)
        return identity

    yield run
    for identity in started:
        stop(identity, 0)


def wait_for(text: str, log: Path) -> None:
    deadline = time.monotonic() + 20
    while text not in last_lines(log):
        assert time.monotonic() < deadline, last_lines(log)
        time.sleep(0.02)


def test_a_process_gets_its_environment_folder_and_a_session_of_its_own(run, tmp_path):
    identity = run("import os, time; print(os.environ['GIVEN'], os.getcwd(), flush=True); time.sleep(60)")
    wait_for(f"yes {tmp_path}", tmp_path / "log" / "engine.log")
    assert os.getsid(identity.pid) == identity.pid != os.getsid(0)
    assert alive(identity)
    assert stop(identity)
    assert not alive(identity)
    assert not psutil.pid_exists(identity.pid)


def test_a_reused_pid_is_not_ours_and_is_never_stopped(run):
    identity = run("import time; time.sleep(60)")
    stranger = Identity(identity.pid, identity.started - 3)
    assert not alive(stranger)
    assert not stop(stranger)
    assert alive(identity)


def test_a_killed_process_is_dead_even_while_nobody_collected_it(run):
    identity = run("import time; time.sleep(60)")
    os.kill(identity.pid, signal.SIGKILL)
    psutil.Process(identity.pid).status()
    deadline = time.monotonic() + 10
    while alive(identity) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(identity)
    assert not stop(identity)


def test_a_process_that_ignores_sigterm_is_killed_after_the_bound(run, tmp_path):
    identity = run(_STUBBORN)
    wait_for("deaf", tmp_path / "log" / "engine.log")
    began = time.monotonic()
    assert stop(identity, patience_s=0.5)
    assert time.monotonic() - began >= 0.5
    assert not alive(identity)


def test_nobody_is_neither_alive_nor_stopped():
    free = next(pid for pid in range(4_000_000, 5_000_000) if not psutil.pid_exists(pid))
    assert identify(free) is None
    assert not alive(None)
    assert not stop(None)
    assert not stop(Identity(free, 1.0))


def test_the_end_of_a_log_is_read_whatever_is_in_it(tmp_path):
    log = tmp_path / "engine.log"
    assert last_lines(log) == ""
    log.write_bytes(b"x" * 50_000 + b"\n\xff\xfe\nlast but one\nlast\n")
    assert last_lines(log, 2) == "last but one\nlast"


def test_a_large_log_is_set_aside_at_the_next_start(run, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_LOG_BYTES", 3)
    log = tmp_path / "log" / "engine.log"
    log.parent.mkdir()
    log.write_text("old text")
    run("print('new text', flush=True)")
    wait_for("new text", log)
    assert log.with_name("engine.log.1").read_text() == "old text"
    assert "old text" not in log.read_text()
