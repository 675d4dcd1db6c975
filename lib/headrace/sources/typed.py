"""From the text of a field to its declared type, or to the reason why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.schemas import MAX_TEXT_BYTES, Field
from headrace.schemas.lake import FOUND
from headrace.sources.faults import Fault, shown

if TYPE_CHECKING:
    from pyspark.sql import Column

_WHOLE = r"^[+-]?[0-9]+$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NOT_FINITE = r"(?i)^[+-]?(nan|inf|infinity)$"
# Without these Spark reads "12:30" as half past twelve today, and drops the time of day of a date.
_INSTANT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T].*)?$"
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
# What Python's datetime and every reader of the lake can hold.
_YEARS = (1, 9999)
_KINDS = {"int": "an int", "bigint": "a bigint", "double": "a number", "timestamp": "a time", "date": "a date"}


def value(field: Field, text: Column) -> Column:
    """The text as the declared type, null where it is none; a string is taken as it is, blanks and all.

    An empty field has arrived here as null already, quoted or not. What is too large for its type or its
    readers is caught by `faults`, which refer to this value without computing it again.
    """
    from pyspark.sql import functions as F

    if field.type == "string":
        return text
    trimmed = F.trim(text)
    if field.type in ("timestamp", "date"):
        if field.format:
            instant = F.coalesce(*(F.try_to_timestamp(trimmed, F.lit(pattern)) for pattern in field.format))
        else:
            pattern = _INSTANT if field.type == "timestamp" else _DAY
            instant = F.when(trimmed.rlike(pattern), trimmed.try_cast("timestamp"))
        return instant if field.type == "timestamp" else instant.cast("date")
    if field.type == "double":
        # The pattern keeps out Java's own spellings: "1d", "0x1p3", "NaN".
        return F.when(trimmed.rlike(_NUMBER), trimmed.try_cast("double"))
    if field.type.startswith("decimal"):
        return F.when(trimmed.rlike(_NUMBER) & (_decimals(trimmed) <= _scale(field)), trimmed.try_cast(field.type))
    return trimmed.try_cast(field.type)


def faults(field: Field, text: Column, parsed: Column, *, required: bool) -> list[Fault]:
    """What can be wrong with `parsed`, the value of `text`.

    `required` is the field's own flag, or that its time orders the events.
    """
    from pyspark.sql import functions as F

    found: list[Fault] = []
    if field.type != "string":
        trimmed = F.trim(text)
        kind = F.lit(f"{field.name} is not {_KINDS.get(field.type, 'a ' + field.type)}")
        for case, says in reversed(_cases(field, trimmed)):
            kind = F.when(case, F.lit(f"{field.name} is {says}")).otherwise(kind)
        unread = parsed.isNull() & (trimmed != "")
        found.append(Fault(unread, F.concat(kind, F.lit(FOUND), shown(text))))
    beyond = is_beyond(field, parsed)
    if beyond is not None:
        out = F.lit(f"{field.name} is out of range of {field.type}{FOUND}")
        found.append(Fault(beyond, F.concat(out, shown(text))))
    if field.values:
        found.append(undeclared(field, parsed))
    if required:
        found.append(missing(field, parsed))
    return found


def undeclared(field: Field, parsed: Column) -> Fault:
    """A value that is none of those the field may have."""
    from pyspark.sql import functions as F

    reason = F.concat(F.lit(f"{field.name} is none of its declared values{FOUND}"), shown(parsed.cast("string")))
    return Fault(~parsed.isin(*field.values), reason)


def is_beyond(field: Field, parsed: Column) -> Column | None:
    """Whether a value is too large for its type or its readers; None where it cannot be."""
    from pyspark.sql import functions as F

    if field.type == "double":
        return F.abs(parsed) == float("inf")
    if field.type in ("timestamp", "date"):
        return ~F.year(parsed).between(*_YEARS)
    if field.type == "string":
        return F.octet_length(parsed) > MAX_TEXT_BYTES
    return None


def missing(field: Field, parsed: Column) -> Fault:
    """A null in a field that may not be null: its own flag says so, or it orders the events."""
    from pyspark.sql import functions as F

    why = "required" if field.required else "orders the events"
    return Fault(parsed.isNull(), F.lit(f"{field.name} is null but {why}"))


def _cases(field: Field, trimmed: Column) -> list[tuple[Column, str]]:
    """Conditions, first match wins, that say more than "not of the type" about text that could not be read."""
    beyond = f"out of range of {field.type}"
    if field.type in ("int", "bigint"):
        return [(trimmed.rlike(_WHOLE), beyond)]
    if field.type == "double":
        return [(trimmed.rlike(_NOT_FINITE), "NaN or infinity")]
    if field.type.startswith("decimal"):
        return [
            (trimmed.rlike(_NOT_FINITE), "NaN or infinity"),
            (trimmed.rlike(_NUMBER) & (_decimals(trimmed) > _scale(field)), f"finer than {field.type}"),
            (trimmed.rlike(_NUMBER), beyond),
        ]
    return []


def _decimals(trimmed: Column) -> Column:
    """How many decimal places a number has; JSON spells 12345678.9 as 1.23456789E7."""
    from pyspark.sql import functions as F

    places = F.length(F.regexp_extract(trimmed, r"\.([0-9]*?)0*([eE]|$)", 1))
    exponent = F.regexp_extract(trimmed, r"[eE]([+-]?[0-9]{1,9})$", 1)
    return places - F.coalesce(exponent.try_cast("int"), F.lit(0))


def _scale(field: Field) -> int:
    return int(field.type.rstrip(")").split(",")[1])
