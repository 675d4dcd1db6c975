"""What a driver measures: names, labels and values as Prometheus reads them."""

from __future__ import annotations

from batches import NOW, batch
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from headrace.speed.ingest import IngestProgress
from headrace.speed.metrics import Metrics
from headrace.speed.settling import FRESHNESS_S


def read(metrics: Metrics) -> dict[tuple[str, str], float]:
    """What Prometheus would: (name, labels) -> value."""
    return {
        (sample.name, ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_micro_batches_of_two_generations() -> None:
    metrics = Metrics("taps", "tapped")
    metrics.updated(batch(1, 0.1, 0.3, settle=0.25, advance=0.05))
    metrics.updated(batch(1, 0.1, recut=3, settle=0.5, recut_again=0.1))
    metrics.updated(batch(2, replayed=1))
    metrics.heard(1, {0: 5, 1: 0}, NOW)
    metrics.serving(1, 2)
    found = read(metrics)
    first, second = "definition=taps,generation=1", "definition=taps,generation=2"
    assert found["headrace_update_items_total", first] == 3
    assert found["headrace_update_guard_failures_total", first] == 4
    assert found["headrace_update_recut_items_total", first] == 3
    assert found["headrace_update_replayed_batches_total", first] == 1
    assert found["headrace_update_replayed_batches_total", second] == 1
    assert found["headrace_update_batch_seconds_sum", first] == 1.0
    assert found["headrace_update_phase_seconds_sum", f"{first},phase=settle"] == 0.75
    assert found["headrace_update_phase_seconds_count", f"{first},phase=advance"] == 1
    assert found["headrace_update_lag", f"{first},partition=0"] == 5
    assert found["headrace_update_as_of", first] == NOW.timestamp()
    assert found["headrace_champion_generation", "definition=taps"] == 1
    assert found["headrace_candidate_generation", "definition=taps"] == 2


def test_freshness_is_a_cumulative_histogram() -> None:
    metrics = Metrics("taps", "tapped")
    assert not any("freshness" in name for name, _ in read(metrics))
    metrics.updated(batch(1, 0.01, 0.12, 0.12, 4.0))
    metrics.updated(batch(1, 400.0))
    found = read(metrics)
    of = "definition=taps,generation=1"
    below = {
        float(labels.rpartition("le=")[2]): value
        for (name, labels), value in found.items()
        if name == "headrace_freshness_seconds_bucket"
    }
    assert list(below) == [*FRESHNESS_S, float("inf")]
    assert list(below.values()) == sorted(below.values())
    assert (below[0.05], below[0.1], below[0.15], below[3.0], below[5.0], below[300.0]) == (1, 1, 3, 3, 4, 4)
    assert below[float("inf")] == found["headrace_freshness_seconds_count", of] == 5
    assert round(found["headrace_freshness_seconds_sum", of], 6) == 404.25


def test_what_is_no_longer_counted_has_no_lag_and_no_age() -> None:
    metrics = Metrics("taps", "tapped")
    for generation in (1, 2):
        metrics.updated(batch(generation, 0.1))
        metrics.heard(generation, {0: 7, 1: 8}, NOW)
    metrics.dropped(1)
    metrics.dropped(3)
    found = read(metrics)
    left = {labels for name, labels in found if name in ("headrace_update_lag", "headrace_update_as_of")}
    assert left == {f"definition=taps,generation=2{rest}" for rest in ("", ",partition=0", ",partition=1")}
    assert found["headrace_update_items_total", "definition=taps,generation=1"] == 1


def test_landing_and_hand_overs() -> None:
    metrics = Metrics("taps", "tapped")
    metrics.ingested(IngestProgress(rows=10, quarantined={"not JSON": 2}, seconds=2.0, phases={"land": 1.5}))
    metrics.ingested(IngestProgress(rows=1, quarantined={"not JSON": 1}, replayed=4, seconds=1.0))
    metrics.landing_heard({"0": 3})
    metrics.handed_over(7.5)
    found = read(metrics)
    assert found["headrace_ingest_rows_total", "stream=tapped"] == 11
    assert found["headrace_ingest_quarantined_total", "reason=not JSON,stream=tapped"] == 3
    assert found["headrace_ingest_replayed_batches_total", "stream=tapped"] == 1
    assert found["headrace_ingest_batch_seconds_sum", "stream=tapped"] == 3.0
    assert found["headrace_ingest_phase_seconds_sum", "phase=land,stream=tapped"] == 1.5
    assert found["headrace_ingest_lag", "partition=0,stream=tapped"] == 3
    assert found["headrace_handover_seconds_count", "definition=taps"] == 1
    assert found["headrace_handover_seconds_sum", "definition=taps"] == 7.5
