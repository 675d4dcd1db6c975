"""What the speed layer measures, for Prometheus; docs/streaming.md lists the names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from headrace.speed.settling import FRESHNESS_S

if TYPE_CHECKING:
    from headrace.speed.ingest import IngestProgress
    from headrace.speed.update import Batch

_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
_PHASES = (0.005, 0.01, 0.02, *_SECONDS)
_WAITS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_BY = ("definition", "generation")


class Metrics:
    """Counters, gauges and histograms of one `headrace stream` process."""

    def __init__(self, definition: str, stream: str) -> None:
        self.registry = CollectorRegistry()
        self._definition, self._stream = definition, stream
        self._items = self._counter("update_items", "Speed items written.")
        self._replayed = self._counter("update_replayed_items", "Items that had counted everything already.")
        self._replays = self._counter("update_replayed_batches", "Micro-batches of which some was counted before.")
        self._refused = self._counter("update_guard_failures", "Writes that another writer was before.")
        self._recut = self._counter("update_recut_items", "Items whose events were cut anew.")
        self._throttled = self._counter("update_throttled", "Statements that the store throttled.")
        self._batch_s = self._histogram("update_batch_seconds", "Duration of a micro-batch.", _BY)
        self._phase_s = self._histogram("update_phase_seconds", "Duration of a phase of one.", (*_BY, "phase"), _PHASES)
        self._freshness = _Freshness()
        self.registry.register(self._freshness)
        self._lag = self._gauge("update_lag", "Records of a partition that are not counted.", (*_BY, "partition"))
        self._as_of = self._gauge("update_as_of", "Arrival time up to which everything is counted.", _BY)
        of = ("definition",)
        self._champion = self._gauge("champion_generation", "The generation that is served; 0 for none.", of)
        self._candidate = self._gauge("candidate_generation", "The one that is to take over; 0 for none.", of)
        self._handover_s = self._histogram("handover_seconds", "From asking for a hand-over to the flip.", of, _WAITS)
        self._landed = self._counter("ingest_rows", "Rows landed in the lake.", ("stream",))
        self._quarantined = self._counter("ingest_quarantined", "Rows quarantined.", ("stream", "reason"))
        text = "Micro-batches of which some had landed before."
        self._landed_before = self._counter("ingest_replayed_batches", text, ("stream",))
        self._ingest_s = self._histogram("ingest_batch_seconds", "Duration of a micro-batch.", ("stream",))
        self._ingest_phase_s = self._histogram(
            "ingest_phase_seconds", "Duration of a phase of one.", ("stream", "phase"), _PHASES
        )
        self._ingest_lag = self._gauge(
            "ingest_lag", "Records of a partition that have not landed.", ("stream", "partition")
        )

    def _counter(self, name: str, text: str, by: Sequence[str] = _BY) -> Counter:
        return Counter(f"headrace_{name}", text, by, registry=self.registry)

    def _gauge(self, name: str, text: str, by: Sequence[str]) -> Gauge:
        return Gauge(f"headrace_{name}", text, by, registry=self.registry)

    def _histogram(self, name: str, text: str, by: Sequence[str], ends: Sequence[float] = _SECONDS) -> Histogram:
        return Histogram(f"headrace_{name}", text, by, registry=self.registry, buckets=ends)

    def serve(self, port: int) -> None:
        """Answer Prometheus on that port, on this machine only."""
        start_http_server(port, "127.0.0.1", self.registry)

    # -- what happened ------------------------------------------------------------------------
    def updated(self, batch: Batch) -> None:
        """A micro-batch was counted."""
        by = (self._definition, str(batch.generation))
        settled = batch.interim.settled
        self._items.labels(*by).inc(settled.written)
        self._replayed.labels(*by).inc(settled.replayed)
        self._replays.labels(*by).inc(bool(settled.replayed or batch.interim.recut))
        self._refused.labels(*by).inc(settled.refused)
        self._recut.labels(*by).inc(batch.interim.recut)
        self._throttled.labels(*by).inc(settled.throttled)
        self._batch_s.labels(*by).observe(batch.seconds)
        for phase, seconds in batch.interim.phases.items():
            self._phase_s.labels(*by, phase).observe(seconds)
        self._freshness.add(by, settled.freshness, settled.freshness_s)
        self._as_of.labels(*by).set(batch.interim.progress.as_of.timestamp())

    def heard(self, generation: int, lag: Mapping[int, int], as_of: datetime | None) -> None:
        """The stream's end was looked at; as_of: None while the generation is being taken over."""
        by = (self._definition, str(generation))
        if as_of is not None:
            self._as_of.labels(*by).set(as_of.timestamp())
        for partition, records in lag.items():
            self._lag.labels(*by, str(partition)).set(records)

    def dropped(self, generation: int) -> None:
        """A generation is not counted here any more, so nothing is known of how far it is."""
        of = {"definition": self._definition, "generation": str(generation)}
        self._lag.remove_by_labels(of)
        self._as_of.remove_by_labels(of)

    def serving(self, champion: int, candidate: int) -> None:
        """Which generation is served and which is to take over; 0 for none."""
        self._champion.labels(self._definition).set(champion)
        self._candidate.labels(self._definition).set(candidate)

    def handed_over(self, seconds: float) -> None:
        """Readers moved to another generation."""
        self._handover_s.labels(self._definition).observe(seconds)

    def ingested(self, progress: IngestProgress) -> None:
        """A micro-batch landed."""
        self._landed.labels(self._stream).inc(progress.rows)
        for reason, rows in progress.quarantined.items():
            self._quarantined.labels(self._stream, reason).inc(rows)
        self._landed_before.labels(self._stream).inc(bool(progress.replayed))
        self._ingest_s.labels(self._stream).observe(progress.seconds)
        for phase, seconds in progress.phases.items():
            self._ingest_phase_s.labels(self._stream, phase).observe(seconds)

    def landing_heard(self, lag: Mapping[str, int]) -> None:
        """The stream's end was looked at."""
        for partition, records in lag.items():
            self._ingest_lag.labels(self._stream, partition).set(records)


class _Freshness(Collector):
    """Freshness of items as a histogram, which executors count: they are told in classes, and not one by one."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], tuple[list[int], float]] = {}

    def add(self, by: tuple[str, str], classes: Sequence[int], seconds: float) -> None:
        """Items by the classes of FRESHNESS_S, and the sum of their seconds."""
        before, total = self._held.get(by, ([0] * len(classes), 0.0))
        # Replaced whole, since another thread may be collecting.
        self._held[by] = ([a + b for a, b in zip(before, classes, strict=True)], total + seconds)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        text = "Items by seconds from their latest event's arrival to readable."
        family = HistogramMetricFamily("headrace_freshness_seconds", text, labels=_BY)
        for by, (classes, seconds) in self._held.copy().items():
            ends = (*map(floatToGoString, FRESHNESS_S), "+Inf")
            family.add_metric(by, list(zip(ends, accumulate(classes), strict=True)), seconds)
        yield family
