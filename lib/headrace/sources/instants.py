"""Event times read without Spark, by the same patterns."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from headrace.errors import DefinitionError
from headrace.schemas import Field

InstantReader = Callable[[str], datetime | None]

_PARTS = {"y": "year", "M": "month", "d": "day", "H": "hour", "m": "minute", "s": "second"}
_DEFAULTS = {"year": 1970, "month": 1, "day": 1}
_WIDTHS = {"y": {2: r"\d{2}", 4: r"\d{4}"}, **{letter: {1: r"\d{1,2}", 2: r"\d{2}"} for letter in "MdHms"}}
# A run of one letter, quoted text ('' is a quote), or one other character.
_TOKEN = re.compile(r"([A-Za-z])\1*|'(?:[^']|'')*'|.", re.DOTALL)
_RESERVED = "[]{}#'"
# A part of the time of day that is spelt with one digit.
_SHORT = re.compile(r"(?<=[ T:])(\d)(?!\d)", re.ASCII)
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([ T].*)?", re.ASCII)


def instant_reader(field: Field) -> InstantReader:
    """A function from the text of the field to its instant, None where the text is none; UTC unless it says otherwise.

    Raises DefinitionError for a pattern with other letters than y M d H m s.

    >>> instant_reader(Field("at", "timestamp", format="M/d/yyyy H:mm"))("12/1/2010 8:26")
    datetime.datetime(2010, 12, 1, 8, 26, tzinfo=datetime.timezone.utc)
    """
    if not field.format:
        return _iso
    readers = [_by_pattern(field, pattern) for pattern in field.format]
    return lambda text: next((found for reader in readers if (found := reader(text)) is not None), None)


def _iso(text: str) -> datetime | None:
    trimmed = text.strip(" ")
    if not _ISO.fullmatch(trimmed):
        return None
    try:
        instant = datetime.fromisoformat(_SHORT.sub(r"0\1", trimmed))
        return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _by_pattern(field: Field, pattern: str) -> InstantReader:
    regex, is_short = _regex(field, pattern)

    def read(text: str) -> datetime | None:
        match = regex.fullmatch(text.strip(" "))
        if match is None:
            return None
        parts = {**_DEFAULTS, **{name: int(digits) for name, digits in match.groupdict().items()}}
        if is_short:
            parts["year"] += 2000
        try:
            return datetime(**parts, tzinfo=UTC)
        except ValueError:
            return None

    return read


def _regex(field: Field, pattern: str) -> tuple[re.Pattern[str], bool]:
    """What a pattern means as a regular expression, and whether its years have two digits."""
    out, is_short = "", False
    for token in _TOKEN.finditer(pattern):
        text = token.group()
        if token[1]:
            digits = _WIDTHS.get(token[1], {}).get(len(text))
            if digits is None:
                raise _refused(field, pattern, text)
            out += f"(?P<{_PARTS[token[1]]}>{digits})"
            is_short |= text == "yy"
        elif len(text) > 1:
            out += re.escape(text[1:-1].replace("''", "'") or "'")
        elif text in _RESERVED:
            raise _refused(field, pattern, text)
        else:
            out += re.escape(text)
    try:
        return re.compile(out, re.ASCII), is_short
    except re.error:
        raise _refused(field, pattern, "one letter in two places") from None


def _refused(field: Field, pattern: str, found: str) -> DefinitionError:
    return DefinitionError(
        f"the format {pattern!r} of column {field.name!r} cannot be read without Spark",
        found=repr(found),
        expected="yy or yyyy, one or two of M d H m s, and other characters that are no letters, or are quoted",
        do="select rows of this file in another way than by time",
    )
