"""The ledger of records that were sent to their topic again: noted before and after, so that none is sent twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from headrace.errors import TransientError
from headrace.schemas.lake import REPLAYED_COLUMNS, events_path, quarantine_path, replayed_path
from headrace.sinks.lake import writer
from headrace.sources.failures import is_conflict
from headrace.sources.kafka import Broker
from headrace.sources.lake import is_table, latest_version
from headrace.sources.payloads import ORIGIN_HEADER
from headrace.sources.streams import Topic

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# incarnation, partition, position
Origin = tuple[str, str, int]
_DDL = ", ".join(f"{name} {kind}" for name, kind in REPLAYED_COLUMNS.items())
_REPAIRED = " repaired from "


@dataclass(frozen=True)
class Resent:
    """A bad record, and where it re-entered."""

    origin: Origin
    to: Origin


class ResentLedger:
    """quarantine_replayed/<stream> (schemas.lake.REPLAYED_COLUMNS).

    Before records are sent, an empty commit notes where the topic ends; after, another notes what was sent. Where the
    last commit is of the first kind, a replay stopped in between, and what it sent lies behind the end it noted.
    """

    def __init__(self, spark: SparkSession, lake: Path, stream: str) -> None:
        self._spark = spark
        self._lake = lake
        self._stream = stream
        self._path = replayed_path(lake, stream)

    def sent(self) -> DataFrame:
        """One row a record that re-entered."""
        if not is_table(self._spark, self._path):
            return self._spark.createDataFrame([], _DDL)
        return self._spark.read.format("delta").load(str(self._path))

    def open(self, topic: Topic, held: Mapping[int, tuple[int, int]]) -> None:
        """Note where the topic ends, before anything is sent."""
        ends = {str(partition): following for partition, (_, following) in held.items()}
        self._write([], {"incarnation": topic.incarnation, "ends": ends})

    def close(self, sent: Sequence[Resent], sent_ts: datetime) -> None:
        """Note what was sent."""
        self._write([(*one.origin, *one.to, sent_ts) for one in sent], {})

    def recover(self, broker: Broker, topic: Topic, now: datetime) -> None:
        """Note what a replay had sent that stopped before it noted it."""
        opened = self._opened()
        if opened is None:
            return
        ends = {int(p): n for p, n in opened["ends"].items()} if opened["incarnation"] == topic.incarnation else {}
        found = {one.origin: one for one in [*self._landed(topic, ends), *self._held(broker, topic, ends)]}
        noted = {(row["_incarnation"], row["_partition"], row["_position"]) for row in self.sent().collect()}
        self.close([one for origin, one in found.items() if origin not in noted], now)

    def _opened(self) -> Any:
        """What the last commit says, where that is the opening of a replay that did not end."""
        from delta.tables import DeltaTable

        if not is_table(self._spark, self._path):
            return None
        last = DeltaTable.forPath(self._spark, str(self._path)).history(1).collect()[0]["userMetadata"]
        return json.loads(last or "{}").get("opened")

    def _held(self, broker: Broker, topic: Topic, ends: Mapping[int, int]) -> Iterator[Resent]:
        """Re-entered records that the topic holds at or beyond `ends`."""
        held = broker.held(topic)
        start = {p: max(ends.get(p, 0), earliest) for p, (earliest, _) in held.items()}
        for record in broker.records(topic, start, {p: following for p, (_, following) in held.items()}):
            told = next((value for name, value in record.headers if name == ORIGIN_HEADER), b"")
            if origin := _origin(told.decode(errors="replace")):
                yield Resent(origin, (topic.incarnation, str(record.partition), record.offset))

    def _landed(self, topic: Topic, ends: Mapping[int, int]) -> Iterator[Resent]:
        """Re-entered records in the lake at or beyond `ends`, which the topic need not hold any more."""
        from pyspark.sql import functions as F

        beyond = F.lit(col=False)
        for partition in topic.partitions:
            own = F.col("_partition") == str(partition)
            beyond = beyond | (own & (F.col("_position") >= ends.get(partition, 0)))
        for path, source in ((events_path, "_source"), (quarantine_path, "source")):
            if not is_table(self._spark, path(self._lake, self._stream)):
                continue
            rows = self._spark.read.format("delta").load(str(path(self._lake, self._stream)))
            rows = rows.where((F.col("_incarnation") == topic.incarnation) & beyond)
            repaired = rows.where(F.contains(source, F.lit(_REPAIRED))).select("_partition", "_position", source)
            for row in repaired.collect():
                if origin := _origin(row[source].partition(_REPAIRED)[2]):
                    yield Resent(origin, (topic.incarnation, row["_partition"], row["_position"]))

    def _write(self, rows: list[tuple[Any, ...]], opened: dict[str, Any]) -> None:
        version = latest_version(self._spark, self._path) if is_table(self._spark, self._path) else -1
        token = uuid4().hex
        note = json.dumps({"token": token, **({"opened": opened} if opened else {})})
        once = {"txnAppId": f"headrace/replay/{self._stream}", "txnVersion": str(version + 1), "userMetadata": note}
        frame = self._spark.createDataFrame(rows, _DDL).coalesce(1)
        busy = TransientError(f"another replay of the quarantine of {self._stream!r} is running", do="run again later")
        try:
            writer(frame).options(**once).mode("append").save(str(self._path))
        except Exception as error:
            if is_conflict(error):
                raise busy from error
            raise
        if self._last_token() != token:
            raise busy

    def _last_token(self) -> Any:
        from delta.tables import DeltaTable

        last = DeltaTable.forPath(self._spark, str(self._path)).history(1).collect()[0]["userMetadata"]
        return json.loads(last or "{}").get("token")


def _origin(told: str) -> Origin | None:
    """What a record's header says; anybody may write one, so it may say anything."""
    parts = told.split("/")
    return (parts[0], parts[1], int(parts[2])) if len(parts) == 3 and parts[2].isdecimal() else None
