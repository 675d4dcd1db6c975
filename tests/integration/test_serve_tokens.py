"""Scoped tokens, their rotation and TLS, over real sockets."""

from __future__ import annotations

import datetime
import ipaddress
import json
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from overseen import overseen
from published import NOW
from served import problem_of, serving

from headrace.cli import main
from headrace.config import load
from headrace.errors import ConfigError
from headrace.serving import tokens
from headrace.serving.api import create_app
from headrace.serving.rules import RULES, Rule
from headrace.serving.tls import tls_of
from headrace.serving.tokens import SCOPES, Grant, entry_text, new_token


def entry(name: str, *scopes: str) -> tuple[str, str]:
    token, sha256 = new_token()
    return token, entry_text(Grant(name, frozenset(scopes)), sha256)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A file with one token a scope, and the tokens."""
    made = {scope: entry(scope, scope) for scope in SCOPES}
    file = tmp_path_factory.mktemp("tokens") / "tokens.toml"
    file.write_text("\n".join(text for _, text in made.values()))
    return file, {scope: token for scope, (token, _) in made.items()}


@pytest.fixture(scope="module")
def url(held: tuple[Path, dict[str, str]]) -> Iterator[str]:
    settings = load(["serve.require_token=true", f"serve.token_file={held[0]}"], "local")
    with serving(create_app(settings, overseen(), lambda: NOW, None)) as address:
        yield address


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.method} {rule.path}")
def test_every_route_is_shut_to_every_scope_but_its_own(
    url: str, held: tuple[Path, dict[str, str]], rule: Rule
) -> None:
    path = rule.path.replace("{definition}", "segments").replace("{entity:key}", "17850")
    body: dict[str, list[str]] = {"records": []} if path.endswith(":predict") else {"entities": ["17850"]}
    for scope, token in held[1].items():
        headers = {"Authorization": f"Bearer {token}"}
        response = requests.request(rule.method, url + path, headers=headers, json=body, timeout=10)
        if rule.scope in ("open", scope):
            assert response.status_code not in (401, 403)
        else:
            assert repr(rule.scope) in problem_of(response, 403, "forbidden")["detail"]
            assert f'scope="{rule.scope}"' in response.headers["www-authenticate"]


def test_what_does_not_exist_is_told_to_any_token(url: str, held: tuple[Path, dict[str, str]]) -> None:
    headers = {"Authorization": f"Bearer {held[1]['metrics']}"}
    problem_of(requests.get(f"{url}/v1/nothing", headers=headers, timeout=10), 404, "no-such-route")
    problem_of(requests.get(f"{url}/v1/nothing", timeout=10), 401, "unauthorized")


def test_the_access_log_names_the_token_and_never_holds_it(
    url: str, held: tuple[Path, dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "headrace.access"):
        requests.get(f"{url}/metrics", headers={"Authorization": f"Bearer {held[1]['metrics']}"}, timeout=10)
        requests.get(f"{url}/metrics", headers={"Authorization": "Bearer guess"}, timeout=10)
        wait_for(lambda: len(caplog.records) >= 2)  # a line is written after its answer was sent
    lines = [json.loads(record.message) for record in caplog.records if record.name == "headrace.access"]
    assert [(line["token"], line["status"]) for line in lines] == [("metrics", 200), (None, 401)]
    assert held[1]["metrics"] not in caplog.text


def test_tokens_rotate_while_the_server_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "LOOK_S", 0.0)
    (old, old_entry), (new, new_entry) = entry("old", "read"), entry("new", "read")
    file = tmp_path / "tokens.toml"
    file.write_text(old_entry)
    settings = load(["serve.require_token=true", f"serve.token_file={file}"], "local")
    with serving(create_app(settings, overseen(), lambda: NOW, None)) as address:

        def statuses() -> list[int]:
            path = f"{address}/v1/predictions/segments/17850"
            headers = ({"Authorization": f"Bearer {token}"} for token in (old, new))
            return [requests.get(path, headers=one, timeout=10).status_code for one in headers]

        assert statuses() == [200, 401]
        file.write_text(f"{old_entry}\n{new_entry}")
        assert statuses() == [200, 200]
        file.write_text(new_entry)
        assert statuses() == [401, 200]


def test_the_command_makes_an_entry_that_the_server_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tokens.toml"
    with pytest.raises(SystemExit) as left:
        main(["token", "new", "--name", "ci", "--scope", "read", "--scope", "console", "--days", "30"])
    assert left.value.code == 0
    said = capsys.readouterr()
    token = said.err.split()[1]
    assert token not in said.out
    file.write_text(said.out)
    grant = tokens.Tokens(None, file, lambda: datetime.datetime.now(datetime.UTC)).grant([f"Bearer {token}".encode()])
    assert grant is not None
    assert (grant.name, grant.scopes) == ("ci", {"read", "console"})
    assert grant.expires_at is not None
    with pytest.raises(SystemExit) as refused:
        main(["token", "new", "--name", "ci", "--scope", "reed"])
    assert refused.value.code == 2
    assert "nearest 'read'" in capsys.readouterr().err


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def all_of(connection: socket.socket) -> bytes:
    """All that is said until the other side hangs up, in order or not."""
    said = b""
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            said += part
    return said


# -- TLS ----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 signed by itself, and its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def test_with_a_certificate_the_server_speaks_tls_alone(pem: tuple[Path, Path]) -> None:
    settings = load([f"serve.tls_certificate={pem[0]}", f"serve.tls_key={pem[1]}"], "local")
    with serving(create_app(settings, overseen(), lambda: NOW, None), tls_of(settings.serve)) as address:
        assert address.startswith("https://")
        answer = requests.get(f"{address}/v1/predictions/segments/17850", verify=str(pem[0]), timeout=10)
        assert answer.json()["layer"] == "speed"
        place = (urlsplit(address).hostname, urlsplit(address).port)
        with socket.create_connection(place, timeout=10) as stranger, pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(stranger, server_hostname="127.0.0.1")
        with socket.create_connection(place, timeout=10) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP/1.1" not in all_of(plain)
        began = time.monotonic()
    # The answer keeps its idle connection, which must not hold up the end.
    assert time.monotonic() - began < 8


def test_files_that_make_no_tls_stop_the_start(pem: tuple[Path, Path]) -> None:
    for assignments, said in (
        ([f"serve.tls_certificate={pem[0]}"], "needs a certificate and its key; found serve.tls_certificate alone"),
        ([f"serve.tls_certificate={pem[1]}", f"serve.tls_key={pem[1]}"], "make no TLS"),
        ([f"serve.tls_certificate={pem[0]}", "serve.tls_key=/nowhere"], "make no TLS"),
    ):
        with pytest.raises(ConfigError, match=said):
            tls_of(load(assignments, "local").serve)
    assert tls_of(load([], "local").serve) is None
