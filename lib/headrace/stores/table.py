"""Calls on one DynamoDB table, each repeated while it is throttled, each refusal nobody expected named."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from headrace.errors import StoreError
from headrace.stores import items
from headrace.stores.connection import Again, Connection, NoTable, Refusal
from headrace.stores.items import Item
from headrace.stores.publication import MAX_READ, check_read

T = TypeVar("T")
READ_S = 5.0  # how long a single small call is repeated; bulk writes wait for the whole retry bound
_CREATE_S = 60.0


class Table:
    """The table `name` behind a connection."""

    def __init__(self, name: str, connection: Connection) -> None:
        self.name = name
        self._connection = connection

    def prepare(self, *, create: bool) -> None:
        """Wait for the table; create it, billed by request, where `create` allows that."""
        if self._status() is None:
            if not create:
                raise StoreError(f"the table {self.name!r} does not exist", do="create it with keys pk and sk, text")
            self._make_table()
        self._connection.repeating(self._check_active, _CREATE_S)

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        return self.checked(
            lambda: self._connection.call(operation, {"TableName": self.name, **request}, within_s=READ_S)
        )

    @staticmethod
    def checked(call: Callable[[], T]) -> T:
        """The call's result, a refusal nobody expected turned into a StoreError."""
        try:
            return call()
        except Refusal as error:
            raise StoreError("the store refused a request", found=str(error)) from error

    def get(self, pk: str, sk: str) -> Item:
        item: Item = self.call("GetItem", {"Key": items.key(pk, sk), "ConsistentRead": True}).get("Item", {})
        return item

    def batch_get(self, keys: Sequence[Item], within_s: float | None = READ_S) -> list[Item]:
        """The items that are there, of any number of distinct keys."""
        found: list[Item] = []
        for start in range(0, len(keys), MAX_READ):
            left = list(keys[start : start + MAX_READ])

            def attempt() -> None:
                nonlocal left
                request = {"RequestItems": {self.name: {"Keys": left, "ConsistentRead": True}}}
                answer = self._connection.once("BatchGetItem", request)
                found.extend(answer["Responses"].get(self.name, []))
                left = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
                if left:
                    raise Again(f"{len(left)} keys were not processed")

            self.checked(partial(self._connection.repeating, attempt, within_s))
        return found

    def scanned(self, definition: str, sk: str, segment: int, segments: int) -> Iterator[tuple[str, Item]]:
        prefix = items.batch_pk(definition, "")
        request = {
            "ConsistentRead": True,
            "Segment": segment,
            "TotalSegments": segments,
            "FilterExpression": "begins_with(pk, :pk) AND begins_with(sk, :sk)",
            "ExpressionAttributeValues": {":pk": items.text(prefix), ":sk": items.text(sk)},
        }
        for item in self.pages("Scan", request):
            yield item["pk"]["S"].removeprefix(prefix), item

    def pages(self, operation: str, request: Mapping[str, Any]) -> Iterator[Item]:
        start: dict[str, Any] = {}
        while True:
            page = self.call(operation, {**request, **start})
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def conditionally(self, operation: str, request: Mapping[str, Any]) -> bool:
        """Whether the call's condition held."""
        try:
            self._connection.call(operation, request, within_s=READ_S)
        except Refusal as error:
            if error.code == "ConditionalCheckFailedException":
                return False
            raise StoreError("the store refused a request", found=str(error)) from error
        return True

    def transact(self, *steps: Mapping[str, Any]) -> None:
        """All steps or none; Again when a condition failed, so that the caller reads and decides anew."""
        request = {"TransactItems": list(steps), "ClientRequestToken": secrets.token_hex(16)}
        try:
            self._connection.call("TransactWriteItems", request, within_s=READ_S)
        except Refusal as error:
            if error.code == "TransactionCanceledException":
                raise Again(error.message) from error
            raise StoreError("the store refused a request", found=str(error)) from error

    def _status(self) -> str | None:
        try:
            answer = self._connection.call("DescribeTable", {"TableName": self.name}, within_s=READ_S)
        except NoTable:
            return None
        return str(answer["Table"]["TableStatus"])

    def _check_active(self) -> None:
        if self._status() != "ACTIVE":
            raise Again(f"the table {self.name!r} is not active yet")

    def _make_table(self) -> None:
        names = ("pk", "sk")
        request = {
            "TableName": self.name,
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in names],
            "KeySchema": [{"AttributeName": n, "KeyType": k} for n, k in zip(names, ("HASH", "RANGE"), strict=True)],
            "BillingMode": "PAY_PER_REQUEST",
        }
        try:
            self._connection.call("CreateTable", request)
        except Refusal as error:
            if error.code != "ResourceInUseException":  # another process was first
                raise StoreError(f"the table {self.name!r} cannot be created", found=str(error)) from error


def by_pk_of(definition: str, entities: Sequence[str]) -> dict[str, str]:
    """Partition key -> entity, each once; an entity too long to be a key has no item."""
    by_pk = {items.batch_pk(definition, entity): entity for entity in entities}
    check_read(len(by_pk))
    return {pk: e for pk, e in by_pk.items() if len(pk.encode("utf-8", "surrogatepass")) <= items.MAX_KEY_BYTES}
