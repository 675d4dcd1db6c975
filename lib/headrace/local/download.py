"""Files fetched once: resumed after a break, checked by SHA-256, renamed into place only when whole."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import DownloadError

if TYPE_CHECKING:
    import requests

ATTEMPTS = 6
"""How often one file is tried; a try that brought new bytes is followed by another without counting."""
# The bytes of a chunk that breaks off half-way are lost, so chunks are small.
_CHUNK = 1 << 13
_TIMEOUT_S = (10, 60)
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


class _Broken(Exception):
    """The transfer broke; what has arrived is kept."""


@dataclass(frozen=True)
class Remote:
    """A file to fetch: its address, where it goes, and what it must be (size None: unknown)."""

    url: str
    target: Path
    sha256: str
    size: int | None = None


def is_whole(remote: Remote) -> bool:
    """Whether the target is there with the expected size and SHA-256."""
    try:
        if remote.size is not None and remote.target.stat().st_size != remote.size:
            return False
        return sha256_of(remote.target) == remote.sha256
    except OSError:
        return False


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def exclusive(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock file at `path`; another process that wants it waits. `waiting` is called before a wait.

    The kernel frees the lock when its holder dies, so a crash leaves nothing to clean up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def fetch(
    remote: Remote,
    session: requests.Session,
    *,
    advance: Callable[[int], None] = lambda _: None,
    stop: threading.Event | None = None,
    pause_s: float = 0.5,
) -> None:
    """Fetch one file into place; `advance` is told the bytes that count, resumed ones included.

    The caller holds a lock, so no two processes write the same `.part` file. Raises DownloadError.
    """
    import tenacity

    stop = stop or threading.Event()
    part = remote.target.with_name(remote.target.name + ".part")
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_random_exponential(multiplier=pause_s, max=20 * pause_s),
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, _Broken) and not stop.is_set()),
        sleep=tenacity.sleep_using_event(stop),
        reraise=True,
    )
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        advance(_held(part))
        while retrying(_gained, remote, part, session, advance, stop):
            pass
    except _Broken as broken:
        raise DownloadError(
            f"{remote.url} did not arrive",
            found=str(broken),
            do="check the network and run the same command again: what has arrived is kept and resumed",
        ) from broken
    except OSError as error:
        raise DownloadError(
            f"{remote.target} cannot be written",
            found=str(error),
            do="free some space, or name another cache in $HEADRACE_CACHE",
        ) from error


def _gained(
    remote: Remote, part: Path, session: requests.Session, advance: Callable[[int], None], stop: threading.Event
) -> bool:
    """One try. False: the file is in place. True: bytes were gained before it broke. Raises _Broken otherwise."""
    before = _held(part)
    try:
        _receive(remote, part, session, advance, stop)
    except _Broken:
        if _held(part) > before and not stop.is_set():
            return True
        raise
    found = sha256_of(part)
    if found != remote.sha256:
        advance(-_held(part))
        part.unlink()
        raise _Broken(f"SHA-256 {found} instead of {remote.sha256}")
    part.replace(remote.target)
    return False


def _receive(
    remote: Remote, part: Path, session: requests.Session, advance: Callable[[int], None], stop: threading.Event
) -> None:
    import requests

    held = _held(part)
    if remote.size is not None and held >= remote.size:
        return
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={held}-"} if held else {})}
    try:
        with session.get(remote.url, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                return  # everything had arrived; the checksum decides
            _refuse(answer, remote)
            resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {held}-")
            if held and not resumed:
                advance(-held)
                held = 0
            with part.open("ab" if held else "wb") as file:
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)
                    advance(len(chunk))
                    if stop.is_set():
                        raise _Broken("interrupted")
    except requests.RequestException as error:
        raise _Broken(type(error).__name__ + ": " + str(error)) from error
    if remote.size is not None and _held(part) < remote.size:
        raise _Broken(f"{_held(part)} of {remote.size} bytes")


def _refuse(answer: requests.Response, remote: Remote) -> None:
    if answer.status_code in _RETRIED:
        raise _Broken(f"HTTP {answer.status_code}")
    if answer.status_code >= 400:
        raise DownloadError(
            f"{remote.url} is refused",
            found=f"HTTP {answer.status_code}",
            do="check the address; for jars, $HEADRACE_MAVEN_REPOSITORY names another mirror of Maven Central",
        )


def _held(part: Path) -> int:
    try:
        return os.stat(part).st_size  # noqa: PTH116 - one call, no object, in a progress loop
    except FileNotFoundError:
        return 0
