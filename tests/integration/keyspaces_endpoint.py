"""What stands in for Amazon Keyspaces: TLS in front of a Cassandra, and a handshake that checks SigV4.

It speaks native protocol 4 as far as the handshake goes, and passes everything else on.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import re
import secrets
import ssl
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from botocore.credentials import ReadOnlyCredentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headrace.sources.cassandra.signing import signature

ERROR, STARTUP, READY, AUTHENTICATE, QUERY, PREPARE = 0x00, 0x01, 0x02, 0x03, 0x07, 0x09
CHALLENGE, RESPONSE, SUCCESS = 0x0E, 0x0F, 0x10
BAD_CREDENTIALS, UNAUTHORIZED, OVERLOADED = 0x0100, 0x2100, 0x1001
REGIONS = ("us-east-1", "us-west-2", "eu-west-1")


@dataclass
class Endpoint:
    """What it accepts from now on. denied: statements that are not allowed. overloaded: how many are turned away.

    signs: whether it asks for SigV4 at all.
    """

    keys: list[ReadOnlyCredentials]
    signs: bool = True
    region: str = "us-east-1"
    expired: set[str] = field(default_factory=set)
    denied: str = r"(?!)"
    overloaded: int = 0
    port: int = 0
    authenticated: list[str] = field(default_factory=list)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def hang_up(self) -> None:
        """Close every connection there is."""
        self._loop.call_soon_threadsafe(lambda: [one.transport.abort() for one in list(self._open)])

    def refusal(self, nonce: str, answer: str) -> str | None:
        """Why an answer to the challenge is not accepted; None where it is."""
        said = dict(part.split("=", 1) for part in answer.split(","))
        known = next((one for one in self.keys if one.access_key == said["access_key"]), None)
        if known is None or known.token != said.get("session_token"):
            return "The security token included in the request is invalid."
        if known.access_key in self.expired:
            return "The security token included in the request is expired"
        at = dt.datetime.fromisoformat(said["amzdate"])
        if abs((dt.datetime.now(dt.UTC) - at).total_seconds()) > 900:
            return "Signature expired"
        right = {signature(nonce.encode(), region, known, said["amzdate"]): region for region in REGIONS}
        found = right.get(said["signature"])
        if found == self.region:
            self.authenticated.append(known.access_key)
            return None
        if found:
            return f"Credential should be scoped to a valid region, not '{found}'."
        return "The request signature we calculated does not match the signature you provided."

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: tuple[str, int]) -> None:
        far_reader, far_writer = await asyncio.open_connection(*to)
        both = {writer, far_writer}
        self._open |= both
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                await self._handshake(reader, writer, far_reader, far_writer)
                tasks = [
                    asyncio.create_task(self._forth(reader, writer, far_writer)),
                    asyncio.create_task(_back(far_reader, writer)),
                ]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
        finally:
            self._open -= both
            for one in both:
                one.transport.abort()

    async def _handshake(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        startup, nonce = b"", secrets.token_hex(16)
        while True:
            head, body = await _frame(reader)
            stream, opcode = head[2:4], head[4]
            if opcode == STARTUP and not self.signs:
                far_writer.write(head + body)
                return
            if opcode == STARTUP:
                startup = head + body
                name = b"com.amazonaws.cassandra.auth.KeyspacesAuthenticator"
                writer.write(_answer(stream, AUTHENTICATE, struct.pack(">H", len(name)) + name))
            elif opcode == RESPONSE and body[4:] == b"SigV4\0\0":
                challenge = f"nonce={nonce}".encode()
                writer.write(_answer(stream, CHALLENGE, struct.pack(">i", len(challenge)) + challenge))
            elif opcode == RESPONSE:
                refusal = self.refusal(nonce, body[4:].decode())
                if refusal:
                    writer.write(_answer(stream, ERROR, _error(BAD_CREDENTIALS, refusal)))
                    continue
                far_writer.write(startup)
                ready, _ = await _frame(far_reader)
                assert ready[4] == READY
                writer.write(_answer(stream, SUCCESS, struct.pack(">i", -1)))
                return
            else:  # OPTIONS, before anything else
                far_writer.write(head + body)
                writer.write(b"".join(await _frame(far_reader)))

    async def _forth(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, far_writer: asyncio.StreamWriter
    ) -> None:
        while True:
            head, body = await _frame(reader)
            statement = head[4] in (QUERY, PREPARE)
            text = body.decode("latin-1")
            if statement and re.search(self.denied, text):
                told = "User arn:aws:iam::1:role/reader has no MODIFY permission on <table> or any of its parents"
                writer.write(_answer(head[2:4], ERROR, _error(UNAUTHORIZED, told)))
            elif statement and self.overloaded and "system" not in text:
                self.overloaded -= 1
                writer.write(_answer(head[2:4], ERROR, _error(OVERLOADED, "Request rate exceeded")))
            else:
                far_writer.write(head + body)


async def _back(far_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await far_reader.read(65536):
        writer.write(data)
        await writer.drain()


async def _frame(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(9)
    return head, await reader.readexactly(int.from_bytes(head[5:9]))


def _answer(stream: bytes, opcode: int, body: bytes) -> bytes:
    return b"\x84\x00" + stream + bytes([opcode]) + struct.pack(">i", len(body)) + body


def _error(code: int, text: str) -> bytes:
    return struct.pack(">iH", code, len(text)) + text.encode()


@contextlib.contextmanager
def keyspaces(cassandra: str, endpoint: Endpoint, certificate: tuple[Path, Path]) -> Iterator[Endpoint]:
    """Run an endpoint in front of a Cassandra on a free port of this machine."""
    host, _, port = cassandra.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    loop, ready = endpoint._loop, threading.Event()

    async def serve() -> None:
        server = await asyncio.start_server(
            lambda r, w: endpoint.meet(r, w, (host, int(port))), "127.0.0.1", 0, ssl=context
        )
        endpoint.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await server.serve_forever()

    def run() -> None:
        asyncio.set_event_loop(loop)
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        for left in asyncio.all_tasks(loop):
            left.cancel()
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()

    task = loop.create_task(serve())
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield endpoint
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)


def authority(folder: Path, name: str, host: str) -> tuple[Path, tuple[Path, Path]]:
    """An authority's PEM file, and the certificate and key of a server of that host name or address."""
    now = dt.datetime.now(dt.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} CA")])

    def certificate(subject: x509.Name, public: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )

    root = certificate(issuer, ca_key.public_key(), ca=True).sign(ca_key, hashes.SHA256())
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    leaf = (
        certificate(subject, key.public_key(), ca=False)
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    paths = [folder / f"{name}-{part}.pem" for part in ("ca", "cert", "key")]
    paths[0].write_bytes(root.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    paths[2].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths[0], (paths[1], paths[2])
