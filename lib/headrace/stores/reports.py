"""What commands found out about a definition, kept beside what is served, for people who look at the server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from headrace.errors import StoreError

KEPT = 10  # reports of one kind; older ones are removed when one is added
# An item is at most 400 KB; a page of a few reports should stay far below.
MAX_FACTS_BYTES = 200_000
INSTANT = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True)
class Report:
    """The outcome of one command on one generation.

    kind: run, verify, answers or compare. ok: whether it found what it should; None where nothing
    says what it should be. summary: a sentence. facts: the details, a JSON value. Raises StoreError for facts that are
    too large.
    """

    kind: str
    at: datetime
    generation: int
    ok: bool | None
    summary: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = len(self.facts_text.encode())
        if size > MAX_FACTS_BYTES:
            raise StoreError(
                f"the facts of a report on {self.kind} are too large",
                found=f"{size} bytes",
                expected=f"at most {MAX_FACTS_BYTES}",
            )

    @property
    def facts_text(self) -> str:
        return json.dumps(self.facts, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)

    def to_json(self) -> dict[str, Any]:
        """The report as the HTTP API spells it."""
        return {
            "kind": self.kind,
            "at": instant(self.at),
            "generation": self.generation,
            "ok": self.ok,
            "summary": self.summary,
            "facts": dict(self.facts),
        }


class Reports(Protocol):
    """The part of a store that is for people: which definitions there are, and what was found out about them."""

    def definitions(self) -> list[str]:
        """Names that were ever published to this table, sorted."""

    def add_report(self, definition: str, report: Report) -> None:
        """Keep a report; of its kind the newest KEPT stay."""

    def reports(self, definition: str) -> list[Report]:
        """What is kept of every kind, newest first."""


def instant(at: datetime) -> str:
    """An instant in UTC of one length, so that text order is time order.

    >>> instant(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05.000000Z'
    """
    return at.astimezone(UTC).strftime(INSTANT)
