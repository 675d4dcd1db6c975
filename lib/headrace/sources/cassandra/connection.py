"""A connection for small statements: definitions of tables, checks, results; retried only where that is harmless."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace import config
from headrace.config import CassandraSettings, Settings
from headrace.errors import ConfigError
from headrace.sources.cassandra.refusals import is_passing, named

if TYPE_CHECKING:
    from headrace.sources.cassandra.signing import Credentials

# What Amazon Keyspaces speaks; Cassandra 5 does too.
_PROTOCOL = 4
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0


class Cassandra:
    """An open connection. Statements run at the configured consistency; `execute` says which are tried again."""

    def __init__(
        self, settings: CassandraSettings, hosts: Sequence[str], port: int, credentials: Credentials | None = None
    ) -> None:
        """Connect. Raises AccessRefused for what is not let in, DatabaseUnavailable where nobody answers in time."""
        self.settings = settings
        self.hosts, self.port = tuple(hosts), port
        self._prepared: dict[str, Any] = {}
        self._credentials = credentials
        with named(settings, f"connecting to {self.address}"):
            self._cluster, self._session = self._retried(self._connected)

    @property
    def address(self) -> str:
        return f"{','.join(self.hosts)}:{self.port}"

    def execute(
        self, statement: str, values: Sequence[Any] = (), *, idempotent: bool = True, doing: str = "asking it"
    ) -> list[Any]:
        """Run one statement, prepared when it has values, and return its rows.

        idempotent: running it twice leaves what running it once does, so it is tried again for `retry_s`, with pauses
        that grow and jitter; any other is run once. Raises as the constructor does, DatabaseRefused for a statement
        that cannot be right.
        """
        with named(self.settings, doing):
            return (
                self._retried(self._once, statement, values, idempotent)
                if idempotent
                else self._once(statement, values, idempotent)
            )

    def close(self) -> None:
        self._cluster.shutdown()

    def __enter__(self) -> Cassandra:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connected(self) -> tuple[Any, Any]:
        """A cluster and its session; a cluster that could not connect is of no use any more."""
        cluster = _cluster(self.settings, self.hosts, self.port, self._credentials)
        try:
            return cluster, cluster.connect()
        except BaseException:
            cluster.shutdown()
            raise

    def _once(self, statement: str, values: Sequence[Any], idempotent: bool) -> list[Any]:
        if not values:
            from cassandra.query import SimpleStatement

            return list(self._session.execute(SimpleStatement(statement, is_idempotent=idempotent)))
        if statement not in self._prepared:
            self._prepared[statement] = self._session.prepare(statement)
        bound = self._prepared[statement].bind(values)
        bound.is_idempotent = idempotent
        return list(self._session.execute(bound))

    def _retried(self, call: Any, *arguments: Any) -> Any:
        import tenacity

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_delay(self.settings.retry_s),
            wait=tenacity.wait_random_exponential(multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S),
            retry=tenacity.retry_if_exception(is_passing),
            reraise=True,
        )
        return retrying(call, *arguments)


@contextmanager
def connected(settings: Settings) -> Iterator[Cassandra]:
    """The connection that the settings describe, closed afterwards."""
    from headrace.local.endpoints import cassandra_contact

    hosts, port = cassandra_contact(settings)
    with Cassandra(settings.cassandra, hosts, port) as opened:
        yield opened


def _cluster(settings: CassandraSettings, hosts: Sequence[str], port: int, credentials: Credentials | None) -> Any:
    from cassandra import ConsistencyLevel
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
    from cassandra.policies import DCAwareRoundRobinPolicy, FallthroughRetryPolicy

    profile = ExecutionProfile(
        load_balancing_policy=DCAwareRoundRobinPolicy(settings.local_dc or ""),
        # All retries are ours: bounded, and of idempotent statements only.
        retry_policy=FallthroughRetryPolicy(),
        consistency_level=ConsistencyLevel.name_to_value[settings.consistency],
        request_timeout=settings.timeout_s,
    )
    return Cluster(
        contact_points=list(hosts),
        port=port,
        protocol_version=_PROTOCOL,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        auth_provider=_auth(settings, credentials),
        ssl_context=_tls(settings) if settings.tls else None,
        # Nodes tell each other's addresses; a certificate is for the name that was configured.
        ssl_options={"server_hostname": hosts[0]} if settings.tls and len(hosts) == 1 else None,
        connect_timeout=settings.timeout_s,
        control_connection_timeout=settings.timeout_s,
        schema_metadata_enabled=False,
        token_metadata_enabled=False,
    )


def _tls(settings: CassandraSettings) -> ssl.SSLContext:
    ca_file = Path(settings.ca_file).expanduser() if settings.ca_file else None
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"cassandra.ca_file {ca_file} cannot be read", found=str(error), expected="a PEM file of certificates"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _auth(settings: CassandraSettings, credentials: Credentials | None) -> Any:
    if settings.auth == "none":
        return None
    if settings.auth == "password":
        from cassandra.auth import PlainTextAuthProvider

        return PlainTextAuthProvider(config.secret(settings.username_secret), config.secret(settings.password_secret))
    from headrace.sources.cassandra.signing import SigV4Provider, found_credentials

    return SigV4Provider(settings.region, credentials or found_credentials(settings.region))
