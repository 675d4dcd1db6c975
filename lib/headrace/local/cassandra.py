"""Cassandra: one node, the same partitioner as Amazon Keyspaces."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.config import EnginesSettings
from headrace.errors import EngineError
from headrace.local.launch import LOOPBACK, Engine, Place
from headrace.local.wire import ask

# Native protocol v4: request version, no flags, stream 0, opcode OPTIONS, empty body.
_OPTIONS = bytes([0x04, 0, 0, 0, 0x05, 0, 0, 0, 0])
_SUPPORTED = bytes([0x84, 0, 0, 0, 0x06])

_CONFIGURATION = """\
cluster_name: headrace
num_tokens: 16
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
commitlog_sync: periodic
commitlog_sync_period: 1000ms
listen_address: {address}
rpc_address: {address}
storage_port: {storage}
native_transport_port: {client}
endpoint_snitch: SimpleSnitch
auto_snapshot: false
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "{address}:{storage}"
"""

# Without this, logback writes every debug line.
_LOGGING = """\
<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level [%thread] %date{ISO8601} %F:%L - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
"""

# From Cassandra 5.0's conf/jvm17-server.options.
_OPENED = {
    "exports": [
        "java.base/jdk.internal.misc",
        "java.management.rmi/com.sun.jmx.remote.internal.rmi",
        "java.rmi/sun.rmi.registry",
        "java.rmi/sun.rmi.server",
        "java.rmi/sun.rmi.transport.tcp",
        "java.sql/java.sql",
        "java.base/java.lang.ref",
        "jdk.unsupported/sun.misc",
    ],
    "opens": [
        "java.base/java.lang.module",
        "java.base/jdk.internal.loader",
        "java.base/jdk.internal.ref",
        "java.base/jdk.internal.reflect",
        "java.base/jdk.internal.math",
        "java.base/jdk.internal.module",
        "java.base/jdk.internal.util.jar",
        "jdk.management/com.sun.management.internal",
        "java.base/sun.nio.ch",
        "java.base/java.io",
        "java.base/java.nio",
        "java.base/java.util.concurrent",
        "java.base/java.util",
        "java.base/java.util.concurrent.atomic",
        "java.base/java.lang",
        "java.base/java.math",
        "java.base/java.lang.reflect",
        "java.base/java.net",
        "java.base/java.time",
    ],
}


class Cassandra(Engine):
    """Cassandra 5."""

    name = "cassandra"
    jar_groups = ("cassandra",)
    port_names = ("client", "storage")
    patience_s = 240.0

    def heap_mb(self, settings: EnginesSettings) -> int:
        return settings.cassandra_heap_mb

    def prepare(self, place: Place) -> None:
        text = _CONFIGURATION.format(address=LOOPBACK, **place.ports)
        (place.home / "cassandra.yaml").write_text(text, "utf-8")
        (place.home / "logback.xml").write_text(_LOGGING, "utf-8")

    def command(self, place: Place) -> list[str]:
        agent = next((jar for jar in place.jars if jar.name.startswith("jamm-")), None)
        if agent is None:
            raise EngineError("cassandra's jars lack its memory meter, jamm", do="`make lock` resolves them again")
        options = [f"--add-{kind}={package}=ALL-UNNAMED" for kind, packages in _OPENED.items() for package in packages]
        properties = {
            "cassandra.config": (place.home / "cassandra.yaml").as_uri(),
            "cassandra.storagedir": place.data,
            "java.security.manager": "allow",
            "jdk.attach.allowAttachSelf": "true",
            "logback.configurationFile": place.home / "logback.xml",
            # A single node has nobody to wait for.
            "cassandra.skip_wait_for_gossip_to_settle": "0",
            "cassandra.ring_delay_ms": "0",
            "cassandra.superuser_setup_delay_ms": "0",
        }
        options += [f"-D{key}={value}" for key, value in properties.items()]
        main = "org.apache.cassandra.service.CassandraDaemon"
        return [*place.virtual_machine(f"-javaagent:{agent}", *options), main]

    def answers(self, ports: Mapping[str, int], timeout_s: float) -> bool:
        return ask(ports["client"], _OPTIONS, len(_SUPPORTED), timeout_s) == _SUPPORTED
