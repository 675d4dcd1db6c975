"""A file as a log of events: identified by its bytes, its rows numbered, its bad rows set aside."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from headrace.errors import ConfigError, InputError, nearest
from headrace.schemas import Schema

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from headrace.sources.decoded import Decoded

_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
# Formats by how the name ends, `.gz` taken off first.
FORMATS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet"}
_FOREIGN = {
    b"PK\x03\x04": "a zip or Excel file",
    b"BZh": "a bzip2 file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"\xfd7zXZ": "an xz file",
    b"PAR1": "a Parquet file",
    b"PARE": "an encrypted Parquet file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


@dataclass(frozen=True)
class FileFingerprint:
    """A file that was read to its end once.

    sha256: of the bytes as stored, so a packed file and its plain twin are different logs.
    bytes: stored size. lines: physical lines of the unpacked text; 0 for Parquet.
    """

    path: Path
    sha256: str
    bytes: int
    lines: int

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def format(self) -> str:
        return FORMATS[_suffix(self.path)]

    @property
    def is_packed(self) -> bool:
        return self.path.name.endswith(".gz")


def fingerprint(path: Path) -> FileFingerprint:
    """The SHA-256 of a file's stored bytes, proving on the way that it can be read to its end.

    Raises InputError for what is missing, no regular file, not readable, empty, of an unknown format,
    or a gzip file that is truncated or damaged (naming the byte).
    """
    path = path.expanduser().absolute()
    _refuse_unusable(path)
    try:
        return _read_through(path)
    except PermissionError as error:
        raise InputError(f"{path} may not be read", found=error.strerror, do="grant read permission") from error


def read_events(
    spark: SparkSession,
    file: FileFingerprint,
    schema: Schema,
    event_time: str,
    *,
    arrival_ts: datetime,
    multiline: bool = False,
    needed: tuple[str, ...] = (),
) -> Decoded:
    """The file's rows as typed events with positions, bad rows apart; parsed once and held until `close`.

    A row's position is its line below the header, from 0 (Parquet: its row number), so quarantined and blank
    lines leave gaps. multiline: a text record may contain line breaks inside quotes and its position is that
    of its first line. needed: columns that must be in the file although they may be null.
    Raises SchemaError for columns that do not fit, InputError when there is no row.
    """
    if arrival_ts.tzinfo is None:
        raise ConfigError("arrival_ts has no time zone", found=arrival_ts, expected="an aware datetime")
    zone = spark.conf.get("spark.sql.session.timeZone")
    if zone not in ("UTC", "Etc/UTC", "Z", "+00:00"):
        raise ConfigError(
            "times without a zone would be shifted",
            found=f"spark.sql.session.timeZone={zone}",
            expected="UTC",
            do="open the session with headrace.session.open_session",
        )
    from headrace.sources.decoded import decode

    return decode(
        spark, file, schema, event_time, arrival_ts=arrival_ts, multiline=multiline, needed=(event_time, *needed)
    )


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, gunzipped where its name ends in .gz."""
    with path.open("rb") as stored:
        if path.name.endswith(".gz"):
            with gzip.open(stored, "rb") as stream:
                yield cast(IO[bytes], stream)
        else:
            yield stored


def blank_lines(file: FileFingerprint, *, multiline: bool) -> int:
    """Blank records of a text file, counted without Spark; a blank line inside quotes is none."""
    if file.format == "parquet":
        return 0
    blank, is_inside = 0, False
    with unpacked(file.path) as stream:
        for line in stream:
            blank += not is_inside and not line.strip(b" \r\n")
            if multiline:
                is_inside ^= bool(line.count(b'"') % 2)
    return blank


