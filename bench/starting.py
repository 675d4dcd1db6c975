"""How long commands take to start: help against `feast --help`, serve against an empty FastAPI app, a cold run."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil

from bench.measure import Cost, Metric, command, compared, side_by_side, wall
from bench.peers import PEER_PYTHON, ROOT
from bench.served import EMPTY

HEADRACE = str(Path(sys.executable).with_name("headrace"))


def run(work: Path, source: Path) -> list[Metric]:
    feast = str(PEER_PYTHON.with_name("feast"))
    mine, theirs = side_by_side(lambda: command([HEADRACE, "--help"]), lambda: command([feast, "--help"]), rounds=5)
    metrics = [compared("help_wall_vs_feast", mine, theirs, wall, at_most=0.25)]
    home = {"HEADRACE_HOME": str(work / "home")}
    subprocess.run([HEADRACE, "up", "dynamodb"], env={**os.environ, **home}, check=True, stdout=subprocess.DEVNULL)
    try:
        mine, theirs = side_by_side(
            lambda: _until_healthy(lambda port: [HEADRACE, "serve", "--port", str(port)], home),
            lambda: _until_healthy(lambda port: [sys.executable, "-c", EMPTY, str(port)], {}),
            rounds=5,
        )
        metrics.append(compared("serve_ready_wall_vs_empty_fastapi", mine, theirs, wall, at_most=2))
        metrics += _cold(work, source, home)
    finally:
        subprocess.run(
            [HEADRACE, "down", "dynamodb"], env={**os.environ, **home}, check=True, stdout=subprocess.DEVNULL
        )
    return metrics


def _cold(work: Path, source: Path, home: dict[str, str]) -> list[Metric]:
    """A whole cold `headrace run` against a bare PySpark script of the same work, with and without shared classes."""
    plain = work / "bare"

    def bare() -> Cost:
        shutil.rmtree(plain, ignore_errors=True)
        return command([sys.executable, "-m", "bench.bare_spark", str(source), str(plain)], cwd=ROOT)

    def ours(sharing: str) -> Cost:
        shutil.rmtree(work / "home" / "lake", ignore_errors=True)
        shutil.rmtree(work / "home" / "registry", ignore_errors=True)
        arguments = ["run", "segments", "--input", str(source), "--json"]
        table = f"store.table=cold{time.time_ns()}"
        return command([HEADRACE, *arguments, "--set", f"spark.class_data_sharing={sharing}", "--set", table], env=home)

    mine, theirs = side_by_side(lambda: ours("false"), bare, rounds=3)
    found = [compared("cold_run_wall_vs_bare_pyspark", mine, theirs, wall, at_most=1.1)]
    ours("true")
    time.sleep(15)  # the first JVM writes its class archive after the command has ended
    mine, theirs = side_by_side(lambda: ours("true"), bare, rounds=3)
    found.append(compared("cold_run_shared_classes_wall_vs_bare_pyspark", mine, theirs, wall, at_most=0.7))
    return found


def _until_healthy(arguments, env: dict[str, str]) -> Cost:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.perf_counter()
    process = subprocess.Popen(
        arguments(port), env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while time.perf_counter() - start < 60:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
                break
            time.sleep(0.005)
        seconds = time.perf_counter() - start
        seen = psutil.Process(process.pid)
        times = seen.cpu_times()
        assert not seen.children(), "serving starts no JVM"
        return Cost(seconds, times.user + times.system, seen.memory_info().rss / 2**20)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
