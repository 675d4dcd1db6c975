"""Settings become the options of both Kafka clients, with secrets where they belong and nowhere else."""

from __future__ import annotations

import json

import pytest

from headrace.config import redacted
from headrace.errors import ConfigError, RetentionGap, StreamRecreated
from headrace.sources.kafka_access import client_options, spark_options
from headrace.sources.streams import Topic, check_retention, check_topic

ADDRESS = "b-1:9096, b-2:9096"


@pytest.fixture
def kafka(headrace_settings, monkeypatch):
    monkeypatch.setenv("HEADRACE_KAFKA_USERNAME", "alice")
    monkeypatch.setenv("HEADRACE_KAFKA_PASSWORD", 'a"b\\c')

    def kafka(**settings: str):
        return headrace_settings(*(f"kafka.{key}={value}" for key, value in settings.items())).kafka

    return kafka


@pytest.fixture
def authority(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\n")
    return path


def test_plaintext_asks_for_nothing(kafka, monkeypatch):
    monkeypatch.delenv("HEADRACE_KAFKA_PASSWORD")
    assert spark_options(kafka(), ADDRESS) == {
        "kafka.bootstrap.servers": ADDRESS,
        "kafka.security.protocol": "PLAINTEXT",
        "kafka.isolation.level": "read_committed",
    }
    assert client_options(kafka(), ADDRESS) == {
        "bootstrap_servers": ["b-1:9096", "b-2:9096"],
        "security_protocol": "PLAINTEXT",
    }


def test_tls_carries_the_authority_to_executors_by_value(kafka, authority):
    settings = kafka(security="tls", ca_file=str(authority))
    options = spark_options(settings, ADDRESS)
    assert options["kafka.security.protocol"] == "SSL"
    assert options["kafka.ssl.truststore.type"] == "PEM"
    assert options["kafka.ssl.truststore.certificates"] == authority.read_text()
    client = client_options(settings, ADDRESS)
    assert (client["security_protocol"], client["ssl_cafile"]) == ("SSL", str(authority))
    assert "kafka.ssl.truststore.type" not in spark_options(kafka(security="tls"), ADDRESS)


@pytest.mark.parametrize(
    ("mechanism", "module"),
    [("SCRAM-SHA-512", "scram.Scram"), ("SCRAM-SHA-256", "scram.Scram"), ("PLAIN", "plain.Plain")],
)
def test_a_name_and_a_password_over_tls(kafka, mechanism, module):
    settings = kafka(security="sasl_tls", mechanism=mechanism)
    options = spark_options(settings, ADDRESS)
    assert options["kafka.security.protocol"] == "SASL_SSL"
    assert options["kafka.sasl.mechanism"] == mechanism
    assert options["kafka.sasl.jaas.config"] == (
        f'org.apache.kafka.common.security.{module}LoginModule required username="alice" password="a\\"b\\\\c";'
    )
    client = client_options(settings, ADDRESS)
    assert (client["security_protocol"], client["sasl_mechanism"]) == ("SASL_SSL", mechanism)
    assert (client["sasl_plain_username"], client["sasl_plain_password"]) == ("alice", 'a"b\\c')


def test_msk_iam(kafka, monkeypatch):
    from kafka.net.sasl.msk import SaslMechanismAwsMskIam

    settings = kafka(security="msk_iam")
    options = spark_options(settings, ADDRESS)
    assert {key: value for key, value in options.items() if "sasl" in key} == {
        "kafka.sasl.mechanism": "AWS_MSK_IAM",
        "kafka.sasl.jaas.config": "software.amazon.msk.auth.iam.IAMLoginModule required;",
        "kafka.sasl.client.callback.handler.class": "software.amazon.msk.auth.iam.IAMClientCallbackHandler",
    }
    client = client_options(settings, ADDRESS)
    for name, value in {"ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "hidden", "DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    # What kafka-python sends first with these options, signed with the environment's credentials.
    first = SaslMechanismAwsMskIam(security_protocol=client["security_protocol"], host="b-1").auth_bytes()
    assert json.loads(first)["x-amz-credential"].endswith("/eu-west-1/kafka-cluster/aws4_request")
    assert b"hidden" not in first


def test_what_is_missing_is_named(kafka, headrace_settings, monkeypatch, tmp_path):
    monkeypatch.delenv("HEADRACE_KAFKA_PASSWORD")
    for options in (spark_options, client_options):
        with pytest.raises(ConfigError, match="secret 'HEADRACE_KAFKA_PASSWORD' is not set"):
            options(kafka(security="sasl_tls"), ADDRESS)
        with pytest.raises(ConfigError, match=r"kafka\.ca_file cannot be read"):
            options(kafka(security="tls", ca_file=str(tmp_path / "none.pem")), ADDRESS)
    assert "alice" not in json.dumps(redacted(headrace_settings("kafka.security=sasl_tls")))


def test_a_topic_made_anew_and_a_gap_are_told_what_to_do():
    topic = Topic("clicks", "id-2", (0, 1))
    check_topic(topic, "id-2")
    with pytest.raises(StreamRecreated, match=r"found topic id id-2; expected id-1; .*--allow-gap"):
        check_topic(topic, "id-1")
    check_retention({0: (3, 9), 1: (0, 0)}, {0: 3}, topic)
    with pytest.raises(RetentionGap, match=r"partition 0: \[2, 3\); partition 1: \[0, 4\), which was read.*; do this$"):
        check_retention({0: (3, 9), 1: (0, 0)}, {0: 2, 1: 4}, topic, do="do this")
