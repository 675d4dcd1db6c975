"""The path to Amazon Keyspaces, against an endpoint that checks TLS and SigV4 as it does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials
from cassandra_world import NOW, count_of, purchases, table_settings
from keyspaces_endpoint import Endpoint, authority, keyspaces

from headrace.batch.loading import load_file
from headrace.batch.tables import ensured_table
from headrace.config import load
from headrace.errors import AccessRefused, DatabaseUnavailable, HeadraceError
from headrace.sinks.cassandra import Shape, write_results
from headrace.sources.cassandra import Cassandra, catalog, connected, required_table, table_in
from headrace.sources.cassandra.refusals import named

pytestmark = pytest.mark.cassandra

FIRST = ReadOnlyCredentials("ASIAFIRST", "secret-1", "token-1")
SECOND = ReadOnlyCredentials("ASIASECOND", "secret-2", "token-2")
SHAPE = Shape(
    {"run_id": "text", "segment": "int", "total_customers": "int", "run_date": "date"}, ("run_id",), ("segment",)
)


class Held:
    """Credentials that stay as they are."""

    def __init__(self, keys: ReadOnlyCredentials) -> None:
        self.keys = keys

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return self.keys


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    return {
        "right": authority(folder, "right", "localhost"),
        "other": authority(folder, "other", "localhost"),
        "named": authority(folder, "named", "cassandra.us-east-1.example.com"),
    }


@pytest.fixture
def endpoint(cassandra, authorities):
    with keyspaces(cassandra, Endpoint([FIRST, SECOND]), authorities["right"][1]) as running:
        yield running


@pytest.fixture
def settings(cassandra, headrace_settings, endpoint, authorities):
    return table_settings(
        cassandra,
        headrace_settings,
        "cassandra.hosts=localhost",
        f"cassandra.port={endpoint.port}",
        "cassandra.tls=true",
        "cassandra.auth=sigv4",
        "cassandra.region=us-east-1",
        "cassandra.timeout_s=5",
        "cassandra.retry_s=5",
        f"cassandra.ca_file={authorities['right'][0]}",
    )


def opened(settings, keys=FIRST, **changed):
    of = settings.cassandra.model_copy(update=changed)
    credentials = Held(keys) if isinstance(keys, ReadOnlyCredentials) else keys
    return Cassandra(of, [of.hosts], of.port, credentials)


def test_results_are_written_over_a_signed_connection(settings, endpoint):
    with opened(settings) as cassandra:
        table, is_new = ensured_table(settings, cassandra, "results", SHAPE, now=NOW)
        write_results(cassandra, table.full_name, "r", NOW.date(), {0: 3, 1: 4})
        assert is_new
        assert len(cassandra.execute(f"SELECT * FROM {table.full_name}")) == 2
        assert required_table(cassandra, table.keyspace, "results").id == table.id
    assert set(endpoint.authenticated) == {"ASIAFIRST"}


@pytest.mark.parametrize(
    ("changed", "keys", "says"),
    [
        ({"region": "eu-west-1"}, FIRST, r"signed for another region .*cassandra.region=eu-west-1"),
        ({}, ReadOnlyCredentials("ASIAFIRST", "guessed", "token-1"), "credentials are not accepted.*signature"),
        ({}, ReadOnlyCredentials("NOBODY", "secret-1", None), "credentials are not accepted.*invalid"),
        ({"auth": "none"}, FIRST, "credentials are not accepted"),
    ],
    ids=["region", "secret", "unknown", "unsigned"],
)
def test_credentials_that_do_not_fit_are_refused_by_name(settings, changed, keys, says):
    with pytest.raises(AccessRefused, match=says):
        opened(settings, keys, **changed)


def test_an_expired_token_is_named(settings, endpoint):
    endpoint.expired.add("ASIAFIRST")
    with pytest.raises(AccessRefused, match=r"session token has expired.*renewed"):
        opened(settings)


def test_another_authority_is_named(settings, authorities):
    with pytest.raises(AccessRefused, match=r"not signed by an authority that is trusted.*cassandra.ca_file"):
        opened(settings, ca_file=str(authorities["other"][0]))


def test_another_host_name_is_named(cassandra, settings, authorities):
    ca_file, certificate = authorities["named"]
    with (
        keyspaces(cassandra, Endpoint([FIRST]), certificate) as elsewhere,
        pytest.raises(AccessRefused, match="certificate is for another host name"),
    ):
        opened(settings, ca_file=str(ca_file), port=elsewhere.port)


def test_a_missing_permission_is_named_and_not_tried_again(settings, endpoint):
    with opened(settings) as cassandra:
        table, _ = ensured_table(settings, cassandra, "results", SHAPE, now=NOW)
        endpoint.denied = "INSERT INTO"
        with pytest.raises(AccessRefused, match=r"a permission is missing.*no MODIFY permission.*cassandra:Modify"):
            write_results(cassandra, table.full_name, "r", NOW.date(), {0: 3})


def test_a_throttled_statement_is_tried_again_and_others_only_once(settings, endpoint):
    with opened(settings) as cassandra:
        table, _ = ensured_table(settings, cassandra, "results", SHAPE, now=NOW)
        endpoint.overloaded = 3
        write_results(cassandra, table.full_name, "r", NOW.date(), {0: 3})
        assert endpoint.overloaded == 0
        endpoint.overloaded = 3
        with pytest.raises(DatabaseUnavailable, match="Request rate exceeded"):
            cassandra.execute(f"INSERT INTO {table.full_name} (run_id, segment) VALUES ('x', 1)", idempotent=False)
        assert endpoint.overloaded == 2


def test_a_token_that_expires_in_between_is_renewed_for_new_connections(settings, endpoint):
    given = []

    def renewed():
        keys = FIRST if not given else SECOND
        given.append(keys.access_key)
        expiry = datetime.now(UTC) + timedelta(seconds=1 if keys is FIRST else 3600)
        return {
            "access_key": keys.access_key,
            "secret_key": keys.secret_key,
            "token": keys.token,
            "expiry_time": expiry.isoformat(),
        }

    role = RefreshableCredentials(
        "ASIAFIRST", "secret-1", "token-1", datetime.now(UTC) + timedelta(hours=1), renewed, "sts"
    )
    with opened(settings, role) as cassandra:
        assert cassandra.execute("SELECT partitioner FROM system.local")
        given.append("ASIAFIRST")
        role._expiry_time = datetime.now(UTC) - timedelta(seconds=1)
        endpoint.expired.add("ASIAFIRST")
        endpoint.hang_up()
        assert cassandra.execute("SELECT partitioner FROM system.local")
    assert endpoint.authenticated[-1] == "ASIASECOND"


def test_a_plain_port_is_no_tls(cassandra, settings):
    port = int(cassandra.rpartition(":")[2])
    with pytest.raises(HeadraceError, match=r"speaks no TLS|did not answer"):
        opened(settings, port=port, retry_s=0.2)


@pytest.mark.spark
def test_spark_reads_and_writes_over_tls_and_checks_the_certificate(spark, cassandra, settings, authorities, tmp_path):
    """The Java driver's own file: authority and host name. Without SigV4, for which Spark needs the plugin's jar."""
    plain = [f"cassandra.keyspace={settings.cassandra.keyspace}", "cassandra.hosts=localhost", "cassandra.tls=true"]

    def over(name: str, port: int):
        ca_file = f"cassandra.ca_file={authorities[name][0]}"
        return load([f"home={settings.home}", *plain, f"cassandra.port={port}", ca_file, "cassandra.retry_s=5"])

    path = purchases(tmp_path / "sales.csv", 12)
    with keyspaces(cassandra, Endpoint([], signs=False), authorities["right"][1]) as running:
        right = over("right", running.port)
        with connected(right) as opened:
            done = load_file(spark, right, opened, "online_retail", path, now=NOW)
            assert done.in_table == count_of(path)
            table = required_table(opened, right.cassandra.keyspace, "online_retail")
        wrong = over("other", running.port)
        with (
            pytest.raises(AccessRefused, match="not signed by an authority that is trusted"),
            named(wrong.cassandra, "reading"),
        ):
            table_in(spark, catalog(spark, wrong), table, 5)
    with keyspaces(cassandra, Endpoint([], signs=False), authorities["named"][1]) as elsewhere:
        other = over("named", elsewhere.port)
        with (
            pytest.raises(AccessRefused, match="certificate is for another host name"),
            named(other.cassandra, "reading"),
        ):
            table_in(spark, catalog(spark, other), table, 5)
