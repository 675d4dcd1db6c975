"""Conditions under which standing items are replaced, as DynamoDB's requests spell them. Pure."""

from __future__ import annotations

from typing import Any

from headrace.stores import items
from headrace.stores.items import Item
from headrace.stores.port import Lease, Progress, Status, padded

ABSENT: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}


def epoch_is(epoch: int) -> dict[str, Any]:
    """The item stands at that epoch; 0: it does not stand."""
    if epoch == 0:
        return ABSENT
    return {"ConditionExpression": "epoch = :epoch", "ExpressionAttributeValues": {":epoch": items.number(epoch)}}


def unmoved(progress: Progress | None) -> dict[str, Any]:
    """The progress item is the one that was read; None: it does not stand."""
    if progress is None:
        return ABSENT
    return {
        "ConditionExpression": "epoch = :epoch AND #vector = :vector AND as_of = :as_of",
        "ExpressionAttributeNames": {"#vector": "vector"},
        "ExpressionAttributeValues": {
            ":epoch": items.number(progress.epoch),
            ":vector": items.vector_text(progress.vector),
            ":as_of": items.text(progress.as_of.isoformat()),
        },
    }


def holder_is(lease: Lease) -> dict[str, Any]:
    """The lease is this holder's."""
    return {
        "ConditionExpression": "#owner = :owner AND #token = :token",
        "ExpressionAttributeNames": {"#owner": "owner", "#token": "token"},
        "ExpressionAttributeValues": {":owner": items.text(lease.owner), ":token": items.number(lease.token)},
    }


def written_before(writes: int) -> dict[str, Any]:
    """The item was written one time less; 1: it does not stand."""
    if writes == 1:
        return ABSENT
    return {
        "ConditionExpression": "#writes = :writes",
        "ExpressionAttributeNames": {"#writes": "n"},
        "ExpressionAttributeValues": {":writes": items.number(writes - 1)},
    }


def status_update(table: str, definition: str, generation: int, status: Status, count: int | None = None) -> Item:
    """The step of a transaction that changes the status, and the number of items, of a ledger entry that stands."""
    values = {":status": items.text(status)} | ({} if count is None else {":items": items.number(count)})
    return {
        "Update": {
            "TableName": table,
            "Key": items.key(definition, items.LEDGER + padded(generation)),
            "UpdateExpression": "SET #status = :status" + ("" if count is None else ", #items = :items"),
            "ConditionExpression": "attribute_exists(pk)",
            "ExpressionAttributeNames": {"#status": "status"} | ({} if count is None else {"#items": "items"}),
            "ExpressionAttributeValues": values,
        }
    }
