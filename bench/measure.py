"""Side-by-side measurement: A B A B A in one run, wall and CPU seconds of the whole process tree, peak RSS."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Cost:
    """What one side cost once."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float


@dataclass(frozen=True)
class Metric:
    """One figure: ours against a peer, the median ratio, its spread over the pairs, and the target it is held to."""

    metric: str
    ours: float
    peer: float
    ratio: float
    spread: tuple[float, float]
    target: str
    met: bool
    detail: dict[str, object]

    def to_json(self) -> dict[str, object]:
        return {
            "metric": self.metric,
            "ours": self.ours,
            "peer": self.peer,
            "ratio": self.ratio,
            "spread": list(self.spread),
            "target": self.target,
            "met": self.met,
            **self.detail,
        }


class _Tree:
    """CPU seconds and resident memory of a process and all it started, sampled so that ended children count."""

    def __init__(self, pid: int, period_s: float = 0.05, apart: Collection[int] = ()) -> None:
        self._root = psutil.Process(pid)
        self._period_s = period_s
        self._apart = frozenset(apart)
        self._cpu: dict[tuple[int, float], float] = {}
        self.peak_rss_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def sample(self) -> float:
        rss = 0
        processes = [self._root]
        with contextlib.suppress(psutil.Error):
            processes += self._root.children(recursive=True)
        for process in processes:
            if process.pid in self._apart:
                continue
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                self._cpu[(process.pid, process.create_time())] = times.user + times.system
                rss += process.memory_info().rss
        self.peak_rss_mb = max(self.peak_rss_mb, rss / 2**20)
        return sum(self._cpu.values())

    def _watch(self) -> None:
        while not self._stop.wait(self._period_s):
            self.sample()

    def __enter__(self) -> _Tree:
        self.start_cpu = self.sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def in_process(work: Callable[[], object], apart: Collection[int] = ()) -> Cost:
    """The cost of a call in this process, with its children (a Spark driver's JVM and workers).

    apart: children that are no part of it, such as engines.
    """
    with _Tree(os.getpid(), apart=apart) as tree:
        start = time.perf_counter()
        work()
        wall = time.perf_counter() - start
        cpu = tree.sample() - tree.start_cpu
    return Cost(wall, cpu, tree.peak_rss_mb)


def in_this_process_alone(work: Callable[[], object]) -> Cost:
    """The cost of a call without children, for a client whose stand-in server is one."""
    start, began = time.perf_counter(), time.process_time()
    work()
    cpu_s, wall_s = time.process_time() - began, time.perf_counter() - start
    return Cost(wall_s, cpu_s, psutil.Process().memory_info().rss / 2**20)


def command(arguments: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> Cost:
    """The cost of a command from start to exit, with all it started."""
    start = time.perf_counter()
    process = subprocess.Popen(
        arguments, cwd=cwd, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    with _Tree(process.pid, period_s=0.01) as tree:
        _, stderr = process.communicate()
        wall = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"{arguments} failed with {process.returncode}: {stderr.decode()[-2000:]}")
    # A child that was waited for adds its times to the parent's; the sampled sum is the floor where it is not.
    return Cost(wall, sum(tree._cpu.values()), tree.peak_rss_mb)


def side_by_side(ours: Callable[[], Cost], peer: Callable[[], Cost], rounds: int = 5) -> tuple[list[Cost], list[Cost]]:
    """`rounds` pairs in the order A B A B ...; both sides are warmed by one uncounted call first."""
    ours()
    peer()
    pairs = [(ours(), peer()) for _ in range(rounds)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def compared(
    metric: str, ours: list[Cost], peer: list[Cost], value: Callable[[Cost], float], *, at_most: float, **detail: object
) -> Metric:
    """The median of the pairs' ratios, held to an upper bound."""
    ratios = sorted(value(a) / value(b) for a, b in zip(ours, peer, strict=True))
    ratio = statistics.median(ratios)
    return Metric(
        metric=metric,
        ours=round(statistics.median(map(value, ours)), 4),
        peer=round(statistics.median(map(value, peer)), 4),
        ratio=round(ratio, 3),
        spread=(round(ratios[0], 3), round(ratios[-1], 3)),
        target=f"<= {at_most}",
        met=ratio <= at_most,
        detail={
            "ours_rss_mb": round(max(c.peak_rss_mb for c in ours)),
            "peer_rss_mb": round(max(c.peak_rss_mb for c in peer)),
            "load": [round(x, 2) for x in os.getloadavg()],
            **detail,
        },
    )


def wall(cost: Cost) -> float:
    return cost.wall_s


def cpu(cost: Cost) -> float:
    return cost.cpu_s
