"""Reports and the catalogue of definitions in DynamoDB.

A report is (`<definition>`, `report#<kind>#<instant>`); the catalogue is the partition `#definitions`, one item a
name, which no definition's own key can be in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from headrace.stores import items
from headrace.stores.items import Item
from headrace.stores.reports import INSTANT, KEPT, Report, instant
from headrace.stores.table import Table

CATALOGUE = "#definitions"
REPORT = "report#"


class DynamoDBReports:
    """The `Reports` of a table."""

    _table: Table

    def definitions(self) -> list[str]:
        return [item["sk"]["S"] for item in self._below(CATALOGUE, "")]

    def add_report(self, definition: str, report: Report) -> None:
        self._table.call("PutItem", {"Item": _item(definition, report)})
        kept = [item["sk"]["S"] for item in self._below(definition, f"{REPORT}{report.kind}#", only="sk")]
        for old in kept[:-KEPT]:
            self._table.call("DeleteItem", {"Key": items.key(definition, old)})

    def reports(self, definition: str) -> list[Report]:
        found = [_report(item) for item in self._below(definition, REPORT)]
        return sorted(found, key=lambda report: report.at, reverse=True)

    def _enlist(self, definition: str) -> None:
        self._table.call("PutItem", {"Item": items.key(CATALOGUE, definition)})

    def _below(self, pk: str, prefix: str, only: str | None = None) -> Iterator[Item]:
        """The items of a partition whose sort key begins so, in its order; `only` that attribute of each."""
        condition, values = "pk = :pk", {":pk": items.text(pk)}
        if prefix:
            condition += " AND begins_with(sk, :sk)"
            values[":sk"] = items.text(prefix)
        query = {
            "ConsistentRead": True,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": values,
            **({"ProjectionExpression": only} if only else {}),
        }
        yield from self._table.pages("Query", query)


def _item(definition: str, report: Report) -> Item:
    item = items.key(definition, f"{REPORT}{report.kind}#{instant(report.at)}") | {
        "generation": items.number(report.generation),
        "summary": items.text(report.summary),
        "facts": items.text(report.facts_text),
    }
    if report.ok is not None:
        item["ok"] = {"BOOL": report.ok}
    return item


def _report(item: Item) -> Report:
    _, kind, at = item["sk"]["S"].split("#")
    return Report(
        kind=kind,
        at=datetime.strptime(at, INSTANT).replace(tzinfo=UTC),
        generation=int(item["generation"]["N"]),
        ok=item["ok"]["BOOL"] if "ok" in item else None,
        summary=item["summary"]["S"],
        facts=json.loads(item["facts"]["S"]),
    )
