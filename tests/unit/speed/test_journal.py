"""One JSON object a micro-batch and a hand-over, with keys that others parse."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from batches import batch

from headrace.cli.output import log_lines
from headrace.errors import CannotCatchUp
from headrace.schemas import Vector
from headrace.speed import journal
from headrace.speed.ingest import IngestProgress


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the log's lines on stderr hold."""
    stderr = StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    logger = logging.getLogger(journal.NAME)
    handlers, level, propagate = logger.handlers, logger.level, logger.propagate
    log_lines(journal.NAME, logging.INFO)
    yield lambda: [json.loads(line) for line in stderr.getvalue().splitlines()]
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


def test_a_micro_batch_that_was_counted(said: Callable[[], list[dict[str, Any]]]) -> None:
    journal.counted("taps", batch(3, 0.1, replayed=2, recut=1, settle=0.25))
    (line,) = said()
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "counted",
        "definition": "taps",
        "generation": 3,
        "written": 1,
        "replayed": 2,
        "recut": 1,
        "guard_failures": 2,
        "throttled": 0,
        "seconds": 0.5,
        "phases": {"settle": 0.25},
        "as_of": "2026-01-01T00:00:00+00:00",
        "vector": [],
    }


def test_landing_and_hand_overs_and_what_is_a_warning(said: Callable[[], list[dict[str, Any]]]) -> None:
    progress = IngestProgress(rows=3, quarantined={"not JSON": 1}, landed=Vector.of("t", {0: 4}), lag={0: 2})
    journal.landed("tapped", progress)
    journal.landed("tapped", IngestProgress(alarms=1))
    journal.handed_over("taps", 1, 2, seconds=3.0, still_s=0.5, at=Vector())
    with pytest.raises(CannotCatchUp), journal.refusals("taps", 3):
        raise CannotCatchUp("not yet")
    lines = said()
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", "landed"),
        ("warning", "landed"),
        ("info", "handed_over"),
        ("warning", "handover_refused"),
    ]
    landed, _, handed, refused = lines
    assert landed["quarantined"] == {"not JSON": 1}
    assert (landed["stream"], landed["rows"], landed["lag"], landed["vector"]) == (
        "tapped",
        3,
        {"0": 2},
        [["t", "0", 4]],
    )
    assert set(landed) == {
        *("time", "level", "event", "stream", "rows", "quarantined", "replayed", "lag"),
        *("seconds", "phases", "vector"),
    }
    assert (handed["former"], handed["generation"], handed["seconds"], handed["still_s"]) == (1, 2, 3.0, 0.5)
    assert (refused["generation"], refused["error"]) == (3, "not yet")


def test_below_its_level_nothing_is_said(said: Callable[[], list[dict[str, Any]]]) -> None:
    log_lines(journal.NAME, "WARNING")
    journal.counted("taps", batch(3, 0.1))
    assert said() == []
