"""The header of a text file, and how a file's columns are matched with the declared ones."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import InputError, SchemaError, nearest
from headrace.schemas import Schema
from headrace.sources.files import unpacked

# A header longer than this is no header.
_LONGEST = 1 << 20
_BOM = b"\xef\xbb\xbf"
_SHOWN = 30


@dataclass(frozen=True)
class Matched:
    """Which column of a file holds which declared one.

    at: declared name -> index in the file. ignored: columns of the file that are not declared.
    absent: declared columns that are not in the file and are read as null. width: columns in the file.
    """

    at: dict[str, int]
    ignored: tuple[str, ...]
    absent: tuple[str, ...]
    width: int


def first_line(path: Path) -> bytes:
    """The first physical line without its end and without a byte order mark.

    Raises InputError when it is longer than a header can be.
    """
    with unpacked(path) as stream:
        line = stream.readline(_LONGEST + 1)
    if len(line) > _LONGEST:
        raise InputError(
            f"the first line of {path.name} is no header",
            found=f"more than {_LONGEST:,} bytes without a line end",
            expected="column names and lines that end with LF or CR LF",
        )
    return line.removeprefix(_BOM).rstrip(b"\r\n")


def header(path: Path) -> list[str]:
    """The column names of a CSV file as they are spelt in it.

    Raises InputError when the first line cannot be a header.
    """
    line = first_line(path)
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"the header of {path.name} is not UTF-8",
            found=f"byte 0x{line[error.start]:02x} at {error.start}",
            do="convert the file, for instance with iconv -f LATIN1 -t UTF-8",
        ) from error
    if "\x00" in text or "\r" in text:
        raise InputError(
            f"the header of {path.name} contains NUL or carriage return characters",
            expected="UTF-8 text whose lines end with LF or CR LF",
        )
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise InputError(f"the header of {path.name} has a broken quote", found=str(error)) from error
    if not rows or not rows[0]:
        raise InputError(f"{path.name} starts with a blank line", expected="column names in the first line")
    return rows[0]


def match(name: str, found: Sequence[str], schema: Schema, needed: Sequence[str]) -> Matched:
    """Match the columns `found` in the file `name` with the declared ones, without case and blanks.

    Raises SchemaError for a column named twice, and for a missing one unless it may be null, is not `needed`
    and resembles no undeclared column of the file, which would be a renamed one.
    """
    spelt: dict[str, int] = {}
    for index, column in enumerate(found):
        key = _plain(column)
        if key and key in spelt:
            raise SchemaError(
                f"{name} has two columns of one name", found=repr(column), do="rename or drop one of them"
            )
        spelt[key] = index
    at: dict[str, int] = {}
    for field in schema:
        hits = [spelt[key] for key in dict.fromkeys(map(_plain, (field.name, *field.aliases))) if key in spelt]
        if len(hits) > 1:
            raise SchemaError(
                f"{name} has two columns for {field.name!r}",
                found=[found[hit] for hit in sorted(hits)],
                do="drop one of them",
            )
        if hits:
            at[field.name] = hits[0]
    taken = set(at.values())
    ignored = [column for index, column in enumerate(found) if index not in taken]
    absent = [field for field in schema if field.name not in at]
    for field in absent:
        near = _resembling((field.name, *field.aliases), ignored)
        if field.required or field.name in needed or near is not None:
            raise SchemaError(
                f"{name} lacks column {field.name!r}",
                found=list(found[:_SHOWN]),
                expected=f"{field.name!r}" + (f" or {' or '.join(map(repr, field.aliases))}" if field.aliases else ""),
                nearest=near or _resembling((field.name, *field.aliases), found),
                do=f"rename the column in the file, or declare its spelling as an alias of {field.name!r}",
            )
    return Matched(at, tuple(ignored), tuple(field.name for field in absent), len(found))


def _plain(name: str) -> str:
    return "".join(name.split()).casefold()


def _resembling(spellings: Sequence[str], among: Sequence[str]) -> str | None:
    """The column that is closest to any of the spellings, compared without case."""
    plain = {_plain(column): column for column in among if column.strip()}
    for spelling in spellings:
        near = nearest(_plain(spelling), plain)
        if near is not None:
            return plain[near]
    return None