def spark_path(path: Path) -> str:
    """The path as Spark reads exactly this file: glob characters in the name stand for themselves."""
    escaped = "".join(f"\\{c}" if c in "\\{}[]*?" else c for c in str(path))
    return f"file://{escaped}"


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _refuse_unusable(path: Path) -> None:
    try:
        exists, is_folder, is_file = path.exists(), path.is_dir(), path.is_file()
        near = None if exists else nearest(path.name, _names(path.parent))
    except PermissionError as error:
        raise InputError(f"{path} may not be read", found=error.strerror, do="grant read permission") from error
    if not exists:
        raise InputError(f"input file {path} does not exist", nearest=near, do="check --input")
    if is_folder:
        raise InputError(f"input {path} is a folder", expected="one file", do="ingest its files one by one")
    if not is_file:
        raise InputError(f"input {path} is not a regular file", do="copy it to a file first")
    suffix = _suffix(path)
    if suffix not in FORMATS:
        raise InputError(
            f"{path.name} is of no known format",
            found=f"ending {suffix!r}",
            expected=f"{', '.join(FORMATS)}, text also with .gz",
            nearest=nearest(suffix, FORMATS),
        )
    if path.name[0] in "._" or any(c in path.name for c in ":\n\r"):
        # Hadoop skips hidden names without a word and takes a colon for the end of a scheme.
        raise InputError(
            f"the file name {path.name!r} cannot be read by Spark",
            expected="a name that does not start with '.' or '_' and has no ':'",
            do="rename the file",
        )


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()] if folder.is_dir() else []


def _read_through(path: Path) -> FileFingerprint:
    """Hash the stored bytes and count lines in one pass."""
    digest, size, lines, payload, last = hashlib.sha256(), 0, 0, 0, b"\n"
    packed = path.name.endswith(".gz")
    parquet = FORMATS[_suffix(path)] == "parquet"
    unpacker = _Unpacker(path) if packed else None
    for chunk in _chunks(path):
        if size == 0:
            _refuse_foreign(path, chunk, packed=packed, parquet=parquet)
        digest.update(chunk)
        size += len(chunk)
        for text in unpacker.feed(chunk) if unpacker else [chunk]:
            if text:
                payload, last = payload + len(text), text[-1:]
                lines += text.count(b"\n")
    if unpacker and size:
        unpacker.finish()
    if payload == 0:
        raise InputError(f"{path.name} is empty", found=f"{size} bytes", expected="a header and at least one row")
    lines += last != b"\n"
    return FileFingerprint(path, digest.hexdigest(), size, 0 if parquet else lines)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _refuse_foreign(path: Path, start: bytes, *, packed: bool, parquet: bool) -> None:
    if packed:
        if not start.startswith(_GZIP):
            raise InputError(f"{path.name} is not a gzip file", found=f"first bytes {start[:4]!r}", do="rename it")
        return
    if start.startswith(_GZIP):
        raise InputError(f"{path.name} is packed with gzip", do=f"rename it to {path.name}.gz")
    kind = next((kind for magic, kind in _FOREIGN.items() if start.startswith(magic)), None)
    if parquet:
        if kind == "an encrypted Parquet file":
            raise InputError(f"{path.name} is an encrypted Parquet file", do="decrypt it first")
        if kind != "a Parquet file":
            raise InputError(f"{path.name} is not a Parquet file", found=kind or f"first bytes {start[:4]!r}")
    elif kind:
        raise InputError(f"{path.name} is not plain text", found=kind, expected="UTF-8 text", do="convert it first")


class _Unpacker:
    """Gunzips chunk by chunk, member by member, and knows how far it came."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._member = zlib.decompressobj(wbits=31)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        rest, is_full = chunk, False
        while rest or is_full:
            if self._member.eof:
                self._member = zlib.decompressobj(wbits=31)
            try:
                # Bounded, so that a small file cannot unpack to more than memory holds.
                text = self._member.decompress(rest, _CHUNK)
                yield text
                rest = self._member.unconsumed_tail or self._member.unused_data
                is_full = len(text) == _CHUNK and not self._member.eof
            except zlib.error as error:
                raise InputError(
                    f"{self._path.name} is damaged",
                    found=f"{error} between bytes {self._read:,} and {self._read + len(chunk):,}",
                    expected="a whole gzip file",
                    do="copy or download it again",
                ) from error
        self._read += len(chunk)

    def finish(self) -> None:
        if not self._member.eof:
            raise InputError(
                f"{self._path.name} is truncated",
                found=f"end of file at byte {self._read:,} in the middle of the gzip data",
                expected="a whole gzip file",
                do="copy or download it again",
            )
