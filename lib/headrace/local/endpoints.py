"""Where the serving store, Kafka, Kinesis and Cassandra answer, as the settings say."""

from __future__ import annotations

from headrace.config import Settings
from headrace.errors import ConfigError

ENGINE = "engine"


def store_endpoint(settings: Settings) -> str | None:
    """The URL of the serving store, or None where it needs no override (AWS, or the store in memory).

    `store.endpoint` is empty for AWS, `engine` for the local DynamoDB, else a URL. Raises EngineError, naming
    `headrace up dynamodb`, when the local engine is asked for and does not answer.
    """
    configured = settings.store.endpoint
    if settings.store.kind == "memory" or not configured:
        return None
    if configured != ENGINE:
        return configured
    from headrace.local.engines import endpoint

    return endpoint("dynamodb", settings)


def stream_address(settings: Settings, stream: str) -> str:
    """Where the system that carries a stream answers: Kafka's brokers, or the URL of Kinesis, empty for AWS.

    Raises as `kafka_bootstrap` does; for Kinesis EngineError, naming `headrace up kinesis`, when the local engine is
    asked for and does not answer.
    """
    if stream not in settings.kinesis.streams:
        return kafka_bootstrap(settings)
    if settings.kinesis.endpoint != ENGINE:
        return settings.kinesis.endpoint
    from headrace.local.engines import endpoint

    return endpoint("kinesis", settings)


def cassandra_contact(settings: Settings) -> tuple[tuple[str, ...], int]:
    """The hosts of Cassandra or Amazon Keyspaces to begin with, and their port.

    Raises ConfigError where none is configured, EngineError, naming `headrace up cassandra`, when the local engine is
    asked for and does not answer.
    """
    configured = settings.cassandra
    if configured.hosts == ENGINE:
        from headrace.local.engines import endpoint

        host, _, port = endpoint("cassandra", settings).rpartition(":")
        return (host,), int(port)
    hosts = tuple(host.strip() for host in configured.hosts.split(",") if host.strip())
    if not hosts and configured.auth == "sigv4":
        hosts = (f"cassandra.{configured.region}.amazonaws.com",)
    if not hosts:
        raise ConfigError("no host of Cassandra is configured", do="set cassandra.hosts=HOST[,HOST]")
    return hosts, configured.port


def kafka_bootstrap(settings: Settings) -> str:
    """The addresses of the Kafka brokers.

    Raises ConfigError where none is configured, EngineError, naming `headrace up kafka`, when the local engine is
    asked for and does not answer.
    """
    configured = settings.kafka.bootstrap
    if not configured:
        raise ConfigError("no Kafka broker is configured", do="set kafka.bootstrap=HOST:PORT")
    if configured != ENGINE:
        return configured
    from headrace.local.engines import endpoint

    return endpoint("kafka", settings)
