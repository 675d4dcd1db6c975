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
# Types whose values can be told one by one: type -> the Python type of one.
_OF_VALUES = {"string": str, "int": int, "bigint": int}
_DECIMAL = re.compile(r"decimal\((\d{1,2}),(\d{1,2})\)")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Field:
    """One column of an event.

    `type` is a Spark type name: string, int, bigint, double, boolean, timestamp, date or decimal(p,s). A longer string
    than MAX_TEXT_BYTES is quarantined.
    `required`: a null is quarantined. `format`: Spark datetime patterns tried in order on text sources.
    `aliases`: other spellings of the name found in files, matched without case. `values`: all that a string, int or
    bigint may be, such as the categories there are; any other is quarantined, a null is not. Empty: anything.

    >>> Field("amount", "double", aliases=("Amount (USD)",)).name
    'amount'
    >>> Field("plan", "string", values=("free", "pro")).values
    ('free', 'pro')
    """

    name: str
    type: str
    required: bool = False
    format: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    values: tuple[str | int, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.format, str):
            object.__setattr__(self, "format", (self.format,))
        if isinstance(self.aliases, str):
            object.__setattr__(self, "aliases", (self.aliases,))
        if not isinstance(self.values, str):
            object.__setattr__(self, "values", tuple(self.values))
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
        self._check_values()

    def _check_values(self) -> None:
        # By type, as True is an int to Python and a text is a sequence.
        fits = isinstance(self.values, tuple) and {type(value) for value in self.values} <= {_OF_VALUES.get(self.type)}
        if not fits or len(set(self.values)) < len(self.values):
            raise DefinitionError(
                f"column {self.name!r} of type {self.type} cannot be declared to have these values",
                found=self.values,
                expected="distinct texts of a string, or whole numbers of an int or bigint",
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
                # Left out without any: definitions of earlier generations keep their hash.
                **({"values": list(f.values)} if f.values else {}),
            }
            for f in self.fields
        ]

    @property
    def sha256(self) -> str:
        """Hash of names, types and required flags, which is what a reader depends on."""
        essence = [[f.name, f.type, f.required] for f in self.fields]
        return hashlib.sha256(json.dumps(essence).encode()).hexdigest()
