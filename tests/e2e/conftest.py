"""The command line as a user runs it: subprocesses, an own home folder, engines of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HEADRACE = [sys.executable, "-m", "headrace.cli"]


@dataclass(frozen=True)
class Shell:
    """Runs headrace in a folder of its own; `home` outlives every command."""

    home: Path
    variables: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "HEADRACE_HOME": str(self.home), **self.variables}

    def start(self, *arguments: str, **popen: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*HEADRACE, *arguments],
            cwd=self.home.parent,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            **popen,
        )

    def run(self, *arguments: str, expect: int | None = 0, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        done = subprocess.CompletedProcess(arguments, process.returncode, out, err)
        if expect is not None:
            assert done.returncode == expect, f"{arguments} exited {done.returncode}\n{out}\n{err}"
        return done

    def json(self, *arguments: str, expect: int | None = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", expect=expect).stdout)

    def killed(self, *arguments: str, said: str, after_s: float) -> int:
        """Start a command, kill -9 it and all it started a while after it said so; its code (0: it was faster)."""
        process = self.start(*arguments)
        assert process.stderr is not None
        told = ""
        for line in process.stderr:
            told += line
            if said in line:
                break
        else:
            raise AssertionError(f"{said!r} was not said by {arguments}, which exited {process.wait()}\n{told}")
        try:
            process.communicate(timeout=after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            time.sleep(0.2)
        return process.returncode


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell whose DynamoDB Local runs for the module."""
    made = Shell(tmp_path_factory.mktemp("e2e") / ".headrace", {})
    made.run("up", "dynamodb")
    yield made
    made.run("down")
