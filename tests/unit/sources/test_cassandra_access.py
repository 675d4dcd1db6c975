"""Signatures, settings and refusals of Cassandra and Amazon Keyspaces, without either."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials

from headrace import config
from headrace.errors import AccessRefused, ConfigError, DatabaseRefused, DatabaseUnavailable
from headrace.local.endpoints import cassandra_contact
from headrace.schemas import Field
from headrace.sources.cassandra.catalog import connector_options, driver_profile
from headrace.sources.cassandra.refusals import explained, is_passing
from headrace.sources.cassandra.signing import SigV4Provider, signed
from headrace.sources.cassandra.tables import fits

KEYS = ReadOnlyCredentials("UserID-1", "UserSecretKey-1", None)
AT = datetime(2020, 6, 9, 22, 41, 51, tzinfo=UTC)
NONCE = b"91703fdc2ef562e19fbdab0f58e42fe5"
# Source: the published test vector of Amazon's own authentication plugins.
ANSWER = (
    "signature=7f3691c18a81b8ce7457699effbfae5b09b4e0714ab38c1292dbdf082c9ddd87,access_key=UserID-1,"
    "amzdate=2020-06-09T22:41:51.000Z"
)
KEYSPACES = ("cassandra.auth=sigv4", "cassandra.tls=true", "cassandra.port=9142", "cassandra.hosts=")


def test_a_challenge_is_signed_as_amazon_signs_it():
    assert signed(NONCE, "us-west-2", KEYS, AT) == ANSWER
    with_token = signed(NONCE, "us-west-2", KEYS._replace(token="T"), AT)
    assert with_token == f"{ANSWER},session_token=T"


def test_an_authenticator_finds_the_nonce_and_signs_with_the_credentials_of_that_moment():
    made = []

    def renewed():
        made.append(1)
        expiry = (datetime.now(UTC) + timedelta(seconds=1 if len(made) == 1 else 3600)).isoformat()
        return {"access_key": f"key-{len(made)}", "secret_key": "s", "token": "t", "expiry_time": expiry}

    credentials = RefreshableCredentials.create_from_metadata(renewed(), renewed, "sts")
    provider = SigV4Provider("eu-west-1", credentials, lambda: AT)
    authenticator = provider.new_authenticator("h")
    assert authenticator.initial_response() == b"SigV4\0\0"
    assert b"access_key=key-2," in authenticator.evaluate_challenge(b"some nonce=" + NONCE + b",more")
    with pytest.raises(AccessRefused, match="no nonce"):
        authenticator.evaluate_challenge(b"hello")


def test_keyspaces_is_a_matter_of_settings():
    settings = config.load([*KEYSPACES, "cassandra.region=eu-central-1"])
    assert cassandra_contact(settings) == (("cassandra.eu-central-1.amazonaws.com",), 9142)
    with pytest.raises(ConfigError, match="no host of Cassandra is configured"):
        cassandra_contact(config.load(["cassandra.hosts="]))


@pytest.mark.parametrize(
    ("assignments", "says"),
    [
        (["cassandra.auth=sigv4"], "cassandra.auth.*cassandra.tls=true"),
        ([*KEYSPACES, "cassandra.consistency=ONE"], "cassandra.auth.*LOCAL_QUORUM with sigv4"),
        (["cassandra.consistency=TWO"], "cassandra.consistency"),
        (["cassandra.keyspace=My-Space"], "cassandra.keyspace"),
        (["cassandra.region=Ohio"], "cassandra.region"),
        (["cassandra.page_size=1"], "cassandra.page_size"),
        (["cassandra.host=x"], "nearest 'cassandra.hosts'"),
        (["source=casandra"], "'source' has a bad value"),
    ],
)
def test_settings_that_cannot_work_are_refused(assignments, says):
    with pytest.raises(ConfigError, match=says):
        config.load(assignments)


def test_the_connector_is_throttled_and_leaves_nulls_out(tmp_path):
    settings = config.load([f"home={tmp_path}", "cassandra.write_mb_per_s=0.5", "cassandra.local_dc=dc1"])
    options = connector_options(settings, ("a", "b"), 9042)
    assert options["spark.cassandra.connection.host"] == "a,b"
    assert options["spark.cassandra.output.consistency.level"] == "LOCAL_QUORUM"
    assert options["spark.cassandra.output.throughputMBPerSec"] == "0.5"
    assert options["spark.cassandra.output.ignoreNulls"] == "true"
    assert options["spark.cassandra.connection.localDC"] == "dc1"


def test_with_tls_the_java_driver_checks_host_names_and_signs(tmp_path):
    settings = config.load([*KEYSPACES, f"home={tmp_path}"])
    driver = driver_profile(settings.cassandra, ("h",), 9142, None)["datastax-java-driver"]
    assert driver["basic"]["contact-points"] == ["h:9142"]
    assert driver["basic"]["load-balancing-policy"] == {"local-datacenter": "us-east-1"}
    assert driver["advanced"]["ssl-engine-factory"]["hostname-validation"] is True
    assert driver["advanced"]["auth-provider"]["aws-region"] == "us-east-1"


def test_a_password_is_named_in_the_drivers_file_and_never_held(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_CASSANDRA_PASSWORD", "s3cret")
    settings = config.load([f"home={tmp_path}", "cassandra.tls=true", "cassandra.auth=password"])
    options = connector_options(settings, ("h",), 9142)
    assert list(options) == [*list(options)[:-1], "spark.cassandra.connection.config.profile.path"]
    (held,) = (tmp_path / "cassandra").glob("driver-*.conf")
    assert '"password": ${HEADRACE_CASSANDRA_PASSWORD}' in held.read_text()
    assert "s3cret" not in held.read_text()


class AuthenticationFailed(Exception):
    pass


class NoHostAvailable(Exception):
    def __init__(self, *errors: Exception) -> None:
        super().__init__("Unable to connect to any servers")
        self.errors = {f"h{i}": error for i, error in enumerate(errors)}


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (NoHostAvailable(OSError(111, "Connection refused")), DatabaseUnavailable, "did not answer while reading"),
        (NoHostAvailable(AuthenticationFailed("Bad credentials")), AccessRefused, "credentials are not accepted"),
        (RuntimeError("com.datastax...UnavailableException: 1 needed"), DatabaseUnavailable, "did not answer"),
        (
            RuntimeError("UnauthorizedException: User x has no SELECT permission"),
            AccessRefused,
            "permission is missing",
        ),
        (RuntimeError("InvalidQueryException: no"), DatabaseRefused, "refused a statement"),
    ],
)
def test_what_the_drivers_say_is_named(error, kind, says):
    found = explained(error, config.load().cassandra, "reading t")
    assert type(found) is kind
    assert says in str(found)
    assert is_passing(error) is (kind is DatabaseUnavailable)


def test_other_errors_are_not_ours():
    assert explained(ValueError("x"), config.load().cassandra, "reading") is None


def test_a_column_fits_where_no_value_is_lost():
    assert fits(Field("a", "bigint"), "int")
    assert not fits(Field("a", "int"), "bigint")
    assert fits(Field("a", "decimal(9,2)"), "decimal")
    assert not fits(Field("a", "string"), "int")
