"""Kinesis as the tests see it: moto's server in this process, whose faults are made at will, and a stream's log."""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.exceptions import JsonRESTError
from moto.kinesis import models
from moto.server import ThreadedMotoServer

from headrace.config import Settings
from headrace.local import kinesis_server
from headrace.sources.kinesis import Kinesis, number_of
from headrace.sources.streams import Topic


class Server:
    """Its faults: the next calls of an operation fail with a code."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.failing: dict[str, list[str]] = defaultdict(list)
        self.calls: dict[str, int] = defaultdict(int)

    def stream(self, name: str) -> models.Stream:
        return models.kinesis_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].streams[name]

    def forget(self, name: str, shard: int, before: int) -> None:
        """Expire the first records of a shard; the stream's retention is over for whatever is not there."""
        stream = self.stream(name)
        found = next(each for each in stream.shards.values() if number_of(each.shard_id) == shard)
        for number in found.order[:before]:
            del found.records[number]
        del found.order[:before]
        stream.retention_period_hours = 0

    def fail(self, operation: str, code: str, times: int = 1) -> None:
        self.failing[operation] += [code] * times


@contextmanager
def served() -> Iterator[Server]:
    """A server for the length of a block."""
    kinesis_server.mend()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it tells of every call
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    made = Server(f"http://{host}:{port}")
    kept = {name: getattr(models.KinesisBackend, name) for name in ("get_records", "get_shard_iterator")}

    def faulty(name: str) -> Any:
        def call(*arguments: Any) -> Any:
            made.calls[name] += 1
            if made.failing[name]:
                raise JsonRESTError(made.failing[name].pop(0), "as the test wants it")
            return kept[name](*arguments)

        return call

    for name in kept:
        setattr(models.KinesisBackend, name, faulty(name))
    try:
        yield made
    finally:
        for name, call in kept.items():
            setattr(models.KinesisBackend, name, call)
        server.stop()


@dataclass(frozen=True)
class Record:
    """One record at the position it lands at."""

    partition: int
    offset: int
    value: bytes


class KinesisLog:
    """What streams hold, told as a Kafka broker tells it: the n-th record of a shard stands at position n."""

    def __init__(self, server: Server, settings: Settings) -> None:
        self.server = server
        self._settings = settings
        self._opened: dict[str, Kinesis] = {}

    def kinesis(self, name: str) -> Kinesis:
        if name not in self._opened:
            self._opened[name] = Kinesis(self._settings.kinesis, self.server.endpoint, name).__enter__()
        return self._opened[name]

    def topic(self, name: str) -> Topic:
        return self.kinesis(name).topic()

    def create(self, name: str, shards: int) -> Topic:
        client = self.kinesis(name)._client
        if name not in client.list_streams(Limit=100)["StreamNames"]:
            client.create_stream(StreamName=name, ShardCount=shards)
        return self.topic(name)

    def recreate(self, name: str, shards: int) -> Topic:
        self.kinesis(name)._client.delete_stream(StreamName=name)
        time.sleep(0.002)  # the time it is made at is its identity
        return self.create(name, shards)

    def held(self, topic: Topic) -> dict[int, tuple[int, int]]:
        return {n: (0, len(shard.order)) for n, shard in self._shards(topic.name).items()}

    def records(self, topic: Topic, start: Mapping[int, int], end: Mapping[int, int]) -> Iterator[Record]:
        for number, shard in self._shards(topic.name).items():
            for at, key in list(enumerate(shard.order))[start.get(number, 0) : end.get(number, 0)]:
                yield Record(number, at, shard.records[key].to_json()["Data"])

    def put(self, name: str, records: Iterable[tuple[int | None, bytes, str]]) -> list[tuple[int, str]]:
        """Shard (None: by the key), value and key of each; the shard and sequence number it has."""
        client, shards = self.kinesis(name)._client, self._shards(name)
        rows = [
            {"Data": value, "PartitionKey": key}
            | ({"ExplicitHashKey": str(shards[shard].starting_hash)} if shard is not None else {})
            for shard, value, key in records
        ]
        found: list[tuple[int, str]] = []
        while rows:
            some = rows[: 500 if len(rows[0]["Data"]) < 8_000 and len(rows[-1]["Data"]) < 8_000 else 5]
            rows = rows[len(some) :]
            told = client.put_records(StreamName=name, Records=some)
            assert not told["FailedRecordCount"]
            found += [(number_of(one["ShardId"]), one["SequenceNumber"]) for one in told["Records"]]
        return found

    def put_json(self, name: str, record: Mapping[str, Any], key: str) -> tuple[int, str]:
        """One record, by itself, to the shard of its key; the shard and sequence number it has."""
        told = self.kinesis(name)._client.put_record(
            StreamName=name, Data=json.dumps(record).encode(), PartitionKey=key
        )
        return number_of(told["ShardId"]), told["SequenceNumber"]

    def send(self, name: str, rows: Iterable[Mapping[str, Any] | bytes]) -> int:
        """The events, keyed by who."""
        given = [
            (None, row, "bytes") if isinstance(row, bytes) else (None, json.dumps(row).encode(), str(row["who"]))
            for row in rows
        ]
        return len(self.put(name, given))

    def split(self, name: str, shard: int) -> None:
        told = self._shards(name)[shard]
        middle = (told.starting_hash + told.ending_hash) // 2
        self.kinesis(name)._client.split_shard(
            StreamName=name, ShardToSplit=told.shard_id, NewStartingHashKey=str(middle)
        )

    def merge(self, name: str, one: int, other: int) -> None:
        shards = self._shards(name)
        self.kinesis(name)._client.merge_shards(
            StreamName=name, ShardToMerge=shards[one].shard_id, AdjacentShardToMerge=shards[other].shard_id
        )

    def _shards(self, name: str) -> dict[int, Any]:
        return {number_of(shard.shard_id): shard for shard in self.server.stream(name).shards.values()}
