"""A definition drafted from a data source: the text of a Python file, for people to edit and commands to load."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headrace.definitions.definition import DROP_REASON
from headrace.definitions.load import BUILT_IN
from headrace.errors import InputError, nearest
from headrace.evaluate.datasource import Column, DataSource

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_WHOLE = ("tinyint", "smallint", "int", "bigint")
_TIMES = ("timestamp", "timestamp_ntz")
# Spark's types as a field has them; decimals are as they are.
_FIELDS: Mapping[str, str] = {
    **dict.fromkeys(("tinyint", "smallint", "int"), "int"),
    **dict.fromkeys(("float", "double"), "double"),
    **dict.fromkeys(("timestamp", "timestamp_ntz"), "timestamp"),
    **{each: each for each in ("bigint", "boolean", "string", "date")},
}
_NAMELESS = re.compile(r"_c\d+")  # what Spark calls a column of CSV without a name
_SHOWN = 10

Statistics = Mapping[str, Mapping[str, Any]]


def checked_name(stem: str) -> str:
    """The name of a definition in a file of that stem, which is the same. Raises InputError for what cannot be one."""
    if not _NAME.fullmatch(stem) or keyword.iskeyword(stem) or stem in BUILT_IN:
        raise InputError(
            "a definition cannot have that name",
            found=repr(stem),
            expected=f"snake_case that is no word of Python, and none of {', '.join(BUILT_IN)}",
            do="name the file otherwise",
        )
    return stem


def drafted(
    source: DataSource,
    statistics: Sequence[Mapping[str, Any]],
    *,
    name: str,
    file: str,
    form: str,
    entity: str | None,
    event_time: str | None,
) -> str:
    """The text of a file that defines `name`: the target told by all columns that can tell it.

    Numbers are inputs as they are, with the median for a null if any was seen; categories, numbers or texts, are
    one-hot; what is text is left out and said so. The first 70 % of the events train. file, form: where the columns are
    from, and its format. Texts of the file appear in it as literals only.
    Raises InputError for an entity, an event time or a target that cannot be one, naming those that can.
    """
    seen = {str(one["name"]): one for one in statistics}
    fields = {one.name: spelt for one, spelt in _spelt(source.columns).items() if _is_field(one, form)}
    key = _chosen("entity", entity, _entities(source, seen, fields), source)
    time = _chosen("event-time", event_time, _event_times(source, fields, form), source)
    learner = _learner(source, seen, fields)
    inputs = list(_inputs(source, seen, fields, apart=(key, time, source.target)))
    made = {line.partition("(")[0] for line in inputs if not line.startswith("#")}
    if not made:
        raise InputError("no column is left to tell the target by", found=inputs, do="make some of them numbers")
    # The time that orders the events may be stored as a date, or as a text.
    types = {one.name: "timestamp" if one.name == time else _FIELDS.get(one.type, one.type) for one in source.columns}
    imports = sorted({"Count", "Definition", "Encoded", "Field", "Schema", "Splitting", "Stream", *made})
    schema = [_field(column, spelt, types[column]) for column, spelt in fields.items()]
    return "\n".join(
        [
            f"# Tells {source.target!r} by the other columns of {file!r}, by a {source.learner}.",
            "# Drafted by `headrace datasource`; it is yours to edit.",
            "",
            f"from headrace import {', '.join(imports)}",
            "",
            *("SCHEMA = Schema(", "    [", *(f"        {each}," for each in schema), "    ]", ")"),
            "",
            f"{name} = Definition(",
            f"    name={_literal(name)},",
            f"    entity={_literal(fields[key])},",
            f"    event_time={_literal(fields[time])},",
            f"    source=Stream({_literal(name)}, schema=SCHEMA),",
            '    features={"events": Count()},',
            *("    learner=Encoded(", "        ("),
            *(f"            {each}" if each.startswith("#") else f"            {each}," for each in inputs),
            *("        ),", *(f"        {each}," for each in learner), "    ),"),
            f"    target={_literal(fields[source.target])},",
            "    training=Splitting(0, 70),",
            ")",
            "",
        ]
    )


def _learner(source: DataSource, seen: Statistics, fields: Mapping[str, str]) -> list[str]:
    """What of `Encoded` the target asks for. Raises InputError where its classes are not 0, 1, ... k-1."""
    target = next(one for one in source.columns if one.name == source.target)
    if target.name not in fields:
        raise InputError(f"the target {target.name!r} has no name in the file, or a type that no field has")
    if target.kind == "numeric":
        return ['model="linear"']
    found = seen[target.name]
    classes = int(found["distinct"])
    are_numbers = target.type in _WHOLE or (classes == 2 and _is_number(target.type))
    if not are_numbers or (found["min"], found["max"]) != (0, classes - 1):
        raise InputError(
            f"the classes of the target {target.name!r} are not numbers from 0",
            found=", ".join(repr(one["value"]) for one in found["top"]),
            expected=f"0 to {classes - 1}",
            do="write them so in the file, or in `prepare` of a definition of your own",
        )
    return ['model="logistic"', f"classes={classes}"]


def _inputs(
    source: DataSource, seen: Statistics, fields: Mapping[str, str], *, apart: tuple[str, ...]
) -> Iterator[str]:
    """An encoding for each column that can tell something, and a comment for each that cannot."""
    for one in source.columns:
        if one.name in apart:
            continue
        found = seen[one.name]
        if one.name not in fields:
            yield f"# left out: {one.name!r}: no field has its name, or its type {one.type!r}"
        elif one.kind == "text" or not (one.type == "string" or _is_number(one.type)):
            yield f"# left out: {one.name!r} ({one.kind}, {one.type}): no number and no category"
        elif found["distinct"] < 2:
            yield f"# left out: {one.name!r}: one value in every row"
        elif one.kind == "categorical" or one.type == "string":
            yield f"OneHot({_literal(fields[one.name])})"
        else:
            filled = ', impute="median"' if found["missing"] else ""
            yield f"Number({_literal(fields[one.name])}{filled})"


def _chosen(option: str, chosen: str | None, candidates: Sequence[str], source: DataSource) -> str:
    if chosen is not None and chosen in candidates:
        return chosen
    told = f"one of {list(candidates[:_SHOWN])}" if candidates else None
    if chosen is None:
        raise InputError(f"nothing says which column is the {option}", expected=told, do=f"name it: --{option} NAME")
    kind = next((one.type for one in source.columns if one.name == chosen), None)
    raise InputError(
        f"column {chosen!r} cannot be the {option}",
        found="the target" if chosen == source.target else f"of type {kind}" if kind else "no such column",
        expected=told,
        nearest=None if kind else nearest(chosen, candidates),
        do=f"name another: --{option} NAME",
    )


def _entities(source: DataSource, seen: Statistics, fields: Mapping[str, str]) -> list[str]:
    """Columns that may be keys, those first whose values come again and again."""
    kinds = ("string", *_WHOLE)
    may = [one.name for one in source.columns if one.type in kinds and one.name in fields and one.name != source.target]
    return sorted(may, key=lambda name: not 1 < seen[name]["distinct"] <= seen[name]["count"] / 2)


def _event_times(source: DataSource, fields: Mapping[str, str], form: str) -> list[str]:
    """Columns that are times. Parquet's dates are not, as nobody said whose midnight they are; texts may be."""
    kinds = (*_TIMES, *(("date", "string") if form != "parquet" else ()))
    may = sorted((one for one in source.columns if one.type in kinds), key=lambda one: kinds.index(one.type))
    return [one.name for one in may if one.name in fields and one.name != source.target]


