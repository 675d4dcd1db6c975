"""A Kinesis stream as the speed layer reads it: landing counts its records, and the counts are the positions.

Sequence numbers are sparse decimals of up to 186 bits, which no vector holds (docs/adr/0003-kinesis-positions.md).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.sources.commits import last_note
from headrace.sources.kinesis import Expired, Gone, Kinesis, Shard
from headrace.sources.kinesis_marks import LATEST, TRIM_HORIZON, Mark, Marks, marks_of, whole_at
from headrace.sources.kinesis_reader import ShardReader, has_lost, held_by
from headrace.sources.streams import Feed, Head, Place, Reach, Topic, Work

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from headrace.config import KinesisSettings


class KinesisFeed(Feed):
    """A stream of Kinesis, read by the driver that lands it. table: where it lands."""

    is_counted = True

    def __init__(self, settings: KinesisSettings, endpoint: str, name: str, table: Path) -> None:
        self.name = name
        self.max_ahead_s = settings.max_ahead_s
        self._settings = settings
        self._endpoint = endpoint
        self._table = table
        self._kinesis = Kinesis(settings, endpoint, name)
        # Of each shard the place that was looked beyond, and the iterator that stands there.
        self._looks: dict[int, tuple[str, str]] = {}

    def __enter__(self) -> KinesisFeed:
        self._kinesis.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._kinesis.__exit__()

    def topic(self) -> Topic:
        return self._kinesis.topic()

    def held(self, topic: Topic, place: Place) -> dict[int, tuple[int, int]]:
        del topic
        marks = marks_of(place, {})
        shards = {shard.number: shard for shard in self._kinesis.shards()}
        due = [n for n in marks if n in shards and not marks[n].is_ended]
        return held_by(marks, {n: has_lost(self._kinesis, shards[n], marks[n], time.time()) for n in due})

    def head(self, topic: Topic, now: datetime) -> Head:
        """The end of what has landed, and one more position of each shard that holds more than that."""
        note = last_note(self._table)
        place = note.place.get(topic.incarnation, {}) if note is not None else {}
        marks = marks_of(place, {})
        landed = {number: mark.next for number, mark in marks.items()}
        more = [shard.number for shard in self._kinesis.shards() if self._has_more(shard, marks)]
        if not more:
            return Head(landed, now, landed)
        at = whole_at(marks) if marks else None
        ends = {**landed, **{number: landed.get(number, 0) + 1 for number in more}}
        return Head(ends, datetime.fromtimestamp(at or 0.0, UTC), landed)

    def lag(self, topic: Topic, reached: Mapping[int, int]) -> dict[int, int]:
        """Nothing: Kinesis tells how old the next record is, not how many there are."""
        del topic, reached
        return {}

    def follow(self, spark: SparkSession, topic: Topic, start: Reach, work: Work) -> ShardFollowing:
        del topic
        kinesis = Kinesis(self._settings, self._endpoint, self.name)
        reader = ShardReader(
            kinesis,
            marks_of(start.place, start.ends),
            since=self._settings.since,
            most=self._settings.max_per_trigger,
        )
        return ShardFollowing(spark, kinesis, reader, work)

    def _has_more(self, shard: Shard, marks: Marks) -> bool:
        """Whether a shard holds a record beyond its mark."""
        mark = marks.get(shard.number, Mark(since=TRIM_HORIZON if marks else self._settings.since))
        if mark.is_ended:
            return False
        beyond = mark.after or mark.since
        known = self._looks.get(shard.number)
        try:
            iterator = known[1] if known is not None and known[0] == beyond else self._look(shard, mark)
            answer = self._kinesis.records(iterator, 1)
        except (Gone, Expired):
            self._looks.pop(shard.number, None)
            return True  # landing finds out
        if answer.records:
            # Asked again, as long as it has not landed.
            self._looks[shard.number] = beyond, iterator
        elif answer.next is not None:
            self._looks[shard.number] = beyond, answer.next
        return bool(answer.records) or answer.behind_s > 0

    def _look(self, shard: Shard, mark: Mark) -> str:
        if mark.after:
            return self._kinesis.iterator(shard, "AFTER_SEQUENCE_NUMBER", mark.after)
        if mark.since in {TRIM_HORIZON, LATEST}:
            return self._kinesis.iterator(shard, mark.since)
        return self._kinesis.iterator(shard, "AT_TIMESTAMP", datetime.fromisoformat(mark.since))


class ShardFollowing:
    """The shards of a stream, read and handed on in a thread."""

    def __init__(self, spark: SparkSession, kinesis: Kinesis, reader: ShardReader, work: Work) -> None:
        from pyspark import InheritableThread

        self._spark = spark
        self._kinesis = kinesis
        self._reader = reader
        self._work = work
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = InheritableThread(target=self._run, name=work.title, daemon=True)
        self._thread.start()

    @property
    def is_active(self) -> bool:
        return bool(self._thread.is_alive())

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def await_termination(self, timeout: int | None = None) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def exception(self) -> Exception | None:
        return self._failure

    def _run(self) -> None:
        began = time.time()
        try:
            with self._kinesis, self._reader:
                self._kinesis.topic()  # which tells the retention
                while not self._stop.is_set():
                    is_full = self._micro_batch()
                    whole = self._reader.whole_at
                    if self._work.until_idle and not is_full and (whole is None or whole >= began):
                        return
                    if not is_full:
                        self._stop.wait(self._work.interval_s)
        except Exception as error:  # noqa: BLE001 -- for who follows to sort
            self._failure = error

    def _micro_batch(self) -> bool:
        """Whether there may be more at once."""
        read = self._reader.read()
        if read.rows and not self._stop.is_set():
            records = self._spark.createDataFrame(read.table())
            self._work.batch(self._work.decoding(records), read.start, read.reach)
        self._reader.done(read)
        return read.is_full
