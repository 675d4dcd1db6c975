"""What a scrape of /metrics says; every server has a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from headrace.serving.merge import Served
from headrace.serving.views import Views

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Counts of requests and store errors, latencies, and what each champion pointer last read says."""

    def __init__(self, held: Callable[[], Mapping[str, Served]], views: Views, clock: Callable[[], datetime]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "headrace_requests_total", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._latency = Histogram(
            "headrace_request_seconds", "Seconds to answer.", ["route"], registry=self._registry, buckets=BUCKETS_S
        )
        self._store_errors = Counter(
            "headrace_store_errors_total", "Store calls that failed.", ["kind"], registry=self._registry
        )
        self._children: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._registry.register(_Pointers(held, views, clock))

    def answered(self, method: str, route: str, status: str, seconds: float) -> None:
        """Count a request. `route` is a template, so that labels are few whatever is asked."""
        children = self._children.get((method, route, status))
        if children is None:
            known = method if method in METHODS else "other"
            children = self._requests.labels(known, route, status), self._latency.labels(route)
            if known == method:
                self._children[method, route, status] = children
        children[0].inc()
        children[1].observe(seconds)

    def store_failed(self, error: Exception) -> None:
        self._store_errors.labels(type(error).__name__).inc()

    def text(self) -> bytes:
        """The exposition format 0.0.4."""
        return generate_latest(self._registry)


class _Pointers(Collector):
    def __init__(self, held: Callable[[], Mapping[str, Served]], views: Views, clock: Callable[[], datetime]) -> None:
        self._held = held
        self._views = views
        self._clock = clock

    def collect(self) -> Iterator[GaugeMetricFamily]:
        labels = ["definition"]
        champion = GaugeMetricFamily(
            "headrace_champion_generation", "The generation last seen to be served.", labels=labels
        )
        age = GaugeMetricFamily(
            "headrace_answer_age_seconds", "Seconds since the instant up to which answers count.", labels=labels
        )
        keys = GaugeMetricFamily("headrace_view_keys", "Keys held in this process.", labels=labels)
        view_age = GaugeMetricFamily(
            "headrace_view_age_seconds", "Seconds since the instant up to which the view counts.", labels=labels
        )
        now = self._clock()
        for definition, served in sorted(self._held().items()):
            champion.add_metric([definition], served.champion.generation)
            age.add_metric([definition], served.age_s(now))
        for view in self._views.all():
            keys.add_metric([view.definition], len(view))
            if view.last is not None:
                view_age.add_metric([view.definition], view.last.age_s(now))
        yield from (champion, age, keys, view_age)
