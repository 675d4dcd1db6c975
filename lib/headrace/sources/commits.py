"""The commits of a Delta table, and what the driver that lands a stream notes in each of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.schemas import Vector

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SEARCHED = 200  # commits that are searched for the last one of a driver


@dataclass(frozen=True)
class Note:
    """What a driver says of itself in each of its commits: who it is, its transaction version, where the lake ends."""

    owner: str
    version: int
    vector: Vector

    def to_json(self) -> str:
        said = {"headrace": "ingest", "owner": self.owner, "version": self.version, "next": self.vector.to_json()}
        return json.dumps(said)

    @classmethod
    def read(cls, text: str | None) -> Note | None:
        """The note in a commit's user metadata, None where there is another text or none."""
        try:
            said: Any = json.loads(text or "null")
        except json.JSONDecodeError:
            return None
        if not isinstance(said, dict) or said.get("headrace") != "ingest":
            return None
        return cls(said["owner"], said["version"], Vector.from_json(said["next"]))


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
