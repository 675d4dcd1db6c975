"""Peers run in their own environment (bench/.venv) and their own process, warm, one measured call at a time."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from bench.measure import Cost

ROOT = Path(__file__).resolve().parent.parent
PEER_PYTHON = ROOT / "bench" / ".venv" / "bin" / "python"


class PeerServer:
    """A peer process that does its work once per line on its standard input and answers with its cost."""

    def __init__(self, name: str, *arguments: str) -> None:
        command = [str(PEER_PYTHON), "-m", "bench.peer_work", name, *arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def measure(self) -> Cost:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return Cost(**json.loads(self._process.stdout.readline()))

    def __enter__(self) -> PeerServer:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
