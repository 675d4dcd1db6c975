"""How the drivers of a definition on this machine stand, as they say themselves, without store, stream or Spark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from headrace.batch.lease import is_dead
from headrace.speed.pulse import folder, told_in

_SILENT_S = 10.0
_SILENT_BEATS = 10


@dataclass(frozen=True)
class StreamSeen:
    """The landing of a stream. rows, quarantined (by reason), replayed_batches: since the driver began.

    lag: records of each partition that have not landed. batch_s: mean duration of the last minute's micro-batches,
    None without one; phases_s: what of it each phase took.
    """

    stream: str
    rows: int
    quarantined: Mapping[str, int]
    replayed_batches: int
    lag: Mapping[str, int]
    batch_s: float | None
    phases_s: Mapping[str, float]


@dataclass(frozen=True)
class GenerationSeen:
    """The query of a generation. items, guard_failures, replayed_batches: since the driver began.

    lag: records of each partition that are not counted. freshness_*_s: of the last minute's items, from the arrival of
    their latest event to readable, interpolated in classes; None without an item. batch_s, phases_s: as of StreamSeen.
    """

    generation: int
    items: int
    guard_failures: int
    replayed_batches: int
    lag: Mapping[str, int]
    freshness_p50_s: float | None
    freshness_p99_s: float | None
    batch_s: float | None
    phases_s: Mapping[str, float]


@dataclass(frozen=True)
class DriverSeen:
    """One `headrace stream` process.

    state: running; silent (not heard for ten heartbeats and ten seconds); ended (in order); gone (without a word).
    heard_s: seconds since it was heard. champion, candidate: 0 for none, None where it does not count. handover_s: mean
    of its hand-overs, from asking to the flip, None without one.
    """

    definition: str
    owner: str
    only: str | None
    state: str
    heard_s: float
    champion: int | None
    candidate: int | None
    handovers: int
    handover_s: float | None
    landing: StreamSeen | None
    counting: Sequence[GenerationSeen]


def drivers(home: Path, definition: str, now: datetime) -> list[DriverSeen]:
    """The drivers of a definition that left a word under `home`; a driver removes those of its dead predecessors."""
    return [_driver(told, now) for _, told in told_in(folder(home, definition))]


def _driver(told: Mapping[str, Any], now: datetime) -> DriverSeen:
    heard_s = max(0.0, (now - datetime.fromisoformat(told["at"])).total_seconds())
    if told["ended"]:
        state = "ended"
    elif is_dead(told["owner"]):
        state = "gone"
    else:
        state = "silent" if heard_s > max(_SILENT_S, _SILENT_BEATS * told["heartbeat_s"]) else "running"
    samples = _Samples(told["samples"])
    recent = samples.since(_Samples(told["before"]))
    champion, candidate = (samples.get(f"{role}_generation") for role in ("champion", "candidate"))
    handovers = samples.get("handover_seconds_count") or 0
    return DriverSeen(
        definition=told["definition"],
        owner=told["owner"],
        only=told["only"],
        state=state,
        heard_s=round(heard_s, 3),
        champion=None if champion is None else int(champion),
        candidate=None if candidate is None else int(candidate),
        handovers=int(handovers),
        handover_s=_mean(samples, "handover_seconds"),
        landing=next((_landing(samples, recent, stream) for stream in samples.labelled("ingest_lag", "stream")), None),
        counting=[
            _counting(samples, recent, g) for g in sorted(samples.labelled("update_as_of", "generation"), key=int)
        ],
    )


def _landing(samples: _Samples, recent: _Samples, stream: str) -> StreamSeen:
    return StreamSeen(
        stream=stream,
        rows=samples.count("ingest_rows_total", stream=stream),
        quarantined=_counts(samples.by("reason", "ingest_quarantined_total", stream=stream)),
        replayed_batches=samples.count("ingest_replayed_batches_total", stream=stream),
        lag=_counts(samples.by("partition", "ingest_lag", stream=stream)),
        batch_s=_mean(recent, "ingest_batch_seconds", stream=stream),
        phases_s=_phases(recent, "ingest", stream=stream),
    )


def _counting(samples: _Samples, recent: _Samples, generation: str) -> GenerationSeen:
    of = {"generation": generation}
    below = {float(end): n for end, n in recent.by("le", "freshness_seconds_bucket", **of).items()}
    return GenerationSeen(
        generation=int(generation),
        items=samples.count("update_items_total", **of),
        guard_failures=samples.count("update_guard_failures_total", **of),
        replayed_batches=samples.count("update_replayed_batches_total", **of),
        lag=_counts(samples.by("partition", "update_lag", **of)),
        freshness_p50_s=quantile(below, 0.5),
        freshness_p99_s=quantile(below, 0.99),
        batch_s=_mean(recent, "update_batch_seconds", **of),
        phases_s=_phases(recent, "update", **of),
    )


def quantile(below: Mapping[float, float], q: float) -> float | None:
    """The q-quantile of what a histogram holds, interpolated in its class; None for an empty one.

    below: upper end of a class -> number of values up to it; the last end is infinite, and its class is told as the
    end before it. As Prometheus' histogram_quantile (https://prometheus.io/docs/prometheus/latest/querying/functions/).

    >>> quantile({1.0: 4, 2.0: 8, float("inf"): 8}, 0.75)
    1.5
    >>> quantile({1.0: 0, float("inf"): 3}, 0.5)
    1.0
    """
    ends = sorted(below)
    if not ends or not below[ends[-1]]:
        return None
    rank = q * below[ends[-1]]
    start = 0.0
    counted = 0.0
    for end in ends[:-1]:
        if below[end] >= rank:
            return round(start + (end - start) * (rank - counted) / (below[end] - counted), 4)
        start, counted = end, below[end]
    return start


def _mean(samples: _Samples, name: str, **labels: str) -> float | None:
    n = samples.get(f"{name}_count", **labels)
    return round((samples.get(f"{name}_sum", **labels) or 0.0) / n, 4) if n else None


def _phases(recent: _Samples, layer: str, **labels: str) -> dict[str, float]:
    """Seconds of each phase in a mean micro-batch."""
    batches = recent.get(f"{layer}_batch_seconds_count", **labels)
    if not batches:
        return {}
    spent = recent.by("phase", f"{layer}_phase_seconds_sum", **labels)
    return {phase: round(seconds / batches, 4) for phase, seconds in spent.items()}


def _counts(values: Mapping[str, float]) -> dict[str, int]:
    return {label: int(value) for label, value in values.items()}


class _Samples:
    """Samples of a driver's metrics: (name without `headrace_`, labels) -> value."""

    def __init__(self, told: Iterable[tuple[str, Mapping[str, str], float]]) -> None:
        self._held = {
            (name.removeprefix("headrace_"), frozenset(labels.items())): value for name, labels, value in told
        }

    def since(self, before: _Samples) -> _Samples:
        """What was added since then; of counters and histograms."""
        less = _Samples(())
        less._held = {key: value - before._held.get(key, 0.0) for key, value in self._held.items()}
        return less

    def get(self, name: str, **labels: str) -> float | None:
        """The one sample of that name with these labels among its own."""
        wanted = labels.items()
        return next((value for (held, own), value in self._held.items() if held == name and own >= wanted), None)

    def count(self, name: str, **labels: str) -> int:
        return int(self.get(name, **labels) or 0)

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """The samples of that name with these labels, by the value of another label."""
        wanted = labels.items()
        return {dict(own)[label]: value for (held, own), value in self._held.items() if held == name and own >= wanted}

    def labelled(self, name: str, label: str) -> set[str]:
        return set(self.by(label, name))
