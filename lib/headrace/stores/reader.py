"""The reading half of the store in DynamoDB, asked from one event loop; see `items` for how records stand in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from headrace.errors import StoreError
from headrace.stores import items
from headrace.stores.asking import Asking
from headrace.stores.connection import Again, Connection, Refusal
from headrace.stores.items import Item
from headrace.stores.port import Champion, Held, LedgerEntry, ModelItem, Progress, SpeedItem, Version, padded
from headrace.stores.table import by_pk_of

T = TypeVar("T")
MAX_KEYS = 100  # Source: DynamoDB API reference, BatchGetItem


class DynamoDBReader:
    """Reads of the table `table`, strongly consistent; `deadline` is always one of the monotonic clock."""

    def __init__(self, table: str, asking: Asking) -> None:
        self._name = table
        self._asking = asking

    async def close(self) -> None:
        await self._asking.close()

    async def heads(self, definition: str, generation: int, deadline: float) -> tuple[Champion, Progress | None]:
        """The champion and how far its speed layer is; one call where `generation`, the last known, still is it."""
        progress_key = items.key(definition, items.PROGRESS + padded(generation or 1))
        found = {
            item["sk"]["S"]: item
            for item in await self._batch([items.key(definition, items.CHAMPION), progress_key], deadline)
        }
        champion = items.champion_of(found[items.CHAMPION]) if items.CHAMPION in found else Champion()
        if champion.generation in (0, generation or 1):
            item = found.get(progress_key["sk"]["S"])
        else:
            item = await self._get(definition, items.PROGRESS + padded(champion.generation), deadline)
        return champion, items.progress_of(item) if item and champion.generation else None

    async def entry(self, definition: str, generation: int, deadline: float) -> LedgerEntry | None:
        """What the table's ledger says of one generation."""
        item = await self._get(definition, items.LEDGER + padded(generation), deadline)
        return items.entry_of(item) if item else None

    async def ledger(self, definition: str, deadline: float) -> list[LedgerEntry]:
        """Every generation in the table's ledger, by number."""
        request = {
            "TableName": self._name,
            "ConsistentRead": True,
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :sk)",
            "ExpressionAttributeValues": {":pk": items.text(definition), ":sk": items.text(items.LEDGER)},
        }
        found: list[LedgerEntry] = []
        while True:
            page = await self._checked(lambda: self._asking.call("Query", request, deadline))
            found += [items.entry_of(item) for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                return found
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    async def model(self, definition: str, generation: int, deadline: float) -> ModelItem | None:
        """The generation's model item."""
        item = await self._get(definition, items.MODEL + padded(generation), deadline)
        return items.model_of(item) if item else None

    async def held(
        self, definition: str, generation: int, entities: Sequence[str], deadline: float, *, states: bool
    ) -> dict[str, Held]:
        """What is held of each entity; at most 100 entities, in two calls at once where one does not do.

        states: whether the states are decoded; without, they are empty.
        """
        by_pk = by_pk_of(definition, entities)
        speed = items.SPEED + padded(generation)
        keys = [items.key(pk, sk) for pk in by_pk for sk in (items.BATCH, speed)]
        if len(keys) <= MAX_KEYS:
            found = await self._batch(keys, deadline) if keys else []
        else:
            other = asyncio.create_task(self._batch(keys[MAX_KEYS:], deadline))
            try:
                found = await self._batch(keys[:MAX_KEYS], deadline) + await other
            finally:
                other.cancel()
        held: dict[str, Held] = {}
        for item in found:
            entity = by_pk[item["pk"]["S"]]
            before = held.get(entity)
            if item["sk"]["S"] == speed:
                held[entity] = Held(before.versions if before else {}, _speed(item, states=states))
            else:
                held[entity] = Held(_versions(item, states=states), before.speed if before else None)
        return held

    async def page(
        self, definition: str, start: Item | None, size: int, deadline: float, *, generation: int, whole: bool
    ) -> tuple[list[tuple[str, Held]], Item | None]:
        """The next of some `size` items of a scan, and where the next page starts (None: this was the last).

        Speed items of `generation`; whole: batch items too. An entity that has both comes in two parts. States are
        empty.
        """
        prefix, speed = items.batch_pk(definition, ""), items.SPEED + padded(generation)
        values = {":pk": items.text(prefix), ":speed": items.text(speed)}
        request = {
            "TableName": self._name,
            "ConsistentRead": True,
            "Limit": size,
            "FilterExpression": "begins_with(pk, :pk) AND " + ("sk IN (:speed, :batch)" if whole else "sk = :speed"),
            "ExpressionAttributeValues": values | ({":batch": items.text(items.BATCH)} if whole else {}),
        } | ({} if start is None else {"ExclusiveStartKey": start})
        answer = await self._checked(lambda: self._asking.call("Scan", request, deadline))
        found = []
        for item in answer["Items"]:
            entity = item["pk"]["S"].removeprefix(prefix)
            is_speed = item["sk"]["S"] == speed
            found.append((entity, Held({}, _speed(item, states=False)) if is_speed else Held(items.outputs_of(item))))
        return found, answer.get("LastEvaluatedKey")

    async def _get(self, pk: str, sk: str, deadline: float) -> Item:
        request = {"TableName": self._name, "Key": items.key(pk, sk), "ConsistentRead": True}
        answer = await self._checked(lambda: self._asking.call("GetItem", request, deadline))
        item: Item = answer.get("Item", {})
        return item

    async def _batch(self, keys: list[Item], deadline: float) -> list[Item]:
        """The items that are there; keys that were not processed are asked for again, and only they."""
        found: list[Item] = []
        left = keys

        async def attempt() -> None:
            nonlocal left
            request = {"RequestItems": {self._name: {"Keys": left, "ConsistentRead": True}}}
            answer = await self._asking.once("BatchGetItem", request, deadline)
            found.extend(answer["Responses"].get(self._name, []))
            left = answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
            if left:
                raise Again(f"{len(left)} keys were not processed")

        await self._checked(lambda: self._asking.repeating(attempt, deadline))
        return found

    @staticmethod
    async def _checked(call: Callable[[], Awaitable[T]]) -> T:
        """The call's result, a refusal nobody expected turned into a StoreError."""
        try:
            return await call()
        except Refusal as error:
            raise StoreError("the store refused a request", found=str(error)) from error


def reader_over(table: str, connection: Connection, attempt_s: float) -> DynamoDBReader | None:
    """A reader of the table where the connection leads; None where that is through a proxy."""
    if connection.is_proxied:
        return None
    return DynamoDBReader(table, Asking(connection.region, connection.url, attempt_s=attempt_s))


def _versions(item: Item, *, states: bool) -> dict[int, Version]:
    return items.versions_of(item) if states else items.outputs_of(item)


def _speed(item: Item, *, states: bool) -> SpeedItem:
    if states:
        return items.speed_of(item)
    return SpeedItem(b"", item["o"]["S"], items.vector_of(item["w"]), int(item["n"]["N"]))
