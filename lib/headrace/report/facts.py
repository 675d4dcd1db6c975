"""What a report says: plain, small values about one run, never rows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Category:
    """How many entities have each value of one output. `kind` name: a text, shown most frequent first; number: a
    label that is a whole number, shown in its order."""

    name: str
    kind: Literal["name", "number"]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Histogram:
    """Entities between neighbouring `edges`; the last bar also holds the `beyond` entities above the last edge."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    beyond: int = 0


@dataclass(frozen=True)
class Feature:
    """One numeric feature over all entities that have it; `missing` have none. The numbers are None if nobody has."""

    name: str
    entities: int
    missing: int
    least: float | None
    median: float | None
    mean: float | None
    greatest: float | None
    histogram: Histogram | None = None


@dataclass(frozen=True)
class Grid:
    """Entities, and the mean of `measure` where there is one, by two scores; cells are [row][column].

    A mean is None in an empty cell.
    """

    row: str
    column: str
    row_values: tuple[int, ...]
    column_values: tuple[int, ...]
    counts: tuple[tuple[int, ...], ...]
    measure: str | None = None
    means: tuple[tuple[float | None, ...], ...] = ()


@dataclass(frozen=True)
class Centre:
    """A cluster's number, its entities if counted, and its centre in the features' own units and scaled to 0..1."""

    label: int
    entities: int | None
    values: tuple[float, ...]
    scaled: tuple[float, ...]


@dataclass(frozen=True)
class Centres:
    """Cluster centres, ordered by number."""

    features: tuple[str, ...]
    rows: tuple[Centre, ...]


@dataclass(frozen=True)
class Published:
    """Items a publication wrote, those it left as they were, and tombstones."""

    changed: int
    unchanged: int
    removed: int = 0


@dataclass(frozen=True)
class RunFacts:
    """One run, for its report, its summary and its JSON; only the definition's name is needed.

    rows_read: rows of the input; rows: events of the snapshot that was trained on; dropped: of those, by reason;
    quarantined: rows of the input that could not be read, by reason. Instants are ISO 8601 texts; `cut` has rows of
    (incarnation, partition, next position); `files` maps a generation's files to their SHA-256; `note` is what
    people must know about the input, such as that it was generated; `example` is an entity to look up.
    """

    definition: str
    entity: str = "entity"
    generation: int | None = None
    champion_before: int | None = None
    champion_after: int | None = None
    delta_version: int | None = None
    cut: tuple[tuple[str, str, int], ...] = ()
    as_of: str | None = None
    reference: str | None = None
    created_at: str | None = None
    source: str | None = None
    note: str = ""
    rows_read: int | None = None
    rows: int | None = None
    blank: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    quarantined: Mapping[str, int] = field(default_factory=dict)
    entities: int | None = None
    categories: tuple[Category, ...] = ()
    features: tuple[Feature, ...] = ()
    grid: Grid | None = None
    centres: Centres | None = None
    inertia: float | None = None
    inertia_by_k: tuple[tuple[int, float], ...] = ()
    published: Published | None = None
    code_version: str | None = None
    seed: int | None = None
    definition_sha256: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    example: str | None = None

    @property
    def noun(self) -> str:
        """What one entity is called, in the plural.

        >>> RunFacts("segments", entity="customer_id").noun
        'customers'
        """
        word = self.entity.removesuffix("_id").replace("_", " ")
        return word if word.endswith("s") else ("entities" if word == "entity" else f"{word}s")

    @property
    def dropped_rows(self) -> int:
        return sum(self.dropped.values())

    @property
    def quarantined_rows(self) -> int:
        return sum(self.quarantined.values())

    @property
    def counted(self) -> int | None:
        """Events of the snapshot that count."""
        return None if self.rows is None else self.rows - self.dropped_rows


def facts_to_json(run: RunFacts) -> str:
    """The facts as one JSON object, keys in the order of the fields.

    >>> json.loads(facts_to_json(RunFacts("spend", generation=3)))["generation"]
    3
    """
    return json.dumps(dataclasses.asdict(run), ensure_ascii=False, allow_nan=False)
