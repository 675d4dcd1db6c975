"""A client that asks one server over kept connections: `python -m bench.load` with a plan as JSON on standard input.

It runs in a process of its own, so that nothing of it counts as the server's, and it is the same for every server:
requests are made up beforehand, and of an answer only its status and length are read.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from itertools import cycle


@dataclass(frozen=True)
class Plan:
    """What to ask: `requests` are whole HTTP/1.1 requests, taken in turn until `count` were answered."""

    port: int
    requests: list[str]
    count: int
    connections: int = 4
    warm: int = 200


@dataclass(frozen=True)
class Seen:
    """What was seen: wall seconds of all, and the latencies' percentiles in milliseconds."""

    count: int
    wall_s: float
    p50_ms: float
    p99_ms: float
    errors: int


async def _connection(plan: Plan, requests, left: list[int], taken: list[float], errors: list[str]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", plan.port)
    while left[0] > 0:
        left[0] -= 1
        request = next(requests)
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        taken.append(time.perf_counter() - began)
        if not head.startswith(b"HTTP/1.1 200"):
            errors.append(f"{head[:40]!r} {body[:200]!r}")
        if b"\r\nconnection: close" in head.lower():
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", plan.port)
    writer.close()


async def _run(plan: Plan, count: int) -> Seen:
    requests = cycle([request.encode() for request in plan.requests])
    left, taken, errors = [count], [], []
    began = time.perf_counter()
    await asyncio.gather(*(_connection(plan, requests, left, taken, errors) for _ in range(plan.connections)))
    wall_s = time.perf_counter() - began
    if errors:
        sys.stderr.write(f"{len(errors)} of {count} were not answered: {errors[0]}\n")
    percent = statistics.quantiles(taken, n=100)
    return Seen(len(taken), wall_s, percent[49] * 1000, percent[98] * 1000, len(errors))


def main() -> None:
    """Warm the server up, then do what each line of standard input says: "go" asks, and the end of input ends."""
    plan = Plan(**json.loads(sys.stdin.readline()))
    asyncio.run(_run(plan, plan.warm))
    sys.stdout.write("warm\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        sys.stdout.write(json.dumps(asdict(asyncio.run(_run(plan, plan.count)))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
