"""Real engines, started and stopped as a user does it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.config import Config

from headrace import config
from headrace.config import Settings
from headrace.errors import DownloadError, EngineError
from headrace.local import engines
from headrace.local.engines import EngineStatus, endpoint, running, status, up

COMMAND = Path(sys.executable).with_name("headrace")


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A home of the test's own, with a space in its name; whatever runs in it is stopped afterwards."""
    settings = config.load([f"home={tmp_path / 'a home'}"], environment="local")
    yield settings
    engines.down([], settings)


def started(name: str, settings: Settings) -> EngineStatus:
    try:
        (found,) = up([name], settings, progress=False)
    except DownloadError as error:
        pytest.skip(f"{name}: {error}")
    assert found.state == "running"
    return found


def kill(found: EngineStatus, settings: Settings) -> None:
    """kill -9, as a crash; then the engine is known to be dead and says how to start it."""
    os.kill(found.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(found.pid)] if psutil.pid_exists(found.pid) else [], timeout=20)
    assert [now.state for now in status(settings, [found.name])] == ["dead"]
    with pytest.raises(EngineError, match=f"is dead in .*`headrace up {found.name}`"):
        endpoint(found.name, settings)


def client(service: str, address: str | None) -> boto3.client:
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
    return boto3.client(service, endpoint_url=address, config=Config(s3={"addressing_style": "path"}), **keys)


def names(table: EngineStatus) -> list[str]:
    return client("dynamodb", table.endpoint).list_tables()["TableNames"]


