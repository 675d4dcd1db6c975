"""Finds UCI Online Retail: an input that is named, a data folder, the cache, its publisher, else generated data.

Source: Chen, D. (2015), Online Retail, UCI Machine Learning Repository, dataset 352,
https://doi.org/10.24432/C5BW33, CC BY 4.0. 541,909 lines of a UK shop, 2010-12-01 08:26 to 2011-12-09 12:50.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from headrace import config
from headrace.config import Settings
from headrace.errors import DownloadError, InputError, nearest
from headrace.local.download import Remote, exclusive, fetch, is_whole, sha256_of
from headrace.sources.progress import say, shown
from headrace.sources.purchases import write_purchases

if TYPE_CHECKING:
    import requests

log = logging.getLogger(__name__)

# Where UCI offers the set as CSV; the .zip beside it holds a spreadsheet. Several public projects record this very
# size and SHA-256 for what that address serves, and an independent copy of the file has them too; the address
# itself has not been called by this project's tests, which use a local server.
ADDRESS = "https://archive.ics.uci.edu/static/public/352/data.csv"
SHA256 = "a2f79bbdd4463df6db8a3f5a50b9c980ae8f645a370bf5e2c0d6097f9e817b05"
SIZE = 45_038_760

_NAME = "online-retail-dataset.csv"
# Of a data folder: the set's own folder, or the files themselves; packed first, as it is read as fast.
_PLACES = (f"online_retail/{_NAME}.gz", f"online_retail/{_NAME}", f"{_NAME}.gz", _NAME)
_CONNECT_S = (5, 10)

GENERATED_CUSTOMERS, GENERATED_ROWS, GENERATED_SEED = 4_372, 541_909, 7
# Raised when the generator writes other bytes for the same arguments, so that a cached file is not mistaken for them.
_GENERATOR = 1

Origin = Literal["input", "data folder", "cache", "download", "generated"]


@dataclass(frozen=True)
class Found:
    """The file to read, where it came from, and what people should know about that."""

    path: Path
    origin: Origin
    note: str


def find(
    path: Path | None,
    settings: Settings,
    *,
    published: Remote | None = None,
    progress: bool = True,
) -> Found:
    """The first of: `path`; $HEADRACE_DATA; the cache; a download from the publisher; generated data.

    published: what to download instead of the publisher's file (for tests; no setting and no request reaches it);
    its target is taken as the cached file. progress: say on stderr what takes long.
    Raises InputError when `path` names no file; a publisher that cannot be reached is no error, but a note.
    """
    if path is not None:
        return Found(_named(path), "input", "")
    folder = config.data_folder()
    in_folder = _in_data_folder(folder)
    if in_folder is not None:
        return in_folder
    remote = published or Remote(ADDRESS, settings.cache / "data" / _NAME, SHA256, SIZE)
    if is_whole(remote):
        return Found(remote.target, "cache", "")
    try:
        _download(remote, settings.cache / "data", progress)
    except DownloadError as error:
        log.info("Online Retail is not fetched: %s", error)
        why = f"{error.what} ({error.__cause__})" if error.__cause__ else error.what
        return _generated(settings, why, folder, progress)
    return Found(remote.target, "download", f"fetched from {remote.url}, SHA-256 checked")


def _named(path: Path) -> Path:
    if path.exists():
        return path
    parent = path.parent
    among = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    raise InputError(
        f"there is no input {str(path)!r}",
        found=None if parent.is_dir() else f"no folder {str(parent)!r}",
        nearest=nearest(path.name, among),
        do="check --input",
    )


def _in_data_folder(folder: Path | None) -> Found | None:
    if folder is None:
        return None
    places = [folder / place for place in _PLACES]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        log.info("$HEADRACE_DATA is %s, which holds none of %s", folder, ", ".join(_PLACES))
        return None
    return Found(path, "data folder", "" if _is_published(path) else "not byte for byte the published file")


def _is_published(path: Path) -> bool:
    import gzip
    import hashlib
    import zlib

    if path.suffix != ".gz":
        return sha256_of(path) == SHA256
    try:
        with gzip.open(path, "rb") as packed:
            return hashlib.file_digest(packed, "sha256").hexdigest() == SHA256
    except (EOFError, OSError, zlib.error):
        # Damage is named when the file is ingested.
        return False


def _download(remote: Remote, folder: Path, progress: bool) -> None:
    import requests

    if remote.target.exists():
        # A copy that is not what was published is not kept, whatever happens next.
        remote.target.unlink()
    with requests.Session() as session:
        _reach(remote, session)
        with (
            exclusive(folder / ".lock", lambda: say("waiting for another download to finish", wanted=progress)),
            shown(f"Online Retail from {remote.url}", remote.size, "bytes", wanted=progress) as advance,
        ):
            if not is_whole(remote):
                fetch(remote, session, advance=advance)


def _reach(remote: Remote, session: requests.Session) -> None:
    """One short question first, so that a machine without a network does not wait through every retry."""
    import requests

    try:
        session.head(remote.url, timeout=_CONNECT_S).close()
    except requests.RequestException as error:
        raise DownloadError(f"{remote.url} is not reached ({type(error).__name__})") from None


def _generated(settings: Settings, why: str, folder: Path | None, progress: bool) -> Found:
    scale = f"{GENERATED_CUSTOMERS}x{GENERATED_ROWS}"
    path = settings.cache / "data" / f"purchases-{_GENERATOR}-seed{GENERATED_SEED}-{scale}.csv.gz"
    with exclusive(settings.cache / "data" / ".lock"):
        if not path.exists():
            with shown("generating purchases", GENERATED_ROWS, "rows", wanted=progress) as advance:
                write_purchases(path, GENERATED_CUSTOMERS, GENERATED_ROWS, GENERATED_SEED, advance)
    where = "$HEADRACE_DATA is not set" if folder is None else f"$HEADRACE_DATA ({folder}) does not hold it"
    note = (
        "GENERATED DATA IS USED, NOT THE REAL ONLINE RETAIL FILE: EVERY NUMBER BELOW DESCRIBES AN INVENTED SHOP. "
        f"Why: {where}, and {why}. To use the real file: fetch {ADDRESS}, then pass --input FILE, "
        f"or put it as {_NAME} into a folder and set HEADRACE_DATA to that folder."
    )
    return Found(path, "generated", note)
