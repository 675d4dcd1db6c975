"""How clients reach the brokers and prove who they are: the same settings as options of Spark and of kafka-python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.config import secret
from headrace.errors import ConfigError, EngineError, TerminalError, TransientError

if TYPE_CHECKING:
    from headrace.config import KafkaSettings

_PROTOCOLS = {"plaintext": "PLAINTEXT", "tls": "SSL", "sasl_tls": "SASL_SSL", "msk_iam": "SASL_SSL"}
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_IAM = "software.amazon.msk.auth.iam"
# Rolled back transactions never happened.
_ISOLATION = "read_committed"


def spark_options(kafka: KafkaSettings, bootstrap: str) -> dict[str, str]:
    """Options of Spark's Kafka source, those of its client prefixed with `kafka.`.

    `msk_iam` needs the aws-msk-iam-auth jar on the class path, which is not shipped; not run against AWS.
    Raises ConfigError for a secret that is not set or an authority file that cannot be read.
    """
    client = {
        "bootstrap.servers": bootstrap,
        "security.protocol": _PROTOCOLS[kafka.security],
        "isolation.level": _ISOLATION,
    }
    authority = _authority(kafka)
    if authority is not None:
        # By value, since executors on other machines do not have the file.
        client |= {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": authority}
    if kafka.security == "sasl_tls":
        module = _PLAIN if kafka.mechanism == "PLAIN" else _SCRAM
        user, password = _quoted(secret(kafka.username_secret)), _quoted(secret(kafka.password_secret))
        client |= {
            "sasl.mechanism": kafka.mechanism,
            "sasl.jaas.config": f"{module} required username={user} password={password};",
        }
    elif kafka.security == "msk_iam":
        client |= {
            "sasl.mechanism": "AWS_MSK_IAM",
            "sasl.jaas.config": f"{_IAM}.IAMLoginModule required;",
            "sasl.client.callback.handler.class": f"{_IAM}.IAMClientCallbackHandler",
        }
    return {f"kafka.{name}": value for name, value in client.items()}


def client_options(kafka: KafkaSettings, bootstrap: str) -> dict[str, Any]:
    """Arguments of kafka-python's clients.

    `msk_iam` signs with the credentials and the region of the AWS environment; not run against AWS.
    Raises ConfigError for a secret that is not set or an authority file that cannot be read.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": [address.strip() for address in bootstrap.split(",")],
        "security_protocol": _PROTOCOLS[kafka.security],
    }
    if _authority(kafka) is not None:
        options["ssl_cafile"] = kafka.ca_file
    if kafka.security == "sasl_tls":
        options |= {
            "sasl_mechanism": kafka.mechanism,
            "sasl_plain_username": secret(kafka.username_secret),
            "sasl_plain_password": secret(kafka.password_secret),
        }
    elif kafka.security == "msk_iam":
        options["sasl_mechanism"] = "AWS_MSK_IAM"
    return options


@contextmanager
def named_refusals(bootstrap: str) -> Iterator[None]:
    """Raise what kafka-python raises in the block as our errors.

    EngineError when nobody answers, ConfigError when the cluster refuses who we are, TransientError for what passes,
    TerminalError for the rest.
    """
    from kafka import errors

    try:
        yield
    except (errors.KafkaTimeoutError, errors.KafkaConnectionError) as error:
        raise EngineError(
            f"Kafka at {bootstrap} does not answer",
            found=_said(error),
            do="see that it runs (`headrace up kafka` for the local engine) and that kafka.security, kafka.ca_file "
            "and the secrets they need fit it",
        ) from error
    except (errors.AuthorizationError, errors.SaslAuthenticationFailedError) as error:
        raise ConfigError(
            f"Kafka at {bootstrap} refuses this client",
            found=_said(error),
            do="check kafka.security, the secrets it names and the cluster's access rules",
        ) from error
    except errors.KafkaError as error:
        kind = TransientError if error.retriable else TerminalError
        raise kind(f"Kafka at {bootstrap} failed", found=_said(error)) from error


def _authority(kafka: KafkaSettings) -> str | None:
    """The PEM text of the authority that signed the brokers' certificates; None for the system's own."""
    if kafka.security == "plaintext" or not kafka.ca_file:
        return None
    try:
        return Path(kafka.ca_file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "the file of kafka.ca_file cannot be read", found=error, expected="a PEM file of certificates"
        ) from error


def _quoted(text: str) -> str:
    """A value inside a JAAS configuration."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
