"""What a scrape of /metrics says; every server has a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from headrace.serving.merge import Served
from headrace.serving.rehearsal import Rehearsal
from headrace.serving.sampled import AnswerLog
from headrace.serving.views import Views

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Counts of requests and store errors, latencies, what each champion pointer last read says, and what was dropped.

    log: where answers are logged. rehearsal: where the challenger scores.
    """

    def __init__(
        self,
        held: Callable[[], Mapping[str, Served]],
        views: Views,
        clock: Callable[[], datetime],
        log: AnswerLog | None,
        rehearsal: Rehearsal,
    ) -> None:
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
        self._registry.register(_Beside(log, rehearsal))

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


class _Beside(Collector):
    """What is done beside answering, and what there was no room for."""

    def __init__(self, log: AnswerLog | None, rehearsal: Rehearsal) -> None:
        self._log = log
        self._rehearsal = rehearsal

    def collect(self) -> Iterator[CounterMetricFamily]:
        if self._log is not None:
            told = "Answers that were drawn to be logged, and were not."
            yield CounterMetricFamily("headrace_answers_dropped", told, value=self._log.dropped)
        for name, told in (
            ("compared", "Records that champion and challenger both scored."),
            ("differing", "Records that champion and challenger scored differently."),
            ("dropped", "Records that the challenger was to score, and did not."),
        ):
            family = CounterMetricFamily(f"headrace_shadow_{name}", told, labels=["definition"])
            for definition, counts in sorted(self._rehearsal.counts.items()):
                family.add_metric([definition], getattr(counts, name))
            yield family
