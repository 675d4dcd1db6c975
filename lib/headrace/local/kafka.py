"""Kafka in KRaft mode: one process that is broker and controller."""

from __future__ import annotations

import base64
import subprocess
import uuid
from collections.abc import Mapping

from headrace.config import EnginesSettings
from headrace.errors import EngineError
from headrace.local.launch import LOOPBACK, Engine, Place
from headrace.local.wire import ask

_API_VERSIONS = 18
# Request header v1 (api key, version, correlation 7, client id "headrace"); ApiVersions v0 has no body.
_REQUEST = _API_VERSIONS.to_bytes(2) + (0).to_bytes(2) + (7).to_bytes(4) + (8).to_bytes(2) + b"headrace"

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{address}:{controller}
listeners=PLAINTEXT://{address}:{client},CONTROLLER://{address}:{controller}
advertised.listeners=PLAINTEXT://{address}:{client}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# Retention goes by the records' own times, and replayed history is years old.
log.retention.ms=-1
# A misspelled stream must fail, not become an empty topic.
auto.create.topics.enable=false
"""


class Kafka(Engine):
    """Kafka 4."""

    name = "kafka"
    jar_groups = ("kafka",)
    port_names = ("client", "controller")

    def heap_mb(self, settings: EnginesSettings) -> int:
        return settings.kafka_heap_mb

    def prepare(self, place: Place) -> None:
        properties = place.home / "server.properties"
        # Java properties take a backslash as an escape.
        data = str(place.data).replace("\\", "\\\\")
        properties.write_text(_PROPERTIES.format(address=LOOPBACK, data=data, **place.ports), "utf-8")
        if (place.data / "meta.properties").is_file():
            return
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # An identifier must not look like an option.
        cluster = cluster.replace("-", "A")
        formatted = subprocess.run(  # noqa: S603 - a fixed list, no shell
            [*place.virtual_machine(), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if formatted.returncode:
            raise EngineError("kafka's storage cannot be formatted", found=formatted.stdout[-1000:].strip())

    def command(self, place: Place) -> list[str]:
        return [*place.virtual_machine(), "kafka.Kafka", str(place.home / "server.properties")]

    def answers(self, ports: Mapping[str, int], timeout_s: float) -> bool:
        answer = ask(ports["client"], len(_REQUEST).to_bytes(4) + _REQUEST, 10, timeout_s)
        # size, correlation 7, error code 0
        return answer[4:] == (7).to_bytes(4) + (0).to_bytes(2)
