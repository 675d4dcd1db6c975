"""Typed columns of an event, declared without Spark so that a serving process can import them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from headrace.errors import DefinitionError, nearest

# What a text may take, so that items which keep some in their state fit into the store: 400 KB with all versions.
MAX_TEXT_BYTES = 32 * 1024
# Source: DynamoDB quotas, a partition key of 2,048 bytes; less a definition's name, at most 63, and a `#`.
MAX_ENTITY_BYTES = 1984

_TYPES = ("string", "int", "bigint", "double", "boolean", "timestamp", "date")
_DECIMAL = re.compile(r"decimal\((\d{1,2}),(\d{1,2})\)")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Field:
    """One column of an event.

    `type` is a Spark type name: string, int, bigint, double, boolean, timestamp, date or decimal(p,s). A longer string
    than MAX_TEXT_BYTES is quarantined.
    `required`: a null is quarantined. `format`: Spark datetime patterns tried in order on text sources.
    `aliases`: other spellings of the name found in files, matched without case.

    >>> Field("amount", "double", aliases=("Amount (USD)",)).name
    'amount'
    """

    name: str
    type: str
    required: bool = False
    format: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.format, str):
            object.__setattr__(self, "format", (self.format,))
        if isinstance(self.aliases, str):
            object.__setattr__(self, "aliases", (self.aliases,))
        if not _NAME.fullmatch(self.name):
            raise DefinitionError(
                "a column name is not usable", found=repr(self.name), expected="snake_case starting with a letter"
            )
        if self.type not in _TYPES and not _DECIMAL.fullmatch(self.type):
            raise DefinitionError(
                f"column {self.name!r} has an unknown type",
                found=repr(self.type),
                expected=f"one of {', '.join(_TYPES)} or decimal(p,s)",
                nearest=nearest(self.type, _TYPES),
            )


@dataclass(frozen=True)
class Schema:
    """An ordered set of fields.

    >>> Schema([Field("a", "int"), Field("b", "string")]).ddl
    '`a` int, `b` string'
    """

    fields: tuple[Field, ...]

    def __init__(self, fields: list[Field] | tuple[Field, ...]) -> None:
        object.__setattr__(self, "fields", tuple(fields))
        names = [field.name for field in self.fields]
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names or twice:
            raise DefinitionError("a schema needs fields with distinct names", found=twice or "no field")

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @property
    def ddl(self) -> str:
        """The Spark DDL of the columns; nullability is checked on the way in, not by Spark."""
        return ", ".join(f"`{field.name}` {field.type}" for field in self.fields)

    def field(self, name: str) -> Field:
        for field in self.fields:
            if field.name == name:
                return field
        raise DefinitionError(f"there is no column {name!r}", found=list(self.names), nearest=nearest(name, self.names))

    def describe(self) -> list[dict[str, Any]]:
        return [
            {
                "name": f.name,
                "type": f.type,
                "required": f.required,
                "format": list(f.format),
                "aliases": list(f.aliases),
            }
            for f in self.fields
        ]

    @property
    def sha256(self) -> str:
        """Hash of names, types and required flags, which is what a reader depends on."""
        essence = [[f.name, f.type, f.required] for f in self.fields]
        return hashlib.sha256(json.dumps(essence).encode()).hexdigest()
