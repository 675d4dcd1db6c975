"""Comparison of frames: exact as bags of rows, or tolerant with rows paired by key."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias, cast

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

    Frame: TypeAlias = DataFrame | pd.DataFrame

SHOWN = 10  # keys, cells or rows named in a failure; the rest are counted


@dataclass(frozen=True)
class Cells:
    """A frame as plain Python: column -> kind of type, and one dict per row."""

    kinds: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]
    spark: bool


def assert_frames_close(
    actual: Frame, expected: Frame, keys: str | Sequence[str], rtol: float = 1e-9, atol: float = 0.0
) -> None:
    """Assert that two frames, of Spark or pandas, hold the same rows, floats up to a tolerance.

    keys: the columns that identify a row in both frames; rows are paired by them, so order does not matter.
    rtol, atol: |a - e| <= max(rtol * max(|a|, |e|), atol), for floats and for floats inside arrays, structs, maps
    and ML vectors; a float also meets an int or a decimal so. Everything else is equal or not. NaN equals NaN; a
    null equals NaN only where a frame is of pandas, which cannot tell them apart.
    Types are compared between two Spark frames exactly, except nullability; otherwise by kind.

    Raises AssertionError naming missing and extra columns, types, keys that are missing, extra or not unique, and
    up to ten differing cells.

    >>> import pandas as pd
    >>> one = pd.DataFrame({"id": ["a", "b"], "x": [0.1 + 0.2, float("nan")]})
    >>> assert_frames_close(one, pd.DataFrame({"id": ["b", "a"], "x": [float("nan"), 0.3]}), keys="id")
    """
    names = [keys] if isinstance(keys, str) else list(keys)
    left, right = cells(actual), cells(expected)
    faults = _schema_faults(left, right, names)
    if not faults:
        faults = _row_faults(left, right, names, rtol, atol)
    if faults:
        raise AssertionError("frames differ (actual against expected)\n" + "\n".join(f"  {fault}" for fault in faults))


def bag_faults(left: tuple[str, DataFrame | Cells], right: tuple[str, DataFrame | Cells]) -> list[str]:
    """What keeps two frames from holding the same rows the same number of times; empty when they do."""
    sides = [(name, frame if isinstance(frame, Cells) else cells(frame)) for name, frame in (left, right)]
    (left_name, one), (right_name, two) = sides
    if one.kinds != two.kinds:
        return [f"columns in {left_name}: {dict(one.kinds)}", f"columns in {right_name}: {dict(two.kinds)}"]
    counts = [Counter(repr(_canonical(dict(row))) for row in side.rows) for side in (one, two)]
    faults = []
    for name, surplus in ((left_name, counts[0] - counts[1]), (right_name, counts[1] - counts[0])):
        if surplus:
            faults.append(f"only in {name}, {_rows(surplus.total())}:")
            faults += [f"  {row}" for row in _first(sorted(surplus.elements()))]
    return faults


def cells(frame: Frame, collected: Sequence[Any] | None = None) -> Cells:
    """A frame as plain Python values; `collected` are the rows of a Spark frame that are already here."""
    if hasattr(frame, "sparkSession"):
        return _spark_cells(cast("DataFrame", frame), collected)
    if not hasattr(frame, "to_dict"):
        raise TypeError(f"a frame of Spark or pandas is needed; found {type(frame).__name__}")
    pandas = cast("pd.DataFrame", frame)
    kinds = {str(name): _pandas_kind(dtype.kind) for name, dtype in pandas.dtypes.items()}
    records = pandas.to_dict("records")
    plain = [{str(name): _plain(value, instant=False) for name, value in record.items()} for record in records]
    return Cells(kinds, plain, spark=False)


def _spark_cells(frame: DataFrame, collected: Sequence[Any] | None) -> Cells:
    kinds = {field.name: field.dataType.simpleString() for field in frame.schema}
    # Spark hands instants to Python as naive datetimes in the machine's own zone
    instants = [re.search("timestamp(?!_ntz)", kind) is not None for kind in kinds.values()]
    plain = [
        {name: _plain(value, instant) for name, value, instant in zip(kinds, row, instants, strict=True)}
        for row in (frame.collect() if collected is None else collected)
    ]
    return Cells(kinds, plain, spark=True)


def _schema_faults(left: Cells, right: Cells, keys: Sequence[str]) -> list[str]:
    faults = []
    missing = [name for name in right.kinds if name not in left.kinds]
    extra = [name for name in left.kinds if name not in right.kinds]
    if missing:
        faults.append(f"missing columns: {missing}")
    if extra:
        faults.append(f"extra columns: {extra}")
    unknown = [name for name in keys if name not in right.kinds and name not in left.kinds]
    if unknown or not keys:
        faults.append(f"keys {list(keys)} are not columns; found {list(right.kinds)}")
    if left.spark == right.spark:
        for name, kind in right.kinds.items():
            if name in left.kinds and left.kinds[name] != kind:
                faults.append(f"type of {name!r}: {left.kinds[name]}, expected {kind}")
    return faults


def _row_faults(left: Cells, right: Cells, keys: Sequence[str], rtol: float, atol: float) -> list[str]:
    faults: list[str] = []
    sides = []
    for name, side in (("actual", left), ("expected", right)):
        by_key: dict[str, Mapping[str, Any]] = {}
        twice: Counter[str] = Counter()
        for row in side.rows:
            key = ", ".join(f"{column}={_key(row[column])!r}" for column in keys)
            twice[key] += 1
            by_key[key] = row
        sides.append(by_key)
        repeated = sorted(key for key, count in twice.items() if count > 1)
        if repeated:
            faults.append(f"keys that are not unique in {name}, {len(repeated)}: {_listed(repeated)}")
    if faults:
        return faults
    actual, expected = sides
    missing, extra = sorted(expected.keys() - actual.keys()), sorted(actual.keys() - expected.keys())
    if missing:
        faults.append(f"missing keys, {len(missing)}: {_listed(missing)}")
    if extra:
        faults.append(f"extra keys, {len(extra)}: {_listed(extra)}")
    same = _Closeness(rtol, atol, null_is_nan=not (left.spark and right.spark))
    different = []
    for key, row in actual.items():
        if key in expected:
            for column in (name for name in right.kinds if name not in keys):
                different += [
                    f"{key}: {column}{path} is {a!r}, expected {e!r}"
                    for path, a, e in same.differences(row[column], expected[key][column])
                ]
    if different:
        faults.append(f"differing cells, {len(different)} (rtol={rtol:g}, atol={atol:g}):")
        faults += [f"  {cell}" for cell in _first(different)]
    return faults


@dataclass(frozen=True)
class _Closeness:
    rtol: float
    atol: float
    null_is_nan: bool

    def differences(self, actual: Any, expected: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
        """The places at and below `path` where two values differ."""
        if isinstance(actual, dict) and isinstance(expected, dict):
            for key in sorted(actual.keys() | expected.keys(), key=repr):
                absent = "(absent)"
                yield from self.differences(actual.get(key, absent), expected.get(key, absent), f"{path}[{key!r}]")
        elif isinstance(actual, list) and isinstance(expected, list) and len(actual) == len(expected):
            for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
                yield from self.differences(a, e, f"{path}[{i}]")
        elif not self._same(actual, expected):
            yield path, actual, expected

    def _same(self, actual: Any, expected: Any) -> bool:
        if self.null_is_nan and _is_missing(actual) and _is_missing(expected):
            return True
        if _is_number(actual) and _is_number(expected) and float in (type(actual), type(expected)):
            a, e = float(actual), float(expected)
            return (math.isnan(a) and math.isnan(e)) or math.isclose(a, e, rel_tol=self.rtol, abs_tol=self.atol)
        if isinstance(actual, datetime) and isinstance(expected, datetime):
            return _instant(actual) == _instant(expected)
        if isinstance(actual, bool) is not isinstance(expected, bool):
            return False
        return bool(actual == expected)


def _plain(value: Any, instant: bool) -> Any:
    """Python's own types only: rows and maps as dicts, arrays and ML vectors as lists, scalars of numpy unwrapped.

    instant: naive datetimes are local times of this machine, and become UTC.
    """
    if hasattr(value, "asDict"):
        value = value.asDict()
    elif hasattr(value, "toArray"):
        value = value.toArray()
    if isinstance(value, dict):
        return {key: _plain(item, instant) for key, item in value.items()}
    if isinstance(value, datetime):
        if hasattr(value, "to_pydatetime"):
            return value if _is_missing(value) else value.to_pydatetime(warn=False)
        return value.astimezone(UTC) if instant else value
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [_plain(item, instant) for item in value] if isinstance(value, list | tuple) else value


def _canonical(value: Any) -> Any:
    """A value whose repr is equal exactly for equal values of one column."""
    if isinstance(value, dict):
        return {key: _canonical(value[key]) for key in sorted(value, key=repr)}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value


def _key(value: Any) -> Any:
    """A key as it reads in both kinds of frame: pandas turns an int column with nulls into floats."""
    if _is_missing(value):
        return None
    if isinstance(value, datetime):
        return _instant(value).isoformat()
    whole = isinstance(value, float | Decimal) and math.isfinite(value) and value == math.floor(value)
    return int(value) if whole else _canonical(value)


def _is_missing(value: Any) -> bool:
    """Whether a scalar is null, NaN, or pandas' NA or NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | Decimal) and math.isnan(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _instant(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _pandas_kind(kind: str) -> str:
    kinds = {"b": "boolean", "i": "number", "u": "number", "f": "number", "M": "timestamp", "m": "duration"}
    return kinds.get(kind, "object")


def _first(lines: Sequence[str]) -> list[str]:
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], f"... and {more} more"] if more > 0 else list(lines)


def _listed(keys: Sequence[str]) -> str:
    return "; ".join(_first(keys))


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
