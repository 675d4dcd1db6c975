"""Landing a stream of kinesis-local, a second stand-in of another make, which splits and merges shards as it is.

It runs on Node, which is no dependency of ours: $KINESIS_LOCAL names the `main.js` of the npm package kinesis-local.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from kinesis_cases import KinesisCases
from kinesis_log import KinesisLog, Record
from streamed import KinesisWorld, wait_for

from headrace.local.ports import choose
from headrace.sources.kinesis import number_of
from headrace.sources.streams import Topic

MAIN = os.environ.get("KINESIS_LOCAL", "")
NODE = shutil.which("node")
pytestmark = [
    pytest.mark.spark,
    pytest.mark.kinesis,
    pytest.mark.skipif(not (MAIN and NODE), reason="node, or kinesis-local's main.js in $KINESIS_LOCAL, is absent"),
]


@dataclass(frozen=True)
class Server:
    """Where it answers."""

    endpoint: str


@dataclass
class Shard:
    """A shard as the API tells it; order: its sequence numbers."""

    shard_id: str
    starting_hash: int
    ending_hash: int
    order: list[str] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)


class ToldLog(KinesisLog):
    """What streams hold, as the API alone tells it."""

    def create(self, name: str, shards: int) -> Topic:
        client = self.kinesis(name)._client
        if name not in client.list_streams(Limit=100)["StreamNames"]:
            client.create_stream(StreamName=name, ShardCount=shards)
        self._wait(name)
        return self.topic(name)

    def recreate(self, name: str, shards: int) -> Topic:
        client = self.kinesis(name)._client
        client.delete_stream(StreamName=name)
        wait_for(lambda: name not in client.list_streams(Limit=100)["StreamNames"])
        return self.create(name, shards)

    def split(self, name: str, shard: int) -> None:
        super().split(name, shard)
        self._wait(name)

    def merge(self, name: str, one: int, other: int) -> None:
        super().merge(name, one, other)
        self._wait(name)

    def records(self, topic: Topic, start: Mapping[int, int], end: Mapping[int, int]) -> Iterator[Record]:
        for number, shard in self._read(topic.name).items():
            held = list(enumerate(shard.values))
            for at, value in held[start.get(number, 0) : end.get(number, 0)]:
                yield Record(number, at, value)

    def held(self, topic: Topic) -> dict[int, tuple[int, int]]:
        return {number: (0, len(shard.order)) for number, shard in self._read(topic.name).items()}

    def _shards(self, name: str) -> dict[int, Shard]:
        told = self.kinesis(name)._client.list_shards(StreamName=name)["Shards"]
        ranges = ((one["ShardId"], one["HashKeyRange"]) for one in told)
        return {
            number_of(shard): Shard(shard, int(keys["StartingHashKey"]), int(keys["EndingHashKey"]))
            for shard, keys in ranges
        }

    def _read(self, name: str) -> dict[int, Shard]:
        client, shards = self.kinesis(name)._client, self._shards(name)
        for shard in shards.values():
            first = client.get_shard_iterator(StreamName=name, ShardId=shard.shard_id, ShardIteratorType="TRIM_HORIZON")
            at = first["ShardIterator"]
            while at:
                told = client.get_records(ShardIterator=at)
                shard.order += [record["SequenceNumber"] for record in told["Records"]]
                shard.values += [record["Data"] for record in told["Records"]]
                at = told.get("NextShardIterator") if told["Records"] or told["MillisBehindLatest"] else None
        return shards

    def _wait(self, name: str) -> None:
        client = self.kinesis(name)._client

        def active() -> bool:
            told = client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
            return bool(told["StreamStatus"] == "ACTIVE")

        wait_for(active)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    ports = {name: str(port) for name, port in choose(("KINESIS_MOCK_PLAIN_PORT", "KINESIS_MOCK_TLS_PORT"), {}).items()}
    plain = ports["KINESIS_MOCK_PLAIN_PORT"]
    quick = {f"{act}_DURATION": "10ms" for act in ("CREATE_STREAM", "DELETE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS")}
    environment = {**os.environ, **quick, **ports, "SHARD_LIMIT": "500", "LOG_LEVEL": "ERROR"}
    log = tmp_path_factory.mktemp("kinesis-local") / "server.log"
    with log.open("wb") as told:
        process = subprocess.Popen(
            [NODE or "node", MAIN], cwd=Path(MAIN).parent, env=environment, stdout=told, stderr=told
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", int(plain)), timeout=5):
                break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield Server(f"http://127.0.0.1:{plain}")
    finally:
        process.kill()  # it keeps nothing, and does not end on SIGTERM
        process.wait(20)


@pytest.fixture
def world(spark, server, headrace_settings) -> Iterator[KinesisWorld]:
    spark.conf.set("spark.sql.adaptive.enabled", "false")
    settings = headrace_settings(f"kinesis.endpoint={server.endpoint}", "stream.ingest_interval_s=0.1")
    made = KinesisWorld(spark, settings, server.endpoint, log=ToldLog(server, settings))
    named = settings.kinesis.model_copy(update={"streams": (made.name,)})
    made.settings = settings.model_copy(update={"kinesis": named})
    yield made
    spark.conf.unset("spark.sql.adaptive.enabled")


class TestKinesisLocal(KinesisCases):
    """The contract."""
