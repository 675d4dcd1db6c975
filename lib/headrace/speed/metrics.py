"""What the speed layer measures, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from headrace.speed.settling import FRESHNESS_S

if TYPE_CHECKING:
    from headrace.speed.ingest import IngestProgress
    from headrace.speed.update import Batch

_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)


_BY = ("definition", "generation")


class Metrics:
    """Counters and gauges of one `headrace stream` process."""

    def __init__(self, definition: str, stream: str) -> None:
        self.registry = CollectorRegistry()
        self._definition, self._stream = definition, stream
        self.items = self._counter("update_items", "Speed items written.")
        self.replayed = self._counter("update_replayed_items", "Items that had counted everything already.")
        self.replays = self._counter("update_replayed_batches", "Micro-batches of which some was counted before.")
        self.refused = self._counter("update_guard_failures", "Writes that another writer was before.")
        self.recut = self._counter("update_recut_items", "Items whose events were cut anew.")
        self.throttled = self._counter("update_throttled", "Statements that the store throttled.")
        self.batch_s = self._histogram("update_batch_seconds", "Duration of a micro-batch.", _BY)
        self.freshness = self._counter(
            "freshness_items", "Items by seconds from their latest event's arrival to readable.", (*_BY, "le")
        )
        self.freshness_s = self._counter("freshness_seconds", "The sum of these seconds.")
        self.lag = self._gauge("update_lag", "Records of a partition that are not counted.", (*_BY, "partition"))
        self.as_of = self._gauge("update_as_of", "Arrival time up to which everything is counted.", _BY)
        self.handovers = self._counter("handovers", "Generations that were handed over.", ("definition",))
        self.landed = self._counter("ingest_rows", "Rows landed in the lake.", ("stream",))
        self.quarantined = self._counter("ingest_quarantined", "Rows quarantined.", ("stream", "reason"))
        self.ingest_s = self._histogram("ingest_batch_seconds", "Duration of a batch.", ("stream",))

    def _counter(self, name: str, text: str, by: Sequence[str] = _BY) -> Counter:
        return Counter(f"headrace_{name}", text, by, registry=self.registry)

    def _gauge(self, name: str, text: str, by: Sequence[str]) -> Gauge:
        return Gauge(f"headrace_{name}", text, by, registry=self.registry)

    def _histogram(self, name: str, text: str, by: Sequence[str]) -> Histogram:
        return Histogram(f"headrace_{name}", text, by, registry=self.registry, buckets=_SECONDS)

    def serve(self, port: int) -> None:
        """Answer Prometheus on that port, on this machine only."""
        start_http_server(port, "127.0.0.1", self.registry)

    def updated(self, batch: Batch) -> None:
        by = (self._definition, str(batch.generation))
        settled = batch.interim.settled
        self.items.labels(*by).inc(settled.written)
        self.replayed.labels(*by).inc(settled.replayed)
        self.replays.labels(*by).inc(bool(settled.replayed or batch.interim.recut))
        self.refused.labels(*by).inc(settled.refused)
        self.recut.labels(*by).inc(batch.interim.recut)
        self.throttled.labels(*by).inc(settled.throttled)
        self.batch_s.labels(*by).observe(batch.seconds)
        self.freshness_s.labels(*by).inc(settled.freshness_s)
        for le, items in zip((*map(str, FRESHNESS_S), "+Inf"), settled.freshness, strict=True):
            if items:
                self.freshness.labels(*by, le).inc(items)
        self.as_of.labels(*by).set(batch.interim.progress.as_of.timestamp())

    def heard(self, generation: int, lag: Mapping[int, int]) -> None:
        for partition, records in lag.items():
            self.lag.labels(self._definition, str(generation), str(partition)).set(records)

    def ingested(self, progress: IngestProgress) -> None:
        self.landed.labels(self._stream).inc(progress.rows)
        for reason, rows in progress.quarantined.items():
            self.quarantined.labels(self._stream, reason).inc(rows)
        self.ingest_s.labels(self._stream).observe(progress.seconds)
