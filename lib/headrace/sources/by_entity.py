"""The events a definition counts, found by entity without Spark: for answers as of a past instant."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import AnswerIsNo
from headrace.schemas import Vector

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyarrow import dataset

ENTITY = "_entity"  # the entity as text; no column of an event begins with an underscore but those of the lake
_NOTE = "by_entity"
SEARCHED = 50  # commits: compaction adds some that say nothing


def note(version: int, covered: Vector) -> str:
    """What a commit says of itself: which run of indexing it is, and below what everything is in the table."""
    return json.dumps({"headrace": _NOTE, "version": version, "covered": covered.to_json()})


def noted(text: str | None) -> tuple[int, Vector] | None:
    """The run and vector in a commit's user metadata, None where there is another text or none.

    >>> noted(note(3, Vector({("t", "0"): 7})))
    (3, Vector({('t', '0'): 7}))
    """
    try:
        said: Any = json.loads(text or "null")
    except json.JSONDecodeError:
        return None
    if not isinstance(said, dict) or said.get("headrace") != _NOTE:
        return None
    return int(said["version"]), Vector.from_json(said["covered"])


class EventsByEntity:
    """The table, opened once and brought up to date when it is asked for more than it had; safe for many threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._table: DeltaTable | None = None
        self._files: dataset.Dataset | None = None
        self._covered = Vector()

    def events(self, entity: str, below: Vector) -> list[Mapping[str, Any]]:
        """The events of one entity at positions below a vector, in no order; timestamps are aware.

        Raises AnswerIsNo where the table does not hold all events below the vector yet.
        """
        import pyarrow.compute as pc

        with self._lock:
            if self._files is None or not self._covered.covers(below):
                self._refresh()
            files, covered = self._files, self._covered
        if files is None or not covered.covers(below):
            raise AnswerIsNo(
                "the events to answer from are not all found by entity yet",
                found="no table" if files is None else f"{covered.lacks(below):,} positions too few",
                do="bring the table up to date: headrace index DEFINITION",
            )
        rows: list[Mapping[str, Any]] = files.to_table(filter=pc.field(ENTITY) == entity).to_pylist()
        return [row for row in rows if row["_position"] < below.get((row["_incarnation"], row["_partition"]), 0)]

    def _refresh(self) -> None:
        from deltalake import DeltaTable

        if self._table is None:
            if not DeltaTable.is_deltatable(str(self._path)):
                return
            self._table = DeltaTable(str(self._path))
        else:
            self._table.update_incremental()
        said = (noted(commit.get("userMetadata")) for commit in self._table.history(SEARCHED))
        self._covered = next((found[1] for found in said if found is not None), Vector())
        self._files = self._table.to_pyarrow_dataset()
