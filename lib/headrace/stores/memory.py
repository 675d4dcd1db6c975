"""The store in memory: one process, for tests and for trying things out."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zlib import crc32

from headrace.schemas import Vector
from headrace.stores import publication
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
)
from headrace.stores.reports import KEPT, Report


class MemoryStore:
    """A `Store` whose table is this object; every call is atomic, so it may be shared between threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._items: dict[str, dict[str, dict[int, Version]]] = defaultdict(dict)
        self._champions: dict[str, Champion] = {}
        self._ledgers: dict[str, dict[int, LedgerEntry]] = defaultdict(dict)
        self._leases: dict[str, Lease] = {}
        self._speed: dict[tuple[str, int], dict[str, SpeedItem]] = defaultdict(dict)
        self._models: dict[tuple[str, int], ModelItem] = {}
        self._progress: dict[tuple[str, int], Progress] = {}
        self._catalogue: set[str] = set()
        self._reports: dict[tuple[str, str], list[Report]] = defaultdict(list)

    def prepare(self) -> None:
        """Nothing to create."""

    def close(self) -> None:
        """Nothing to release; the contents stay with the object."""

    # -- readers ------------------------------------------------------------------------------
    def champion(self, definition: str) -> Champion:
        with self._lock:
            return self._champions.get(definition, Champion())

    def ledger(self, definition: str) -> list[LedgerEntry]:
        with self._lock:
            return [entry for _, entry in sorted(self._ledgers[definition].items())]

    def read(self, definition: str, entities: Sequence[str]) -> dict[str, dict[int, Version]]:
        publication.check_read(len(set(entities)))
        with self._lock:
            items = self._items[definition]
            return {entity: dict(items[entity]) for entity in entities if entity in items}

    def scan(self, definition: str, segment: int = 0, segments: int = 1) -> Iterator[tuple[str, dict[int, Version]]]:
        with self._lock:
            found = [(entity, dict(versions)) for entity, versions in self._items[definition].items()]
        for entity, versions in found:
            if _in_segment(entity, segment, segments):
                yield entity, versions

    # -- the publisher ------------------------------------------------------------------------
    def lease(self, definition: str) -> Lease | None:
        with self._lock:
            return self._leases.get(definition)

    def acquire_lease(self, definition: str, owner: str, now: datetime, ttl: timedelta) -> Lease:
        with self._lock:
            lease = publication.granted(self._leases.get(definition), definition, owner, now, ttl)
            self._leases[definition] = lease
            return lease

    def renew_lease(self, lease: Lease, now: datetime, ttl: timedelta) -> Lease:
        with self._lock:
            publication.check_lease(self._leases.get(lease.definition), lease)
            renewed = replace(lease, expires_at=now + ttl)
            self._leases[lease.definition] = renewed
            return renewed

    def release_lease(self, lease: Lease) -> None:
        with self._lock:
            current = self._leases.get(lease.definition)
            if current is not None and (current.owner, current.token) == (lease.owner, lease.token):
                self._leases[lease.definition] = replace(current, owner="")

    def open_publication(self, lease: Lease, entry: LedgerEntry) -> None:
        with self._lock:
            self._catalogue.add(lease.definition)
            publication.check_lease(self._leases.get(lease.definition), lease)
            ledger, champion = self._ledgers[lease.definition], self.champion(lease.definition)
            if publication.admits(entry, ledger, champion):
                ledger[entry.generation] = replace(entry, status="publishing")
                self._champions[lease.definition] = replace(champion, epoch=champion.epoch + 1)

    def write_versions(self, definition: str, generation: int, writes: Iterable[Write]) -> WriteReport:
        items = 0
        for write in writes:
            with self._lock:
                self._items[definition].setdefault(write.entity, {})[generation] = write.version
            items += 1
        return WriteReport(items=items, calls=items)

    def seal_publication(self, lease: Lease, generation: int, items: int) -> None:
        with self._lock:
            publication.check_lease(self._leases.get(lease.definition), lease)
            ledger = self._ledgers[lease.definition]
            publication.check_seal(ledger.get(generation), generation)
            ledger[generation] = replace(ledger[generation], status="sealed", items=items)

    def mark(self, definition: str, generation: int, status: Status) -> None:
        with self._lock:
            ledger = self._ledgers[definition]
            if generation not in ledger:
                raise publication.not_in_ledger(definition, generation)
            ledger[generation] = replace(ledger[generation], status=status)

    # -- the speed layer ----------------------------------------------------------------------
    def read_speed(
        self,
        definition: str,
        generation: int,
        entities: Sequence[str],
        *,
        patient: bool = False,  # noqa: ARG002 -- memory never throttles
    ) -> dict[str, Held]:
        with self._lock:
            versions, speed = self.read(definition, entities), self._speed[definition, generation]
            return {
                entity: Held(versions.get(entity, {}), speed.get(entity))
                for entity in entities
                if entity in versions or entity in speed
            }

    def write_speed(self, definition: str, generation: int, items: Mapping[str, SpeedItem]) -> SpeedReport:
        refused: dict[str, SpeedItem | None] = {}
        for entity, item in items.items():
            with self._lock:
                standing = self._speed[definition, generation].get(entity)
                if (standing.writes if standing else 0) == item.writes - 1:
                    self._speed[definition, generation][entity] = item
                else:
                    refused[entity] = standing
        return SpeedReport(refused, WriteReport(items=len(items) - len(refused), calls=len(items)))

    def scan_speed(
        self, definition: str, generation: int, segment: int = 0, segments: int = 1
    ) -> Iterator[tuple[str, SpeedItem]]:
        with self._lock:
            found = list(self._speed[definition, generation].items())
        for entity, item in found:
            if _in_segment(entity, segment, segments):
                yield entity, item

    def speed_keys(self, definition: str, segment: int = 0, segments: int = 1) -> Iterator[tuple[str, int]]:
        with self._lock:
            found = [(e, g) for (name, g), held in self._speed.items() if name == definition for e in held]
        for entity, generation in found:
            if _in_segment(entity, segment, segments):
                yield entity, generation

    def remove_speed(self, definition: str, keys: Iterable[tuple[str, int]]) -> WriteReport:
        items = 0
        for entity, generation in keys:
            with self._lock:
                self._speed[definition, generation].pop(entity, None)
            items += 1
        return WriteReport(items=items, calls=items)

    def read_model(self, definition: str, generation: int) -> ModelItem | None:
        with self._lock:
            return self._models.get((definition, generation))

    def write_model(self, definition: str, generation: int, item: ModelItem) -> bool:
        with self._lock:
            standing = self._models.get((definition, generation))
            if (standing.writes if standing else 0) != item.writes - 1:
                return False
            self._models[definition, generation] = item
            return True

    def remove_model(self, definition: str, generation: int) -> None:
        with self._lock:
            self._models.pop((definition, generation), None)

    def progress(self, definition: str, generation: int) -> Progress | None:
        with self._lock:
            return self._progress.get((definition, generation))

    def take_over(self, definition: str, generation: int, owner: str, start: Vector, as_of: datetime) -> Progress:
        with self._lock:
            standing = self._progress.get((definition, generation))
            taken = publication.taken_over(standing, definition, generation, owner=owner, start=start, as_of=as_of)
            self._progress[definition, generation] = taken
            return taken

    def advance(self, progress: Progress) -> None:
        with self._lock:
            publication.check_fence(progress, self._progress.get((progress.definition, progress.generation)))
            self._progress[progress.definition, progress.generation] = progress

    # -- the champion and the purge -----------------------------------------------------------
    def set_champion(
        self, definition: str, expected_epoch: int, champion: Champion, fence: Progress | None = None
    ) -> None:
        publication.check_succession(expected_epoch, champion)
        with self._lock:
            if fence is not None:
                publication.check_fence(fence, self._progress.get((definition, fence.generation)))
            if self.champion(definition).epoch != expected_epoch:
                raise publication.moved(definition, f"epoch {expected_epoch}")
            self._champions[definition] = champion

    def remove_versions(self, definition: str, removals: Mapping[str, Iterable[int]]) -> WriteReport:
        items = 0
        for entity, generations in removals.items():
            with self._lock:
                versions = self._items[definition].get(entity)
                if versions is None:
                    continue
                for generation in generations:
                    versions.pop(generation, None)
                if not versions:
                    del self._items[definition][entity]
            items += 1
        return WriteReport(items=items, calls=items)

    # -- reports ------------------------------------------------------------------------------
    def definitions(self) -> list[str]:
        with self._lock:
            return sorted(self._catalogue)

    def add_report(self, definition: str, report: Report) -> None:
        with self._lock:
            kept = self._reports[definition, report.kind]
            kept.append(report)
            kept.sort(key=lambda one: one.at)
            del kept[:-KEPT]

    def reports(self, definition: str) -> list[Report]:
        with self._lock:
            found = [report for (name, _), kept in self._reports.items() if name == definition for report in kept]
        return sorted(found, key=lambda one: one.at, reverse=True)


def _in_segment(entity: str, segment: int, segments: int) -> bool:
    return crc32(entity.encode("utf-8", "surrogatepass")) % segments == segment