def _spelt(columns: Sequence[Column]) -> dict[Column, str]:
    """A name for each column that a field may have: its own where that is one already."""
    taken = {one.name for one in columns if _is_name(one.name)}
    spelt: dict[Column, str] = {}
    for one in columns:
        made = one.name
        if not _is_name(made):
            plain = re.sub(r"[^a-z0-9]+", "_", made.lower()).strip("_") or "column"
            plain = plain if plain[0].isalpha() else f"column_{plain}"
            made, number = plain, 2
            while made in taken or not _is_name(made):
                made, number = f"{plain}_{number}", number + 1
            taken.add(made)
        spelt[one] = made
    return spelt


def _is_name(name: str) -> bool:
    return bool(re.fullmatch(r"[a-z][a-z0-9_]*", name)) and name != DROP_REASON


def _is_field(one: Column, form: str) -> bool:
    nameless = form == "csv" and _NAMELESS.fullmatch(one.name)
    return not nameless and (one.type in _FIELDS or one.type.startswith("decimal"))


def _is_number(type_: str) -> bool:
    return _FIELDS.get(type_) in ("int", "bigint", "double", "boolean") or type_.startswith("decimal")


def _field(column: str, spelt: str, type_: str) -> str:
    alias = f", aliases=({_literal(column)},)" if column != spelt else ""
    return f"Field({_literal(spelt)}, {_literal(type_)}{alias})"


def _literal(text: str) -> str:
    r"""A Python literal of any text, in double quotes where it has nothing to escape.

    >>> print(_literal("a b"), _literal('x"); import os #'))
    "a b" 'x"); import os #'
    """
    return f'"{text}"' if text.isascii() and text.isprintable() and not set(text) & set('"\\') else repr(text)
