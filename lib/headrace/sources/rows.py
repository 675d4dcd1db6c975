"""The rows of a text file one by one, without Spark: as their bytes and as the texts of the declared columns."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

from headrace.errors import InputError
from headrace.schemas import Schema
from headrace.sources.files import FileFingerprint, unpacked
from headrace.sources.headers import header, match
from headrace.sources.instants import instant_reader

# RFC 4180: a field is quoted as a whole, and a quote inside it is doubled; what matches neither is broken.
_FIELD = re.compile(r'"((?:[^"]|"")*)"(?=,|\Z)|([^",]*)(?=,|\Z)')

Texts = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row. number: its line below the header, from 0; blank lines are counted and left out.

    raw: its bytes with the line end. texts: declared column -> text, None where the row cannot be read.
    """

    number: int
    raw: bytes
    texts: Texts | None

    @property
    def line(self) -> bytes:
        """The bytes without the line end."""
        return self.raw.removesuffix(b"\n").rstrip(b"\r")


def rows(file: FileFingerprint, schema: Schema, needed: tuple[str, ...], *, multiline: bool) -> Iterator[FileRow]:
    """The rows of a CSV or JSON-lines file, numbered as `sources.files.read_events` numbers them.

    needed: columns that must be in the file. multiline: a CSV record may contain line breaks inside quotes.
    Raises SchemaError for columns that do not fit, InputError for a file of another format.
    """
    if file.format == "parquet":
        raise InputError(f"{file.name} is a Parquet file", expected="text: .csv, .json, .jsonl or .ndjson, also .gz")
    if file.format == "json":
        read: Callable[[str], Texts | None] = _json_reader(schema)
    else:
        matched = match(file.name, header(file.path), schema, needed)
        read = _csv_reader({name: matched.at.get(name) for name in schema.names}, matched.width)
    with unpacked(file.path) as stream:
        if file.format == "csv":
            stream.readline()
        for number, raw in _records(stream, multiline=multiline and file.format == "csv"):
            row = FileRow(number, raw, None)
            if row.line.strip(b" "):
                yield FileRow(number, raw, _texts(row.line, read))


@dataclass(frozen=True)
class Parts:
    """Rows by side of a split. unread: those among `before` whose time cannot be read."""

    before: int
    after: int
    unread: int


def split(
    file: FileFingerprint,
    schema: Schema,
    event_time: str,
    at: datetime,
    parts: tuple[Path, Path],
    *,
    multiline: bool,
    replace: bool,
) -> Parts:
    """Write the rows of a CSV file whose event time is before `at`, or cannot be read, and the others, to two files.

    The rows keep their bytes and both files begin with the header; a name that ends in .gz is packed.
    Raises InputError when it is no CSV file, or a part is there and may not be replaced.
    """
    if file.format != "csv":
        raise InputError(f"{file.name} is no CSV file", expected=".csv or .csv.gz")
    _refuse_parts(file, parts, replace=replace)
    instant = instant_reader(schema.field(event_time))
    counts, unread = [0, 0], 0
    with ExitStack() as opened:
        with unpacked(file.path) as stream:
            first = stream.readline()
        outs = [opened.enter_context(_written(path)) for path in parts]
        for out in outs:
            out.write(first if first.endswith(b"\n") else first + b"\n")
        for row in rows(file, schema, (event_time,), multiline=multiline):
            found = None if row.texts is None else instant(row.texts[event_time] or "")
            unread += found is None
            side = int(found is not None and found >= at)
            outs[side].write(row.raw)
            counts[side] += 1
    return Parts(counts[0], counts[1], unread)


def _refuse_parts(file: FileFingerprint, parts: tuple[Path, Path], *, replace: bool) -> None:
    if parts[0].absolute() == parts[1].absolute():
        raise InputError("both parts have one name", found=str(parts[0]))
    for path in parts:
        if path.absolute() == file.path:
            raise InputError(f"{path} is the file that is to be split", do="name another file")
        if path.exists() and not replace:
            raise InputError(f"{path} is there already", do="name another file, or replace it with --replace")


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """A file that is there only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as stored:
            if path.name.endswith(".gz"):
                # Without name and time, so that the same rows give the same bytes.
                with gzip.GzipFile(filename="", mode="wb", fileobj=stored, mtime=0) as packed:
                    yield cast(IO[bytes], packed)
            else:
                yield stored
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _records(stream: IO[bytes], *, multiline: bool) -> Iterator[tuple[int, bytes]]:
    number = 0
    for line in stream:
        raw, first = line, number
        number += 1
        while multiline and raw.count(b'"') % 2 and (more := stream.readline()):
            raw += more
            number += 1
        yield first, raw


def _texts(line: bytes, read: Callable[[str], Texts | None]) -> Texts | None:
    if b"\x00" in line:
        return None
    try:
        return read(line.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        return None


def _csv_reader(at: Mapping[str, int | None], width: int) -> Callable[[str], Texts | None]:
    def read(line: str) -> Texts | None:
        fields = _fields(line) if '"' in line else line.split(",")
        if fields is None or len(fields) != width:
            return None
        # An empty field is null, quoted or not.
        return {name: None if index is None else fields[index] or None for name, index in at.items()}

    return read


def _fields(line: str) -> list[str] | None:
    fields, at = [], 0
    while True:
        found = _FIELD.match(line, at)
        if found is None:
            return None
        quoted, plain = found.groups()
        fields.append(plain if quoted is None else quoted.replace('""', '"'))
        at = found.end() + 1
        if at > len(line):
            return fields


def _json_reader(schema: Schema) -> Callable[[str], Texts | None]:
    keys = {field.name: (field.name, *field.aliases) for field in schema}

    def read(line: str) -> Texts | None:
        # Numbers stay as they are spelt.
        value = json.loads(line, parse_float=str, parse_int=str, parse_constant=_refuse_constant)
        if not isinstance(value, dict):
            return None
        return {
            name: next((_text(value[k]) for k in found if value.get(k) is not None), None)
            for name, found in keys.items()
        }

    return read


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
