"""The jars that are locked in jars.toml, fetched once to the cache."""

from __future__ import annotations

import platform
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache as remember
from importlib import resources
from pathlib import Path

from headrace import config
from headrace.errors import DownloadError, TerminalError, nearest
from headrace.local.download import Remote, exclusive, fetch, is_whole

LANE = "spark-4.1"
_LANES = (LANE, "engines")
_AT_ONCE = 6


@dataclass(frozen=True)
class Artifact:
    """One locked file: its path in Maven layout, SHA-256, size in bytes, and the platform of a native library."""

    path: str
    sha256: str
    size: int
    platform: str | None = None


def groups() -> list[str]:
    """The names of every group this lane and the engines know."""
    return list(_locked())


def artifacts(group: str) -> list[Artifact]:
    """What a group consists of on this machine. Raises TerminalError for an unknown group."""
    locked = _locked()
    if group not in locked:
        raise TerminalError(
            f"there is no group of jars {group!r}", expected=", ".join(locked), nearest=nearest(group, locked)
        )
    here = f"{platform.system()}-{platform.machine()}"
    return [artifact for artifact in locked[group] if artifact.platform in (None, here)]


def missing(group: str, cache: Path) -> list[Artifact]:
    """What of a group is not in the cache, or damaged there."""
    return [artifact for artifact in artifacts(group) if not is_whole(_remote(artifact, cache))]


def ensure_jars(groups: Sequence[str], cache: Path, progress: bool = True) -> list[Path]:
    """The files of the groups, in lock order, from the cache; what is not there is fetched first.

    Nothing is asked of the network when everything is cached. Several processes may call this at once: one fetches,
    the others wait. `progress` writes to stderr: a bar on a terminal, else one line. Raises DownloadError; what has
    arrived is kept, so the next call resumes.
    """
    wanted = list(dict.fromkeys(artifact for group in groups for artifact in artifacts(group)))
    remotes = [_remote(artifact, cache) for artifact in wanted]
    if not all(map(is_whole, remotes)):
        try:
            with exclusive(cache / "jars" / ".lock", lambda: _say("waiting for another download to finish", progress)):
                _fetch_all([remote for remote in remotes if not is_whole(remote)], progress)
        except OSError as error:
            do = "free some space, or name another cache in $HEADRACE_CACHE"
            raise DownloadError(f"the cache {cache} cannot be used", found=str(error), do=do) from error
    return [remote.target for remote in remotes]


def _fetch_all(remotes: Sequence[Remote], progress: bool) -> None:
    import requests

    if not remotes:
        return
    stop = threading.Event()
    with (
        requests.Session() as session,
        _bar(remotes, progress) as advance,
        ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="jars") as pool,
    ):
        running = [pool.submit(fetch, remote, session, advance=advance, stop=stop) for remote in remotes]
        try:
            for future in running:
                future.result()
        except BaseException:
            # Ctrl-C included: threads leave at the next chunk, and the .part files stay for the next call.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def _bar(remotes: Sequence[Remote], progress: bool) -> Iterator[Callable[[int], None]]:
    total = sum(remote.size or 0 for remote in remotes)
    text = f"{len(remotes)} jars, {total / 1e6:.0f} MB, from {config.maven_repository()}"
    if not (progress and sys.stderr.isatty()):
        _say(f"fetching {text}", progress)
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as shown:
        task = shown.add_task(f"{len(remotes)} jars", total=total)
        yield lambda count: shown.advance(task, count)


def _say(text: str, progress: bool) -> None:
    if progress:
        sys.stderr.write(f"headrace: {text}\n")


def _remote(artifact: Artifact, cache: Path) -> Remote:
    address = f"{config.maven_repository()}/{artifact.path}"
    return Remote(address, cache / "jars" / artifact.path, artifact.sha256, artifact.size)


@remember
def _locked() -> dict[str, list[Artifact]]:
    lanes = tomllib.loads(resources.files("headrace").joinpath("jars.toml").read_text("utf-8"))
    return {
        name: [Artifact(**artifact) for artifact in group.get("artifacts", [])]
        for lane in _LANES
        for name, group in lanes[lane].items()
    }
