"""The Delta side of landing a stream: where the lake ends, which driver may write, commits that count once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import IngestFenced
from headrace.schemas import HISTORY, Vector
from headrace.schemas.lake import events_path, quarantine_path
from headrace.schemas.positions import SEQUENCE
from headrace.sinks.lake import writer
from headrace.sources.commits import Note, commits, noted_end, noted_place
from headrace.sources.failures import is_conflict
from headrace.sources.lake import is_table
from headrace.sources.streams import Place, Reach
from headrace.speed.gaps import given_up

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameWriter, Row, SparkSession

_RECENT = 10  # commits that others may make between one of ours and the look at it
_ATTEMPTS = 5
_ROWS_PER_FILE = 250_000
# Between the versions of two drivers, so that none of an earlier one's, which it may go on using for a while, is taken.
_LEAP = 1_000_000


@dataclass(frozen=True)
class LakeEnd:
    """Where the landed events of a topic end.

    next: for each partition of the topic's present life the position after the last that landed or was given up.
    former: for each former life of the topic, where its landed events end, unless it is known to be over.
    has_events: whether any event of any life has landed. version: the greatest transaction version a driver has used.
    table: the table's version, -1 without one. place: what finds `next` again in a stream whose positions are counted.
    """

    next: Mapping[int, int] = field(default_factory=dict)
    former: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    has_events: bool = False
    version: int = 0
    table: int = -1
    place: Place = field(default_factory=dict)

    @property
    def is_new(self) -> bool:
        """Whether nothing of the topic's present life is known."""
        return not self.next


def lake_end(spark: SparkSession, lake: Path, stream: str, incarnation: str) -> LakeEnd:
    """Read from the lake itself where it ends for the topic with that id.

    The rows say it, and the last commit of a driver, which also knows of records that were not events.
    """
    from pyspark.sql import functions as F

    path = events_path(lake, stream)
    gaps = given_up(spark, lake, stream)
    ends = {log: n for log, n in gaps.items() if n is not None}
    over = {life for (life, _), n in gaps.items() if n is None}
    landed: list[Row] = []
    place: dict[int, Mapping[str, Any]] = {}
    version, table = 0, -1
    if is_table(spark, path):
        known = commits(spark, path)
        table = known[0].version
        rows = spark.read.format("delta").option("versionAsOf", table).load(str(path))
        sequence = F.max_by(SEQUENCE, "_position") if SEQUENCE in rows.columns else F.lit(None)
        landed = (
            rows.where(F.col("_incarnation") != HISTORY)
            .groupBy("_incarnation", "_partition")
            .agg((F.max("_position") + 1).alias("next"), sequence.alias("after"))
            .collect()
        )
        version = max((commit.note.version for commit in known if commit.note is not None), default=0)
        rows_end = {(row["_incarnation"], row["_partition"]): row["next"] for row in landed}
        for log, n in [*rows_end.items(), *noted_end(known).items()]:
            ends[log] = max(n, ends.get(log, 0))
        place = _place(landed, noted_place(known, incarnation), incarnation)
        for log, n in (((incarnation, str(number)), mark["next"]) for number, mark in place.items()):
            ends[log] = max(n, ends.get(log, 0))
    former: dict[str, dict[int, int]] = {}
    for (life, partition), n in ends.items():
        if life != incarnation and life not in over:
            former.setdefault(life, {})[int(partition)] = n
    own = {int(partition): n for (life, partition), n in ends.items() if life == incarnation}
    return LakeEnd(own, former, bool(landed), version, table, place)


def _place(landed: Sequence[Row], noted: Place, incarnation: str) -> dict[int, Mapping[str, Any]]:
    """The places that drivers noted, and of partitions whose rows reach further those of their last rows."""
    place = dict(noted)
    for row in landed:
        if row["_incarnation"] == incarnation and row["after"] is not None:
            partition = int(row["_partition"])
            if row["next"] > place.get(partition, {"next": 0})["next"]:
                place[partition] = {"next": row["next"], "after": row["after"]}
    return place


