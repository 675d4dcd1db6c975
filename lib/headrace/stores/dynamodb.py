"""The store in one DynamoDB table with text keys `pk` and `sk`; see `items` for how records stand in it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.errors import StoreError
from headrace.schemas import Vector
from headrace.stores import items, publication
from headrace.stores.conditions import ABSENT, epoch_is, holder_is, status_update, unmoved, written_before
from headrace.stores.connection import Again, Connection
from headrace.stores.dynamodb_reports import DynamoDBReports
from headrace.stores.items import speed_of
from headrace.stores.port import (
    Champion,
    Held,
    Lease,
    LedgerEntry,
    ModelItem,
    Progress,
    SpeedItem,
    SpeedReport,
    Status,
    Version,
    Write,
    WriteReport,
    padded,
)
from headrace.stores.statements import Bulk, GuardedWrite, RemoveSpeed, RemoveVersions, SetVersion
from headrace.stores.table import READ_S, Table, by_pk_of

if TYPE_CHECKING:
    from headrace.stores.reader import DynamoDBReader

_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")


class DynamoDBStore(DynamoDBReports):
    """A `Store` in the table `table`; threads may share it.

    endpoint: None for AWS. retry_s: how long throttled bulk writes are repeated.
    """

    def __init__(
        self, table: str, region: str, endpoint: str | None, *, retry_s: float = 120.0, create: bool = False
    ) -> None:
        if not _TABLE.fullmatch(table):
            raise StoreError(f"{table!r} is not a table name", expected="3 to 255 of letters, digits, _ . -")
        self._create = create
        self._connection = Connection(region, endpoint, retry_s=retry_s)
        self._table = Table(table, self._connection)
        self._bulk = Bulk(self._connection)

    def prepare(self) -> None:
        """Wait for the table; create it, billed by request, where the settings allow that."""
        self._table.prepare(create=self._create)

    def close(self) -> None:
        self._connection.close()

    def reader(self, attempt_s: float) -> DynamoDBReader | None:
        """The reading half for one event loop, which the caller closes; None where calls go through a proxy."""
        from headrace.stores.reader import reader_over

        return reader_over(self._table.name, self._connection, attempt_s)

    # -- readers ------------------------------------------------------------------------------
    def champion(self, definition: str) -> Champion:
        item = self._table.get(definition, items.CHAMPION)
        return items.champion_of(item) if item else Champion()

    def ledger(self, definition: str) -> list[LedgerEntry]:
        query = {
            "ConsistentRead": True,
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :sk)",
            "ExpressionAttributeValues": {":pk": items.text(definition), ":sk": items.text(items.LEDGER)},
        }
        return [items.entry_of(item) for item in self._table.pages("Query", query)]

    def read(self, definition: str, entities: Sequence[str]) -> dict[str, dict[int, Version]]:
        by_pk = by_pk_of(definition, entities)
        found = self._table.batch_get([items.key(pk, items.BATCH) for pk in by_pk])
        return {by_pk[item["pk"]["S"]]: items.versions_of(item) for item in found}

    def scan(self, definition: str, segment: int = 0, segments: int = 1) -> Iterator[tuple[str, dict[int, Version]]]:
        for entity, item in self._table.scanned(definition, items.BATCH, segment, segments):
            yield entity, items.versions_of(item)

    # -- the publisher ------------------------------------------------------------------------
    def lease(self, definition: str) -> Lease | None:
        item = self._table.get(definition, items.PUBLISHER)
        return items.lease_of(item) if item else None

    def acquire_lease(self, definition: str, owner: str, now: datetime, ttl: timedelta) -> Lease:
        def attempt() -> Lease:
            current = self.lease(definition)
            lease = publication.granted(current, definition, owner, now, ttl)
            if not self._replace_lease(current, lease, unrenewed=True):
                raise Again("the lease changed meanwhile")
            return lease

        return self._connection.repeating(attempt, READ_S)

    def renew_lease(self, lease: Lease, now: datetime, ttl: timedelta) -> Lease:
        renewed = replace(lease, expires_at=now + ttl)
        if not self._replace_lease(lease, renewed):
            publication.check_lease(self.lease(lease.definition), lease)
        return renewed

    def release_lease(self, lease: Lease) -> None:
        self._replace_lease(lease, replace(lease, owner=""))

    def open_publication(self, lease: Lease, entry: LedgerEntry) -> None:
        self._enlist(lease.definition)

        def attempt() -> None:
            definition = lease.definition
            publication.check_lease(self.lease(definition), lease)
            # The champion before the ledger: what is added in between moves the epoch, and the write below fails.
            champion = self.champion(definition)
            ledger = {known.generation: known for known in self.ledger(definition)}
            if not publication.admits(entry, ledger, champion):
                return
            opened = items.ledger_item(definition, replace(entry, status="publishing"))
            advanced = items.champion_item(
                definition, replace(champion, epoch=champion.epoch + 1), secrets.token_hex(16)
            )
            self._table.transact(
                self._lease_stands(lease),
                {"Put": {"TableName": self._table.name, "Item": opened}},
                {"Put": {"TableName": self._table.name, "Item": advanced, **epoch_is(champion.epoch)}},
            )

        self._connection.repeating(attempt, READ_S)

    def write_versions(self, definition: str, generation: int, writes: Iterable[Write]) -> WriteReport:
        changes = (SetVersion(self._table.name, definition, generation, write) for write in writes)
        return self._table.checked(lambda: self._bulk.carry_out(changes))

    def seal_publication(self, lease: Lease, generation: int, items: int) -> None:
        def attempt() -> None:
            publication.check_lease(self.lease(lease.definition), lease)
            entry = self._entry(lease.definition, generation)
            publication.check_seal(entry, generation)
            self._table.transact(
                self._lease_stands(lease),
                status_update(self._table.name, lease.definition, generation, "sealed", items),
            )

        self._connection.repeating(attempt, READ_S)

    def mark(self, definition: str, generation: int, status: Status) -> None:
        update = status_update(self._table.name, definition, generation, status)["Update"]
        if not self._table.conditionally("UpdateItem", update):
            raise publication.not_in_ledger(definition, generation)

    # -- the speed layer ----------------------------------------------------------------------
    def read_speed(
        self, definition: str, generation: int, entities: Sequence[str], *, patient: bool = False
    ) -> dict[str, Held]:
        by_pk = by_pk_of(definition, entities)
        speed = items.SPEED + padded(generation)
        found: dict[str, Held] = {}
        keys = [items.key(pk, sk) for pk in by_pk for sk in (items.BATCH, speed)]
        for item in self._table.batch_get(keys, None if patient else READ_S):
            held = found.get(entity := by_pk[item["pk"]["S"]], Held())
            if item["sk"]["S"] == speed:
                found[entity] = replace(held, speed=items.speed_of(item))
            else:
                found[entity] = replace(held, versions=items.versions_of(item))
        return found

    def write_speed(self, definition: str, generation: int, items: Mapping[str, SpeedItem]) -> SpeedReport:
        changes = [
            GuardedWrite(self._table.name, definition, generation, entity, item) for entity, item in items.items()
        ]
        written = self._table.checked(lambda: self._bulk.carry_out(changes))
        refused = {change.entity: change.standing for change in changes if change.refused}
        # An INSERT that is refused may come without the item that stands.
        unknown = [entity for entity, standing in refused.items() if standing is None]
        read: dict[str, Held] = {}
        for start in range(0, len(unknown), publication.MAX_READ):
            some = unknown[start : start + publication.MAX_READ]
            read |= self.read_speed(definition, generation, some, patient=True)
        standing = {
            entity: speed_of(item) if item is not None else read.get(entity, Held()).speed
            for entity, item in refused.items()
        }
        return SpeedReport(standing, replace(written, items=written.items - len(refused)))

    def scan_speed(
        self, definition: str, generation: int, segment: int = 0, segments: int = 1
    ) -> Iterator[tuple[str, SpeedItem]]:
        for entity, item in self._table.scanned(definition, items.SPEED + padded(generation), segment, segments):
            yield entity, items.speed_of(item)

    def speed_keys(self, definition: str, segment: int = 0, segments: int = 1) -> Iterator[tuple[str, int]]:
        for entity, item in self._table.scanned(definition, items.SPEED, segment, segments):
            yield entity, int(item["sk"]["S"].removeprefix(items.SPEED))

    def remove_speed(self, definition: str, keys: Iterable[tuple[str, int]]) -> WriteReport:
        changes = (RemoveSpeed(self._table.name, definition, generation, entity) for entity, generation in keys)
        return self._table.checked(lambda: self._bulk.carry_out(changes))

    def read_model(self, definition: str, generation: int) -> ModelItem | None:
        item = self._table.get(definition, items.MODEL + padded(generation))
        return items.model_of(item) if item else None

    def write_model(self, definition: str, generation: int, item: ModelItem) -> bool:
        put = items.model_item(definition, generation, item)
        request = {"TableName": self._table.name, "Item": put, **written_before(item.writes)}
        return self._table.conditionally("PutItem", request)

    def remove_model(self, definition: str, generation: int) -> None:
        self._table.call("DeleteItem", {"Key": items.key(definition, items.MODEL + padded(generation))})

    def progress(self, definition: str, generation: int) -> Progress | None:
        item = self._table.get(definition, items.PROGRESS + padded(generation))
        return items.progress_of(item) if item else None

    def take_over(self, definition: str, generation: int, owner: str, start: Vector, as_of: datetime) -> Progress:
        def attempt() -> Progress:
            standing = self.progress(definition, generation)
            taken = publication.taken_over(standing, definition, generation, owner=owner, start=start, as_of=as_of)
            # Not the epoch alone: what its driver counted since it was read would be forgotten.
            if not self._put_progress(taken, unmoved(standing)):
                raise Again("the progress moved meanwhile")
            return taken

        return self._connection.repeating(attempt, READ_S)

    def advance(self, progress: Progress) -> None:
        if not self._put_progress(progress, epoch_is(progress.epoch)):
            raise publication.fenced(progress, self.progress(progress.definition, progress.generation))

    def _put_progress(self, progress: Progress, condition: Mapping[str, Any]) -> bool:
        put = {"TableName": self._table.name, "Item": items.progress_item(progress), **condition}
        return self._table.conditionally("PutItem", put)

    # -- the champion and the purge -----------------------------------------------------------
    def set_champion(
        self, definition: str, expected_epoch: int, champion: Champion, fence: Progress | None = None
    ) -> None:
        publication.check_succession(expected_epoch, champion)
        token = secrets.token_hex(16)
        put = {"TableName": self._table.name, "Item": items.champion_item(definition, champion, token)}
        put |= epoch_is(expected_epoch)

        def landed() -> bool:
            """Whether an attempt whose answer was lost had landed: the token tells."""
            standing = self._table.get(definition, items.CHAMPION)
            return bool(standing) and standing[items.MARK]["S"] == token

        if fence is None:
            if not self._table.conditionally("PutItem", put) and not landed():
                raise publication.moved(definition, f"epoch {expected_epoch}")
            return
        key = items.key(definition, items.PROGRESS + padded(fence.generation))
        stands = {"ConditionCheck": {"TableName": self._table.name, "Key": key, **epoch_is(fence.epoch)}}

        def attempt() -> None:
            if landed():
                return
            publication.check_fence(fence, self.progress(definition, fence.generation))
            if self.champion(definition).epoch != expected_epoch:
                raise publication.moved(definition, f"epoch {expected_epoch}")
            self._table.transact(stands, {"Put": put})

        self._connection.repeating(attempt, READ_S)

    def remove_versions(self, definition: str, removals: Mapping[str, Iterable[int]]) -> WriteReport:
        changes = (RemoveVersions(self._table.name, definition, entity, gone) for entity, gone in removals.items())
        return self._table.checked(lambda: self._bulk.carry_out(changes))

    # -- pieces -------------------------------------------------------------------------------
    def _replace_lease(self, current: Lease | None, lease: Lease, *, unrenewed: bool = False) -> bool:
        """Whether `current` still stood; `unrenewed`: and its holder has not extended it meanwhile."""
        condition = ABSENT
        if current is not None:
            condition = holder_is(current)
            if unrenewed:
                condition["ConditionExpression"] += " AND expires_at = :expires_at"
                condition["ExpressionAttributeValues"][":expires_at"] = items.text(current.expires_at.isoformat())
        return self._table.conditionally(
            "PutItem", {"TableName": self._table.name, "Item": items.lease_item(lease), **condition}
        )

    def _lease_stands(self, lease: Lease) -> dict[str, Any]:
        key = items.key(lease.definition, items.PUBLISHER)
        return {"ConditionCheck": {"TableName": self._table.name, "Key": key, **holder_is(lease)}}

    def _entry(self, definition: str, generation: int) -> LedgerEntry | None:
        item = self._table.get(definition, items.LEDGER + padded(generation))
        return items.entry_of(item) if item else None
