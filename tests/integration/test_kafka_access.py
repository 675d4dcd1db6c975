"""Brokers that ask for TLS, or for a name and a password over TLS, are reached by settings alone."""

from __future__ import annotations

import ipaddress
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headrace.config import load
from headrace.errors import DownloadError, EngineError
from headrace.local import engines
from headrace.local.kafka import _REQUEST, Kafka
from headrace.local.launch import LOOPBACK, Place
from headrace.local.wire import ask
from headrace.sources.kafka import Broker, range_records

pytestmark = pytest.mark.kafka

# With what a JAAS configuration has to escape.
USER, PASSWORD = "al ice", 'pa"ss\\wo;rd'

PROPERTIES = """
listeners=SASL_SSL://{address}:{client},SSL://{address}:{tls},INNER://{address}:{inner},CONTROLLER://{address}:{controller}
advertised.listeners=SASL_SSL://{address}:{client},SSL://{address}:{tls},INNER://{address}:{inner}
listener.security.protocol.map=SASL_SSL:SASL_SSL,SSL:SSL,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=INNER
ssl.keystore.type=PEM
ssl.keystore.location={keys}
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


class SecureKafka(Kafka):
    """The local engine with a TLS listener and one that asks for a password too."""

    port_names = ("client", "tls", "inner", "controller")

    def prepare(self, place: Place) -> None:
        super().prepare(place)
        properties = place.home / "server.properties"
        own = PROPERTIES.format(address=LOOPBACK, keys=place.home.parent / "server.pem", **place.ports)
        plain = [
            line for line in properties.read_text().splitlines() if "listener" not in line or "controller.l" in line
        ]
        properties.write_text("\n".join(plain) + own)
        # Once more, now with the user.
        (place.data / "meta.properties").unlink()
        subprocess.run(
            [
                *place.virtual_machine(), "kafka.tools.StorageTool", "format", "-t", str(uuid.uuid4().hex[:22]),
                "-c", str(properties), "--ignore-formatted",
                "--add-scram", f'SCRAM-SHA-512=[name="{USER}",password="{PASSWORD}"]',
            ],
            check=True, capture_output=True,
        )  # fmt: skip

    def answers(self, ports: Mapping[str, int], timeout_s: float) -> bool:
        answer = ask(ports["inner"], len(_REQUEST).to_bytes(4) + _REQUEST, 10, timeout_s)
        return answer[4:] == (7).to_bytes(4) + (0).to_bytes(2)


@dataclass(frozen=True)
class Secure:
    password: str  # addresses
    tls: str
    authority: Path
    other_authority: Path


@pytest.fixture(scope="module")
def secure(tmp_path_factory) -> Iterator[Secure]:
    folder = tmp_path_factory.mktemp("secure")
    _write_keys(folder / "server.pem", folder / "authority.pem")
    _write_keys(folder / "other.pem", folder / "other_authority.pem")
    engines.ENGINES["secure"] = SecureKafka()
    try:
        with engines.running("secure", folder, load(environment="local")):
            ports = engines._read(folder / "secure").ports
            yield Secure(
                f"{LOOPBACK}:{ports['client']}",
                f"{LOOPBACK}:{ports['tls']}",
                folder / "authority.pem",
                folder / "other_authority.pem",
            )
    except DownloadError as error:
        pytest.skip(str(error))
    finally:
        del engines.ENGINES["secure"]


def _write_keys(server: Path, authority: Path) -> None:
    """A certificate authority, and a key with a certificate of it for the loopback address."""
    begin, end = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)
    top, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("authority", "server")]

    def certificate(name, key, *extensions) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(names[0]).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(top, hashes.SHA256())

    signer = certificate(names[0], top, x509.BasicConstraints(ca=True, path_length=None))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))])
    signed = certificate(names[1], own, address)
    pem = serialization.Encoding.PEM
    key = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    server.write_bytes(key + signed.public_bytes(pem) + signer.public_bytes(pem))
    authority.write_bytes(signer.public_bytes(pem))


@pytest.fixture
def settings(headrace_settings, secure, monkeypatch):
    monkeypatch.setenv("HEADRACE_KAFKA_USERNAME", USER)
    monkeypatch.setenv("HEADRACE_KAFKA_PASSWORD", PASSWORD)

    def settings(security: str, authority: Path = secure.authority):
        return headrace_settings(f"kafka.security={security}", f"kafka.ca_file={authority}").kafka

    return settings


@pytest.mark.spark
@pytest.mark.parametrize("security", ["sasl_tls", "tls"])
def test_both_clients_get_in(spark, secure, settings, security, capfd):
    kafka = settings(security)
    address = secure.password if security == "sasl_tls" else secure.tls
    with Broker(kafka, address) as broker:
        topic = broker.create(f"secure_{security}", 1)
        broker.producer().send(topic.name, b"x").get(timeout=30)
        assert [record.value for record in broker.records(topic, {}, {0: 1})] == [b"x"]
    frame = range_records(spark, kafka, address, topic, {}, {0: 1})
    assert [bytes(row["value"]) for row in frame.collect()] == [b"x"]
    frame.explain(extended=True)
    said = capfd.readouterr()
    assert "value" in said.out
    assert "wo;rd" not in said.out + said.err


def test_who_does_not_get_in_is_told_why(secure, settings, monkeypatch):
    monkeypatch.setattr("headrace.sources.kafka._PATIENCE_MS", 3_000)
    with pytest.raises(EngineError, match="does not answer"):
        Broker(settings("tls", secure.other_authority), secure.tls).__enter__()
    monkeypatch.setenv("HEADRACE_KAFKA_PASSWORD", "wrong")
    # The client library keeps the broker's refusal to itself and tries on until its time is up.
    with pytest.raises(
        EngineError, match=r"does not answer.*kafka\.security, kafka\.ca_file and the secrets"
    ) as refused:
        Broker(settings("sasl_tls"), secure.password).__enter__()
    assert "wrong" not in str(refused.value)
