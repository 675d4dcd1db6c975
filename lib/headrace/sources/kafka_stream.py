"""A Kafka topic as the speed layer reads it: its offsets are the positions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.sources.kafka import Broker, stream_records
from headrace.sources.streams import Feed, Head, Place, Reach, Topic, Work

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

    from headrace.config import KafkaSettings


class KafkaFeed(Feed):
    """A topic, read by Spark's own source."""

    def __init__(self, kafka: KafkaSettings, bootstrap: str, name: str) -> None:
        self.name = name
        self.max_ahead_s = kafka.max_ahead_s
        self._kafka = kafka
        self._bootstrap = bootstrap
        self._broker = Broker(kafka, bootstrap)

    def __enter__(self) -> KafkaFeed:
        self._broker.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._broker.__exit__()

    def topic(self) -> Topic:
        return self._broker.topic(self.name)

    def held(self, topic: Topic, place: Place) -> dict[int, tuple[int, int]]:
        del place
        return self._broker.held(topic)

    def head(self, topic: Topic, now: datetime) -> Head:
        ends = {partition: following for partition, (_, following) in self._broker.held(topic).items()}
        return Head(ends, now, ends)

    def lag(self, topic: Topic, reached: Mapping[int, int]) -> dict[int, int]:
        return {p: max(0, following - reached.get(p, 0)) for p, (_, following) in self._broker.held(topic).items()}

    def follow(self, spark: SparkSession, topic: Topic, start: Reach, work: Work) -> QueryFollowing:
        # Decoded by the query itself, which builds that plan once; a micro-batch would build it each time.
        records = stream_records(spark, self._kafka, self._bootstrap, topic, start.ends, headers=work.headers)
        return QueryFollowing(work.decoding(records), topic.name, start.ends, work)


class QueryFollowing:
    """A streaming query. Its checkpoint is never read again: the next one begins where lake and store say."""

    def __init__(self, decoded: DataFrame, topic: str, start: Mapping[int, int], work: Work) -> None:
        self._topic = topic
        self._start = start
        self._work = work
        writing = decoded.writeStream.foreachBatch(self._micro_batch).queryName(work.title)
        writing = writing.option("checkpointLocation", str(work.checkpoint))
        if work.until_idle:
            writing = writing.trigger(availableNow=True)
        else:
            writing = writing.trigger(processingTime=f"{round(work.interval_s * 1000)} milliseconds")
        self._query: StreamingQuery = writing.start()

    @property
    def is_active(self) -> bool:
        return self._query.isActive

    def stop(self) -> None:
        self._query.stop()

    def await_termination(self, timeout: int | None = None) -> bool:
        from pyspark.errors import StreamingQueryException

        with suppress(StreamingQueryException):
            if timeout is not None:
                return bool(self._query.awaitTermination(timeout))
            self._query.awaitTermination()
        return True

    def exception(self) -> Exception | None:
        return self._query.exception()

    def _micro_batch(self, decoded: DataFrame, number: int) -> None:
        begin = self._start if number == 0 else end_of(self._work.checkpoint, self._topic, number - 1)
        self._work.batch(decoded, begin, Reach(end_of(self._work.checkpoint, self._topic, number)))


def end_of(checkpoint: Path, topic: str, number: int) -> dict[int, int]:
    """partition -> offset at which a micro-batch ends, from the log that Spark writes before it runs the batch."""
    lines = (checkpoint / "offsets" / str(number)).read_text("utf-8").splitlines()
    return {int(partition): n for partition, n in json.loads(lines[-1])[topic].items()}
