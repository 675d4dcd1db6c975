"""The commits of a Delta table, and what the driver that lands a stream notes in each of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.schemas import Vector
from headrace.sources.streams import Place

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SEARCHED = 200  # commits that are searched for the last one of a driver


@dataclass(frozen=True)
class Note:
    """What a driver says of itself in each of its commits: who it is, its transaction version, where the lake ends.

    place: what finds that end again in a stream whose positions are counted, by its incarnation.
    """

    owner: str
    version: int
    vector: Vector
    place: Mapping[str, Place] = field(default_factory=dict)

    def to_json(self) -> str:
        said = {"headrace": "ingest", "owner": self.owner, "version": self.version, "next": self.vector.to_json()}
        return json.dumps({**said, "place": self.place} if self.place else said)

    @classmethod
    def read(cls, text: str | None) -> Note | None:
        """The note in a commit's user metadata, None where there is another text or none."""
        try:
            said: Any = json.loads(text or "null")
        except json.JSONDecodeError:
            return None
        if not isinstance(said, dict) or said.get("headrace") != "ingest":
            return None
        place = {life: {int(p): mark for p, mark in marks.items()} for life, marks in said.get("place", {}).items()}
        return cls(said["owner"], said["version"], Vector.from_json(said["next"]), place)


@dataclass(frozen=True)
class Commit:
    """One commit. note: that of a landing driver, None of other commits."""

    version: int
    operation: str
    note: Note | None


def commits(spark: SparkSession, path: Path, count: int = SEARCHED) -> list[Commit]:
    """The last so many commits of a table, the newest first."""
    from delta.tables import DeltaTable

    history = DeltaTable.forPath(spark, str(path)).history(count)
    rows = history.select("version", "operation", "userMetadata").collect()
    return [Commit(int(row["version"]), row["operation"], Note.read(row["userMetadata"])) for row in rows]


def last_note(table: Path) -> Note | None:
    """The note of the last landing driver, from the table's log itself: without Spark, for who asks every second.

    None without a table, after it was restored to an older version, and where the log is older than what is kept of it.
    """
    commit_files = (path for path in (table / "_delta_log").glob("*.json") if path.stem.isdigit())
    for path in sorted(commit_files, reverse=True):
        # As bytes: to a text, U+0085 and U+2028 end a line too, and the log tells the least and greatest of a column.
        told = [json.loads(line).get("commitInfo") for line in path.read_bytes().splitlines() if line]
        for info in filter(None, told):
            note = Note.read(info.get("userMetadata"))
            if note is not None or info.get("operation") == "RESTORE":
                return note
    return None


def noted_place(known: Iterable[Commit], incarnation: str) -> Place:
    """How far each partition of a counted stream had been landed, as its drivers noted it; known: the newest first.

    Of the notes since the table was last restored each partition's furthest, as a driver that took over notes what
    it had read of the lake before.
    """
    found: dict[int, Mapping[str, Any]] = {}
    for commit in known:
        if commit.operation == "RESTORE":
            break
        for partition, mark in (commit.note.place if commit.note else {}).get(incarnation, {}).items():
            if mark["next"] > found.get(partition, {"next": -1})["next"]:
                found[partition] = mark
    return found


def noted_end(known: list[Commit]) -> Vector:
    """Where the last landing driver said that the lake ends, bad records included; empty where none said it.

    known: the newest first. What was noted before the table was restored to an older version is not in it any more.
    """
    for commit in known:
        if commit.operation == "RESTORE":
            break
        if commit.note is not None:
            return commit.note.vector
    return Vector()
