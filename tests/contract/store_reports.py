"""What is kept for people: which definitions there are, and what commands found out about them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from store_cases import NOW, ONE, SEGMENTS, publish

from headrace.errors import StoreError
from headrace.stores.port import Store
from headrace.stores.reports import KEPT, Report


def report(number: int, kind: str = "verify", **changes: object) -> Report:
    told = {"ok": True, "summary": f"number {number}", "facts": {"checked": number, "share": 0.5}, **changes}
    return Report(kind, NOW + timedelta(microseconds=number), number + 1, **told)  # type: ignore[arg-type]


class ReportsKept:
    """The catalogue, and reports that stay while they are new."""

    def test_a_definition_is_listed_once_it_is_published(self, store: Store) -> None:
        assert store.definitions() == []
        publish(store, 1, ONE)
        publish(store, 1, ONE, name="rides")
        publish(store, 2, ONE)
        assert store.definitions() == ["rides", SEGMENTS]

    def test_reports_come_newest_first_whatever_their_kind(self, store: Store) -> None:
        added = [report(1), report(3, ok=False), report(2, "run", ok=None, facts={"of": ["ü", None, {"a": 1}]})]
        for one in added:
            store.add_report(SEGMENTS, one)
        assert store.reports(SEGMENTS) == [added[1], added[2], added[0]]
        assert store.reports("rides") == []

    def test_of_each_kind_the_newest_stay(self, store: Store) -> None:
        store.add_report(SEGMENTS, report(0, "run"))
        for number in range(KEPT + 3):
            store.add_report(SEGMENTS, report(number))
        kept = store.reports(SEGMENTS)
        assert [one.generation - 1 for one in kept if one.kind == "verify"] == list(range(KEPT + 2, 2, -1))
        assert [one.kind for one in kept].count("run") == 1

    def test_facts_that_are_too_large_are_refused(self, store: Store) -> None:
        with pytest.raises(StoreError, match="too large; found 200"):
            report(1, facts={"text": "x" * 200_000})