@pytest.mark.dynamodb
def test_dynamodb_keeps_its_data_over_down_a_crash_and_a_taken_port(settings):
    first = started("dynamodb", settings)
    client("dynamodb", first.endpoint).create_table(
        TableName="kept",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    assert endpoint("dynamodb", settings) == first.endpoint
    assert started("dynamodb", settings) == first  # idempotent: the same process

    (stopped,) = engines.down(["dynamodb"], settings)
    assert stopped.state == "stopped"
    assert not psutil.pid_exists(first.pid)
    again = started("dynamodb", settings)
    assert (again.endpoint, names(again)) == (first.endpoint, ["kept"])
    assert again.pid != first.pid

    kill(again, settings)
    port = int(first.endpoint.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        moved = started("dynamodb", settings)
    assert moved.endpoint != first.endpoint
    assert names(moved) == ["kept"]


@pytest.mark.dynamodb
def test_dynamodb_for_tests_leaves_nothing_behind(tmp_path):
    with running("dynamodb", tmp_path) as first:
        assert names(first) == []
        command = psutil.Process(first.pid).cmdline()
        assert "-Xmx256m" in command
        assert "-inMemory" in command
    assert not psutil.pid_exists(first.pid)
    assert list((tmp_path / "dynamodb" / "data").iterdir()) == []


@pytest.mark.kafka
def test_kafka_keeps_its_records_over_down_and_a_crash(settings):
    from kafka import KafkaConsumer, KafkaProducer
    from kafka.admin import KafkaAdminClient, NewTopic

    def produce(found: EngineStatus, *values: bytes) -> None:
        producer = KafkaProducer(bootstrap_servers=found.endpoint)
        for value in values:
            # A record as old as replayed history is kept too.
            producer.send("kept", value, timestamp_ms=1_291_161_600_000).get(timeout=30)
        producer.close()

    def consumed(found: EngineStatus) -> list[bytes]:
        consumer = KafkaConsumer(
            "kept", bootstrap_servers=found.endpoint, auto_offset_reset="earliest", consumer_timeout_ms=8000
        )
        values = []
        for record in consumer:
            values.append(record.value)
            if record.value == b"last":
                break
        consumer.close()
        return values

    first = started("kafka", settings)
    admin = KafkaAdminClient(bootstrap_servers=first.endpoint)
    admin.create_topics([NewTopic(name="kept", num_partitions=1, replication_factor=1)])
    admin.close()
    produce(first, b"one", b"two")
    assert started("kafka", settings) == first
    engines.down(["kafka"], settings)
    again = started("kafka", settings)
    assert again.endpoint == first.endpoint
    produce(again, b"three")
    kill(again, settings)
    recovered = started("kafka", settings)
    produce(recovered, b"last")
    assert consumed(recovered) == [b"one", b"two", b"three", b"last"]


@pytest.mark.kafka
def test_an_engine_that_does_not_start_shows_the_end_of_its_log(settings):
    data = settings.engine_home / "kafka" / "data"
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\nnode.id=99\ncluster.id=AAAAAAAAAAAAAAAAAAAAAA\n")
    try:
        with pytest.raises(EngineError, match=r"kafka does not start.*engine\.log(.|\n)*99(.|\n)*headrace doctor"):
            up(["kafka"], settings, progress=False)
    except DownloadError as error:
        pytest.skip(f"kafka: {error}")
    assert [now.state for now in status(settings, ["kafka"])] == ["stopped"]


@pytest.mark.s3
def test_s3_keeps_its_objects_over_down_and_a_crash(settings):
    first = started("s3", settings)
    store = client("s3", first.endpoint)
    store.create_bucket(Bucket="lake")
    store.put_object(Bucket="lake", Key="a folder/ü.bin", Body=bytes(range(256)))
    store.put_object(Bucket="lake", Key="gone", Body=b"x")
    engines.down(["s3"], settings)
    again = started("s3", settings)
    store = client("s3", again.endpoint)
    store.delete_object(Bucket="lake", Key="gone")
    kill(again, settings)
    recovered = client("s3", started("s3", settings).endpoint)
    assert [item["Key"] for item in recovered.list_objects_v2(Bucket="lake")["Contents"]] == ["a folder/ü.bin"]
    assert recovered.get_object(Bucket="lake", Key="a folder/ü.bin")["Body"].read() == bytes(range(256))


@pytest.mark.kinesis
def test_kinesis_starts_empty_after_down(settings):
    first = started("kinesis", settings)
    streams = client("kinesis", first.endpoint)
    streams.create_stream(StreamName="clicks", ShardCount=1)
    sent = [streams.put_record(StreamName="clicks", Data=b"x", PartitionKey="k")["SequenceNumber"] for _ in range(2)]
    assert [len(number) for number in sent] == [56, 56]
    assert int(sent[1]) - int(sent[0]) > 1
    assert started("kinesis", settings) == first
    assert [now.state for now in engines.down(["kinesis"], settings)] == ["stopped"]
    again = client("kinesis", started("kinesis", settings).endpoint)
    assert again.list_streams()["StreamNames"] == []


@pytest.mark.s3
def test_two_commands_at_once_start_one_engine_that_outlives_them(settings):
    environment = {**os.environ, "HEADRACE_HOME": str(settings.home)}
    commands = [
        subprocess.Popen([COMMAND, "up", "s3"], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [command.communicate(timeout=120)[0] for command in commands]
    assert [command.returncode for command in commands] == [0, 0]
    assert said[0] == said[1]
    shown = subprocess.run([COMMAND, "status", "s3", "--json"], env=environment, capture_output=True, check=True)
    (found,) = json.loads(shown.stdout)
    assert (found["state"], f"pid {found['pid']} " in said[0]) == ("running", True)
    ours = [found["pid"]]
    assert [p.pid for p in psutil.process_iter(["cmdline"]) if _serves(p, found["endpoint"])] == ours
    subprocess.run([COMMAND, "down"], env=environment, capture_output=True, check=True)
    assert not psutil.pid_exists(found["pid"])


def _serves(candidate: psutil.Process, address: str) -> bool:
    command = candidate.info["cmdline"] or []
    return "moto.server" in command and address.rpartition(":")[2] in command


@pytest.mark.kafka
def test_a_start_that_is_interrupted_leaves_nothing_running_and_the_next_one_works(settings):
    # The engine that takes longest but for Cassandra: it must not be up before this process has its turn again.
    environment = {**os.environ, "HEADRACE_HOME": str(settings.home)}
    command = subprocess.Popen([COMMAND, "up", "kafka"], env=environment, stderr=subprocess.PIPE, text=True)
    folder = settings.engine_home / "kafka"
    while not (folder / "state.json").is_file():
        assert command.poll() is None
    command.send_signal(signal.SIGINT)
    said = command.communicate(timeout=60)[1]
    assert (command.returncode, "interrupted; run the same command again" in said) == (130, True)
    assert [now.state for now in status(settings, ["kafka"])] == ["stopped"]
    assert started("kafka", settings).state == "running"


@pytest.mark.slow
@pytest.mark.s3
def test_an_engine_that_hangs_is_replaced(settings):
    first = started("s3", settings)
    os.kill(first.pid, signal.SIGSTOP)
    assert [now.state for now in status(settings, ["s3"])] == ["silent"]
    second = started("s3", settings)
    assert second.pid != first.pid
    assert not psutil.pid_exists(first.pid)


@pytest.mark.cassandra
def test_cassandra_answers_a_query(tmp_path):
    def exchange(connection: socket.socket, opcode: int, body: bytes) -> tuple[int, bytes]:
        connection.sendall(bytes([4, 0, 0, 1, opcode]) + len(body).to_bytes(4) + body)
        header = connection.recv(9, socket.MSG_WAITALL)
        return header[4], connection.recv(int.from_bytes(header[5:]), socket.MSG_WAITALL)

    def text(value: bytes) -> bytes:
        return len(value).to_bytes(2) + value

    query = b"SELECT partitioner, listen_address FROM system.local"
    try:
        with running("cassandra", tmp_path) as found:
            host, _, port = found.endpoint.partition(":")
            with socket.create_connection((host, int(port)), timeout=30) as connection:
                ready, _ = exchange(connection, 1, (1).to_bytes(2) + text(b"CQL_VERSION") + text(b"3.0.0"))
                rows, body = exchange(connection, 7, len(query).to_bytes(4) + query + (1).to_bytes(2) + b"\0")
            listening = {c.laddr.ip for c in psutil.Process(found.pid).net_connections("tcp") if c.status == "LISTEN"}
    except DownloadError as error:
        pytest.skip(f"cassandra: {error}")
    assert (ready, rows) == (2, 8)
    assert b"Murmur3Partitioner" in body
    assert listening == {"127.0.0.1"}