class Landing:
    """One driver's commits to the tables of one stream.

    Every commit carries the stream's transaction name and a version that grows over all drivers' lives, so that of
    two drivers the one that claimed later writes, and the other's commits are left out by Delta.
    """

    def __init__(self, spark: SparkSession, lake: Path, stream: str, incarnation: str, owner: str) -> None:
        self._spark = spark
        self._lake = lake
        self._stream = stream
        self._incarnation = incarnation
        self._owner = owner
        self._version = 0
        self._events = events_path(lake, stream)
        self._quarantine = quarantine_path(lake, stream)

    @property
    def is_claimed(self) -> bool:
        return self._version > 0

    def claim(
        self, end: LakeEnd, start: Mapping[int, int], events: DataFrame, bad: DataFrame, now: datetime
    ) -> LakeEnd:
        """Shut out every other driver, then say where the lake ends, which from then on only this one moves.

        end: as it was read before; start: where reading began. events, bad: frames without rows, of the two tables'
        columns; declared columns that the table lacks are added. Quarantined records at or beyond the end are
        removed: their batch did not commit its events, and they are read again. Raises IngestFenced.
        """
        self._version = max(end.version + _LEAP, int(now.timestamp() * 1_000_000))
        note = self._note(Reach({**start, **end.next}, end.place))
        self._commit(lambda: self._once(writer(events), note).mode("append").save(str(self._events)))
        table = self._own_commit()
        if table != end.table + 1:
            end = lake_end(self._spark, self._lake, self._stream, self._incarnation)
        reached = {p: max(start.get(p, 0), end.next.get(p, 0)) for p in {*start, *end.next}}
        self._commit(lambda: self._forget_beyond(reached, bad, note))
        return LakeEnd(reached, end.former, end.has_events, self._version, table, end.place)

    def quarantine(self, bad: DataFrame, rows: int) -> None:
        """Append the bad rows of a batch, before `land` lands its good ones: what has landed is fully quarantined."""
        self._append(bad, rows, self._quarantine, Note(self._owner, self._version + 1, Vector()))

    def land(self, events: DataFrame, rows: int, reach: Reach) -> None:
        """Append the good rows of a batch, none too, and note where the lake ends then. Raises IngestFenced."""
        self._version += 1
        self._append(events, rows, self._events, self._note(reach))
        self._own_commit()

    def _append(self, rows: DataFrame, count: int, path: Path, note: Note) -> None:
        few = rows.coalesce(1 + count // _ROWS_PER_FILE)
        self._commit(lambda: self._once(writer(few), note).mode("append").save(str(path)))

    def _forget_beyond(self, reached: Mapping[int, int], bad: DataFrame, note: Note) -> None:
        once = self._once(writer(bad), note)
        if not is_table(self._spark, self._quarantine):
            once.mode("append").save(str(self._quarantine))
            return
        beyond = [f"(_partition = '{p}' AND _position >= {n})" for p, n in reached.items()]
        beyond.append(f"_partition NOT IN ({', '.join(repr(str(p)) for p in reached)})" if reached else "true")
        where = f"_incarnation = '{self._incarnation}' AND ({' OR '.join(beyond)})"
        once.option("replaceWhere", where).mode("overwrite").save(str(self._quarantine))

    def _once(self, rows: DataFrameWriter, note: Note) -> DataFrameWriter:
        named = f"headrace/ingest/{self._stream}"
        return rows.options(txnAppId=named, txnVersion=str(note.version), userMetadata=note.to_json())

    def _commit(self, write: Callable[[], None]) -> None:
        """Write until no other commit comes in between; a commit of a later driver makes ours one that is left out."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                write()
            except Exception as error:
                if not left or not is_conflict(error):
                    raise
            else:
                return

    def _own_commit(self) -> int:
        """The table's version that our last commit of events made. Raises IngestFenced when it was left out."""
        for commit in commits(self._spark, self._events, _RECENT):
            note = commit.note
            if note is not None and (note.owner, note.version) == (self._owner, self._version):
                return commit.version
        raise IngestFenced(
            f"another driver lands stream {self._stream!r} now",
            found=f"no commit {self._version} of {self._owner} in {self._events}",
            do="let one driver land a stream; what this one had not committed, the other reads",
        )

    def _note(self, reach: Reach) -> Note:
        place = {self._incarnation: reach.place} if reach.place else {}
        return Note(self._owner, self._version, Vector.of(self._incarnation, reach.ends), place)
