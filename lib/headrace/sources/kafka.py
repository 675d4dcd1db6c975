"""Kafka as a log: topics by identity, what they hold, and their records at exact offsets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import TYPE_CHECKING

from headrace.errors import (
    InputError,
    RetentionGap,
    TerminalError,
    TransientError,
    nearest,
)
from headrace.sources.kafka_access import client_options, named_refusals, spark_options
from headrace.sources.kafka_producer import close_producer, open_producer
from headrace.sources.streams import Topic

if TYPE_CHECKING:
    from kafka import KafkaProducer
    from kafka.consumer.fetcher import ConsumerRecord
    from pyspark.sql import DataFrame, SparkSession

    from headrace.config import KafkaSettings

_PATIENCE_MS = 10_000
_FETCH_MS = 30_000
_UNKNOWN_TOPIC = 3
_COLUMNS = "key binary, value binary, partition int, offset bigint, timestamp timestamp"
_HEADERS = "headers array<struct<key: string, value: binary>>"


class Broker:
    """What a Kafka cluster says about its topics, and a way to write to them; use it in a `with`.

    Raises, from every method: EngineError when nobody answers, TransientError for what passes, ConfigError when
    the cluster refuses who we are.
    """

    def __init__(self, kafka: KafkaSettings, bootstrap: str) -> None:
        self._options = {**client_options(kafka, bootstrap), "bootstrap_timeout_ms": _PATIENCE_MS}
        self._bootstrap = bootstrap
        self._opened = ExitStack()

    def __enter__(self) -> Broker:
        from kafka import KafkaAdminClient

        # It warns of every tenth of a second in which a busy machine did not get to it.
        logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)
        with self.named():
            self._admin = KafkaAdminClient(**self._options)
        self._opened.callback(self._admin.close)
        return self

    def __exit__(self, *_: object) -> None:
        with self.named():
            self._opened.close()

    def topic(self, name: str) -> Topic:
        """The topic of that name as it is now. Raises InputError, naming the nearest, when there is none."""
        with self.named():
            described = self._admin.describe_topics([name])[0]
            if described["error_code"] == _UNKNOWN_TOPIC:
                among = [other for other in self._admin.list_topics() if not other.startswith("__")]
                raise InputError(
                    f"there is no topic {name!r}",
                    found=f"{len(among)} topics at {self._bootstrap}",
                    nearest=nearest(name, among),
                    do="create it: `headrace replay FILE --to STREAM` does, and so does `kafka-topics.sh --create`",
                )
            _raise_for(described["error_code"])
        if described["topic_id"] is None:
            raise TerminalError(
                f"the topic {name!r} has no identity", found="a broker without topic ids", expected="Kafka 2.8 or newer"
            )
        partitions = sorted(partition["partition_index"] for partition in described["partitions"])
        return Topic(name, str(described["topic_id"]), tuple(partitions))

    def held(self, topic: Topic) -> dict[int, tuple[int, int]]:
        """For each partition that the topic had when it was looked up, the earliest offset held and the next one.

        The next offset is where a reader that has read everything stands; behind a transaction, or in a compacted
        topic, it may be more than one past the last record.
        """
        from kafka import IsolationLevel, OffsetSpec, TopicPartition

        places = [TopicPartition(topic.name, partition) for partition in topic.partitions]
        with self.named():
            ends = [
                self._admin.list_partition_offsets(dict.fromkeys(places, spec), IsolationLevel.READ_COMMITTED)
                for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
            ]
        return {place.partition: (ends[0][place].offset, ends[1][place].offset) for place in places}

    def create(self, name: str, partitions: int) -> Topic:
        """The topic of that name, made with so many partitions when there is none; one that is there is left as it is.

        The broker stamps its records as they arrive, whatever its producers' clocks say.
        """
        from kafka.errors import TopicAlreadyExistsError

        wanted = {"num_partitions": partitions, "configs": {"message.timestamp.type": "LogAppendTime"}}
        with self.named():
            with suppress(TopicAlreadyExistsError):
                self._admin.create_topics({name: wanted})
            self._admin.wait_for_topics([name], _PATIENCE_MS)
        return self.topic(name)

    def producer(self) -> KafkaProducer:
        """An idempotent producer whose records are acknowledged by all replicas; closed with the broker.

        A record's partition is that of Kafka's own clients: by the hash of its key.
        """
        with self.named():
            producer = open_producer(self._options)
        self._opened.callback(close_producer, producer)
        return producer

    def records(self, topic: Topic, start: Mapping[int, int], end: Mapping[int, int]) -> Iterator[ConsumerRecord]:
        """The records of every partition in `end` from its offset in `start` (absent: 0) to before that in `end`.

        For what is small or needs no Spark. Raises RetentionGap when they are no longer held.
        """
        from kafka import KafkaConsumer, TopicPartition
        from kafka.errors import OffsetOutOfRangeError

        open_ends = {TopicPartition(topic.name, p): e for p, e in end.items() if e > start.get(p, 0)}
        if not open_ends:
            return
        with self.named(), ExitStack() as opened:
            options = {"isolation_level": "read_committed", "auto_offset_reset": "none", "enable_auto_commit": False}
            reader = KafkaConsumer(**self._options, **options)
            opened.callback(reader.close, autocommit=False)
            reader.assign(list(open_ends))
            for place in open_ends:
                reader.seek(place, start.get(place.partition, 0))
            while open_ends:
                try:
                    fetched = reader.poll(timeout_ms=_FETCH_MS)
                except OffsetOutOfRangeError as error:
                    raise RetentionGap(
                        f"topic {topic.name!r} no longer holds what is to be read", do=topic.lost
                    ) from error
                for place, records in fetched.items():
                    yield from (record for record in records if record.offset < open_ends.get(place, 0))
                reached = [place for place, offset in open_ends.items() if reader.position(place) >= offset]
                if not fetched and not reached:
                    raise TransientError(f"topic {topic.name!r} gave no record for {_FETCH_MS // 1000} s")
                for place in reached:
                    del open_ends[place]
                    reader.pause(place)

    def named(self) -> AbstractContextManager[None]:
        """Raise what kafka-python raises in the block as the errors of this class."""
        return named_refusals(self._bootstrap)


def stream_records(
    spark: SparkSession,
    kafka: KafkaSettings,
    bootstrap: str,
    topic: Topic,
    start: Mapping[int, int],
    *,
    headers: bool = False,
) -> DataFrame:
    """The topic as a stream that begins at exactly `start` of each partition; absent is 0.

    Out: key binary, value binary, partition int, offset bigint, timestamp timestamp, and with `headers` headers
    array<struct<key, value>>. A partition that is added while the query runs is read from its beginning. `start`
    counts only without a checkpoint. The query fails when offsets are no longer held, so `check_retention` first;
    it also fails when a partition was added since `topic` was looked up, so look it up last. Streams: append.
    """
    reader = spark.readStream.format("kafka").options(**spark_options(kafka, bootstrap))
    reader = reader.options(
        subscribe=topic.name,
        startingOffsets=_offsets(topic.name, {p: start.get(p, 0) for p in topic.partitions}),
        failOnDataLoss="true",
        groupIdPrefix="headrace",
        includeHeaders=str(headers).lower(),
    )
    if kafka.max_per_trigger:
        reader = reader.option("maxOffsetsPerTrigger", kafka.max_per_trigger)
    return _columns(reader.load(), headers)


def range_records(  # noqa: PLR0917 - a range of a topic, as one says it
    spark: SparkSession,
    kafka: KafkaSettings,
    bootstrap: str,
    topic: Topic,
    start: Mapping[int, int],
    end: Mapping[int, int],
    *,
    headers: bool = False,
) -> DataFrame:
    """The records of every partition in `end` from its offset in `start` (absent: 0) to before that in `end`.

    Out: the columns of `stream_records`. Computing it fails when offsets are not held. Streams: batch only.
    """
    wanted = {p: (start.get(p, 0), e) for p, e in end.items() if e > start.get(p, 0)}
    if not wanted:
        return spark.createDataFrame([], f"{_COLUMNS}, {_HEADERS}" if headers else _COLUMNS)
    reader = spark.read.format("kafka").options(**spark_options(kafka, bootstrap))
    reader = reader.options(
        # By partition rather than by topic, so that a partition that was added meanwhile is no concern.
        assign=json.dumps({topic.name: sorted(wanted)}),
        startingOffsets=_offsets(topic.name, {p: s for p, (s, _) in wanted.items()}),
        endingOffsets=_offsets(topic.name, {p: e for p, (_, e) in wanted.items()}),
        failOnDataLoss="true",
        groupIdPrefix="headrace",
        includeHeaders=str(headers).lower(),
    )
    return _columns(reader.load(), headers)


def _offsets(topic: str, offsets: Mapping[int, int]) -> str:
    return json.dumps({topic: {str(partition): offset for partition, offset in sorted(offsets.items())}})


def _columns(records: DataFrame, headers: bool) -> DataFrame:
    names = ["key", "value", "partition", "offset", "timestamp"]
    return records.select(*names, "headers") if headers else records.select(*names)


def _raise_for(code: int) -> None:
    from kafka.errors import for_code

    if code:
        raise for_code(code)()
