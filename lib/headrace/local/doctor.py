"""Whether this machine can run the platform, and how to mend what cannot."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from headrace.config import Settings
from headrace.errors import HeadraceError
from headrace.local import engines, jars
from headrace.local.java import find_java
from headrace.local.ports import is_free

OK, WARN, FAIL = "ok", "warn", "fail"

_PYTHON = (3, 11)
_MB = 1_000_000
_DISK_FAIL_MB, _DISK_WARN_MB = 1_000, 5_000


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `ok`, `warn` (works, or will be mended by itself) or `fail`, and how to mend it."""

    check: str
    result: str
    found: str
    mend: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at Python, Java, jars, engines and ports, memory, disk and credentials; changes nothing."""
    return [
        _python(),
        _java(settings.cache),
        *_jars(settings.cache),
        *_engines(settings),
        _serve_port(settings),
        _memory(settings),
        *_disk(settings),
        _credentials(settings),
    ]


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _PYTHON:
        return Finding("python", FAIL, found, "install Python 3.11 or newer and run `make setup` again")
    return Finding("python", OK, found)


def _java(cache: Path) -> Finding:
    try:
        java = find_java(cache)
        subprocess.run(  # noqa: S603 - a fixed list, no shell
            [java.executable, "-version"], capture_output=True, timeout=60, check=True
        )
    except HeadraceError as error:
        return Finding("java", FAIL, "no Java 17", str(error))
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("java", FAIL, f"it does not start: {error}", "set JAVA_HOME to a Java 17 that starts")
    found = f"{java.version} from {java.source} ({java.home})"
    if not java.shares_classes:
        return Finding("java", WARN, f"{found}, without class-data sharing", "a system Java 17 starts sessions faster")
    return Finding("java", OK, found)


def _jars(cache: Path) -> Iterator[Finding]:
    for group in jars.groups():
        locked, missing = jars.artifacts(group), jars.missing(group, cache)
        size = sum(artifact.size for artifact in missing) / _MB
        if missing:
            found = f"{len(missing)} of {len(locked)} not in {cache / 'jars'} ({size:.0f} MB)"
            yield Finding(f"jars {group}", WARN, found, "they are fetched when first used, which needs the network")
        else:
            yield Finding(f"jars {group}", OK, f"{len(locked)} cached")


def _engines(settings: Settings) -> Iterator[Finding]:
    for now in engines.status(settings):
        name = f"engine {now.name}"
        if now.state == "running":
            yield Finding(name, OK, f"answers at {now.endpoint}")
        elif now.state == "stopped":
            taken = [port for port in engines.kept_ports(now.name, settings) if not is_free(port)]
            found = f"stopped; its port {taken[0]} is taken, the next start chooses another" if taken else "stopped"
            yield Finding(name, WARN if taken else OK, found, f"`headrace up {now.name}` starts it")
        else:
            yield Finding(name, WARN, f"{now.state}, its log is {now.log}", f"`headrace up {now.name}` starts it again")


def _serve_port(settings: Settings) -> Finding:
    port = settings.serve.port
    if port and not is_free(port):
        return Finding("port serve", WARN, f"{port} is taken", "`headrace serve --port N` or --set serve.port=N")
    return Finding("port serve", OK, f"{port} is free" if port else "any free one")


def _memory(settings: Settings) -> Finding:
    heaps = settings.engines
    driver = _megabytes(settings.spark.driver_memory) or 1024
    needed = driver + heaps.kafka_heap_mb + heaps.dynamodb_heap_mb
    free = psutil.virtual_memory().available // (1 << 20)
    found = f"{free} MiB available, {needed} MiB bound for Spark, kafka and dynamodb"
    if free < driver + heaps.dynamodb_heap_mb:
        return Finding("memory", FAIL, found, "close something, or lower spark.driver_memory and engines.*_heap_mb")
    if free < needed * 3 // 2:
        return Finding("memory", WARN, found, "close something, or lower spark.driver_memory and engines.*_heap_mb")
    return Finding("memory", OK, found)


def _megabytes(text: str) -> int | None:
    """A Spark memory size in MiB.

    >>> _megabytes("2g"), _megabytes("512m"), _megabytes("")
    (2048, 512, None)
    """
    match = re.fullmatch(r"(\d+)([mg])b?", text.strip().lower())
    return int(match[1]) * (1024 if match[2] == "g" else 1) if match else None


def _disk(settings: Settings) -> Iterator[Finding]:
    for name, folder, move in (
        ("disk home", settings.home, "set $HEADRACE_HOME to"),
        ("disk cache", settings.cache, "set $HEADRACE_CACHE to"),
    ):
        present = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        if not present.is_dir():
            yield Finding(name, FAIL, f"{present} is not a folder", f"{move} a folder of yours")
            continue
        free = psutil.disk_usage(str(present)).free // _MB
        mend = f"free some space, or {move} another disk"
        if not _writable(present):
            yield Finding(name, FAIL, f"{present} cannot be written", f"{move} a folder of yours")
        elif free < _DISK_WARN_MB:
            yield Finding(name, FAIL if free < _DISK_FAIL_MB else WARN, f"{free} MB free in {present}", mend)
        else:
            yield Finding(name, OK, f"{free} MB free in {present}")


def _writable(folder: Path) -> bool:
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _credentials(settings: Settings) -> Finding:
    """Whether there are AWS credentials at all; where they come from is shown, what they are never."""
    import botocore.session
    from botocore.exceptions import BotoCoreError

    needed = settings.store.kind == "dynamodb" and not settings.store.endpoint
    needed = needed or bool(settings.kinesis.streams and not settings.kinesis.endpoint)
    lacking = FAIL if needed else OK
    mend = "`aws configure`, or run where a role is given" if needed else ""
    session = botocore.session.Session()
    if needed:
        session.set_config_variable("metadata_service_timeout", 1)
        session.set_config_variable("metadata_service_num_attempts", 1)
    else:
        # Only AWS has a metadata service; elsewhere asking it is a wait on the network for nothing.
        session.get_component("credential_provider").remove("iam-role")
    try:
        credentials = session.get_credentials()
    except BotoCoreError as error:
        return Finding("credentials", lacking, f"none are usable: {type(error).__name__}", mend)
    if credentials is None:
        return Finding(
            "credentials", lacking, "none, and the store or a stream is in AWS" if needed else "none, none needed", mend
        )
    return Finding("credentials", OK, f"found ({credentials.method})")
