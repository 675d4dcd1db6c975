"""The store's port: what every serving store does, and the one rule by which readers choose a version.

Keys are exact: an entity's batch item is (`<definition>#<entity>`, `batch`) and holds one version per retained
generation; its speed item in generation g is (`<definition>#<entity>`, `speed#<g>`). A definition's own items are
(`<definition>`, `champion`), (`<definition>`, `publisher`), (`<definition>`, `ledger#<g>`),
(`<definition>`, `progress#<g>`) and (`<definition>`, `model#<g>`). Time is always an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from headrace.schemas import Vector
from headrace.stores.reports import Reports

GENERATION_DIGITS = 8
MAX_GENERATION = 10**GENERATION_DIGITS - 1


def padded(generation: int) -> str:
    """The generation in keys and attribute names, where text order is number order.

    >>> padded(7)
    '00000007'
    """
    if not 0 < generation <= MAX_GENERATION:
        raise ValueError(f"generation {generation} is out of range")
    return f"{generation:0{GENERATION_DIGITS}d}"


@dataclass(frozen=True)
class Version:
    """What one generation says of one entity: canonical state bytes and the finished outputs as JSON text.

    A tombstone (both None) says the entity has no events in that generation.
    """

    state: bytes | None
    outputs: str | None

    @property
    def is_tombstone(self) -> bool:
        return self.state is None


TOMBSTONE = Version(None, None)


@dataclass(frozen=True)
class Champion:
    """The only truth about which generation is served.

    `generation` 0 means none yet. Generations below `floor`, and those in `skip`, are never read: they were
    rolled back, abandoned, half published, or stand before a full publication. `epoch` counts every change
    of this item and of what it was computed from, so that a writer who read an older one is refused. `owed` is what
    the champion before had counted of the stream: until this one has too, its answers say that they are stale.
    """

    generation: int = 0
    skip: frozenset[int] = frozenset()
    floor: int = 0
    epoch: int = 0
    previous: tuple[int, ...] = ()  # former champions, newest first, as `rollback` goes back to
    owed: Vector = field(default_factory=Vector)
    challenger: int = 0  # the generation that is compared with this one and counted beside it; 0: none is named

    def sees(self, generation: int) -> bool:
        return self.floor <= generation <= self.generation and generation not in self.skip

    def choose(self, versions: Mapping[int, Version]) -> tuple[int, Version] | None:
        """The newest version this champion sees, or None; a tombstone is returned as such."""
        seen = [g for g in versions if self.sees(g)]
        return (max(seen), versions[max(seen)]) if seen else None


Status = Literal["publishing", "sealed", "abandoned", "closed"]


@dataclass(frozen=True)
class LedgerEntry:
    """What the table itself knows of one generation that was written to it.

    `base` is the generation it was diffed against in this table, None for a full publication. `info` is what
    readers need of the generation: cut, as_of, definition hash, description, max_age_s, clock, theta reference.
    """

    generation: int
    status: Status
    base: int | None
    manifest_sha256: str
    items: int = 0
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lease:
    """The right to publish one definition until `expires_at`; `token` grows with every new holder."""

    definition: str
    owner: str
    token: int
    expires_at: datetime


@dataclass(frozen=True)
class SpeedItem:
    """What the speed layer of one generation says of one entity.

    state: canonical bytes of the entity's events from the generation's cut on. vector: for each log the position
    up to which they are counted; a log that is absent is counted up to the cut. outputs: JSON text, finished from
    batch and speed state together. writes: how often the item was written, by which a write is guarded.
    """

    state: bytes
    outputs: str
    vector: Vector
    writes: int = 1


@dataclass(frozen=True)
class ModelItem:
    """What samples have added to one generation's fitted parameters since.

    contribution: the learner's, as canonical JSON text. vector, writes: as in a speed item.
    """

    contribution: str
    vector: Vector
    writes: int = 1


@dataclass(frozen=True)
class Held:
    """All that a store holds of one entity: its batch versions, and its speed item in the generation asked for."""

    versions: Mapping[int, Version] = field(default_factory=dict)
    speed: SpeedItem | None = None


@dataclass(frozen=True)
class Progress:
    """How far the speed layer of one generation is: below `vector` everything is counted, for every entity.

    epoch: grows with every driver that takes over, so that the one before can no longer advance. as_of: the arrival
    time up to which everything is counted. head: where its driver last heard the stream to end.
    """

    definition: str
    generation: int
    vector: Vector
    epoch: int
    owner: str
    as_of: datetime
    head: Vector = field(default_factory=Vector)


@dataclass(frozen=True)
class Write:
    """One key of a publication. `exists` is a hint whether the item is there; a wrong hint costs a call only."""

    entity: str
    version: Version
    exists: bool


@dataclass(frozen=True)
class WriteReport:
    """Counts of one `write_versions` call: statements that landed, calls made, statements that were retried."""

    items: int = 0
    calls: int = 0
    retried: int = 0
    throttled: int = 0

    def __add__(self, other: WriteReport) -> WriteReport:
        return WriteReport(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class SpeedReport:
    """What became of one `write_speed`: for each entity that was refused the item that stands (None: none does)."""

    refused: Mapping[str, SpeedItem | None]
    written: WriteReport


class Store(Reports, Protocol):
    """A serving store. Reads are strongly consistent. Implementations are opened by `stores.open_store`."""

    def prepare(self) -> None:
        """Create the table if it is absent (local and tests; a deployment creates its own) and wait for it."""

    def close(self) -> None:
        """Release connections."""

    # -- readers ------------------------------------------------------------------------------
    def champion(self, definition: str) -> Champion:
        """The champion item; `Champion()` where there is none."""

    def ledger(self, definition: str) -> list[LedgerEntry]:
        """Every generation ever opened in this table, by number."""

    def read(self, definition: str, entities: Sequence[str]) -> dict[str, dict[int, Version]]:
        """The versions of each entity that has an item; at most 100 entities, each read once."""

    def scan(self, definition: str, segment: int = 0, segments: int = 1) -> Iterator[tuple[str, dict[int, Version]]]:
        """Every entity with its versions, one slice of the keys; for verify and purge only."""

    # -- the publisher ------------------------------------------------------------------------
    def lease(self, definition: str) -> Lease | None:
        """The lease as it stands, expired or not; an empty owner where it was given back, None before the first."""

    def acquire_lease(self, definition: str, owner: str, now: datetime, ttl: timedelta) -> Lease:
        """Take the lease if it is free, expired at `now`, or already this owner's; else LeaseHeld."""

    def renew_lease(self, lease: Lease, now: datetime, ttl: timedelta) -> Lease:
        """Extend a lease still held; LeaseHeld if another owner took it over."""

    def release_lease(self, lease: Lease) -> None:
        """Give the lease back; a lease that was taken over is left alone."""

    def open_publication(self, lease: Lease, entry: LedgerEntry) -> None:
        """Write the ledger entry as `publishing`, then advance the champion's epoch.

        That order makes a promote that did not see the entry fail. Refused (StoreError) when the generation is
        not above the champion's (unless it is sealed here already), or stands in the ledger with another
        manifest. LeaseHeld when the lease is no longer this holder's.
        """

    def write_versions(self, definition: str, generation: int, writes: Iterable[Write]) -> WriteReport:
        """SET one version on each item, creating items that are absent; other versions stay as they are.

        In batches, with bounded jittered retries of throttled and unprocessed statements; StoreUnavailable when
        the bound is passed. Runs on executors.
        """

    def seal_publication(self, lease: Lease, generation: int, items: int) -> None:
        """Mark the generation `sealed`; LeaseHeld when the lease was lost meanwhile."""

    def mark(self, definition: str, generation: int, status: Status) -> None:
        """Change a ledger entry's status (abandoned, closed)."""

    # -- the speed layer ----------------------------------------------------------------------
    def read_speed(
        self, definition: str, generation: int, entities: Sequence[str], *, patient: bool = False
    ) -> dict[str, Held]:
        """What is held of each entity; at most 100 entities, those without any item are left out.

        patient: repeat a throttled read as long as bulk writes are repeated, not only as long as a person waits.
        """

    def write_speed(self, definition: str, generation: int, items: Mapping[str, SpeedItem]) -> SpeedReport:
        """Write each item if the one that stands was written one time less (1: if there is none).

        Retries like `write_versions`. An item whose write landed while its answer was lost is refused by itself.
        """

    def scan_speed(
        self, definition: str, generation: int, segment: int = 0, segments: int = 1
    ) -> Iterator[tuple[str, SpeedItem]]:
        """Every entity with a speed item in the generation, one slice of the keys; for verify and purge only."""

    def speed_keys(self, definition: str, segment: int = 0, segments: int = 1) -> Iterator[tuple[str, int]]:
        """(entity, generation) of every speed item, one slice of the keys; for purge only."""

    def remove_speed(self, definition: str, keys: Iterable[tuple[str, int]]) -> WriteReport:
        """Delete the speed items of these entities and generations; for purge only."""

    def read_model(self, definition: str, generation: int) -> ModelItem | None:
        """The generation's model item; None where there is none."""

    def write_model(self, definition: str, generation: int, item: ModelItem) -> bool:
        """Whether the item was written: guarded, and refused by itself after a lost answer, like a speed item."""

    def remove_model(self, definition: str, generation: int) -> None:
        """Delete the generation's model item, if there is one; for purge only."""

    def progress(self, definition: str, generation: int) -> Progress | None:
        """How far the generation's speed layer is; None before its first driver."""

    def take_over(self, definition: str, generation: int, owner: str, start: Vector, as_of: datetime) -> Progress:
        """Raise the epoch, so that `owner` alone may advance; from `start` and `as_of` where nobody was before."""

    def advance(self, progress: Progress) -> None:
        """Write vector and as_of, if the epoch is still the one given; else Fenced."""

    # -- the champion and the purge -----------------------------------------------------------
    def set_champion(
        self, definition: str, expected_epoch: int, champion: Champion, fence: Progress | None = None
    ) -> None:
        """Replace the champion item in one conditional write; ChampionMoved if its epoch is another.

        fence: a progress whose epoch must stand as well, in the same write; else Fenced.
        """

    def remove_versions(self, definition: str, removals: Mapping[str, Iterable[int]]) -> WriteReport:
        """Remove versions from items; an item whose last version goes is deleted, unless one came meanwhile."""
