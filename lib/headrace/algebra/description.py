"""Features rebuilt from their archived descriptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from headrace.algebra.additive import Count, Mean, Sum
from headrace.algebra.aggregate import Aggregate
from headrace.algebra.conditional import Where
from headrace.algebra.decay import Decay
from headrace.algebra.distinct import CountDistinct
from headrace.algebra.elapsed import DaysSince
from headrace.algebra.extremes import Max, Min
from headrace.algebra.latest import Last
from headrace.algebra.ratio import Ratio
from headrace.algebra.recent import LastN
from headrace.algebra.sessions import Sessions, Tell
from headrace.algebra.windows import Window
from headrace.errors import DefinitionError, nearest


def _days_since(inner: Mapping[str, Any]) -> DaysSince:
    return DaysSince(from_description(inner))  # type: ignore[arg-type]


def _decay(inner: Mapping[str, Any], half_life_us: int, span: int) -> Decay:
    return Decay(from_description(inner), timedelta(microseconds=half_life_us), span)  # type: ignore[arg-type]


def _ratio(numerator: Mapping[str, Any], denominator: Mapping[str, Any], prior: float, weight: float) -> Ratio:
    return Ratio(from_description(numerator), from_description(denominator), prior, weight)  # type: ignore[arg-type]


def _sessions(gap_us: int, tell: Tell, bound: int) -> Sessions:
    return Sessions(timedelta(microseconds=gap_us), tell, bound)


def _where(inner: Mapping[str, Any], column: str, equals: bool | int | str) -> Where:
    return Where(from_description(inner), column, equals)  # type: ignore[arg-type]


def _window(inner: Mapping[str, Any], length_us: int, slide_us: int, bound: int) -> Window:
    length, slide = timedelta(microseconds=length_us), timedelta(microseconds=slide_us)
    return Window(from_description(inner), length, slide, bound)  # type: ignore[arg-type]


_T = TypeVar("_T")
_MAKERS: dict[str, Callable[..., Aggregate]] = {
    "count": Count,
    "count_distinct": CountDistinct,
    "days_since": _days_since,
    "decay": _decay,
    "last": Last,
    "last_n": LastN,
    "max": Max,
    "mean": Mean,
    "min": Min,
    "ratio": _ratio,
    "sessions": _sessions,
    "sum": Sum,
    "where": _where,
    "window": _window,
}


def from_description(description: Mapping[str, Any]) -> Aggregate:
    """The feature whose `describe()` gave `description`; DefinitionError for what no version of this code wrote.

    >>> from_description(DaysSince(Max("invoice_date")).describe()) == DaysSince(Max("invoice_date"))
    True
    """
    return made_from("feature", _MAKERS, description)


def made_from(what: str, makers: Mapping[str, Callable[..., _T]], description: Mapping[str, Any]) -> _T:
    """What the maker of the description's kind makes of its other fields.

    Raises DefinitionError, naming `what`, for an unknown kind or fields that its maker does not take.
    """
    kind = str(description.get("kind"))
    if kind not in makers:
        raise DefinitionError(
            f"an archived {what} is of no known kind",
            found=repr(kind),
            expected=f"one of {', '.join(makers)}",
            nearest=nearest(kind, makers),
        )
    fields = {name: value for name, value in description.items() if name != "kind"}
    try:
        return makers[kind](**fields)
    except TypeError as error:
        raise DefinitionError(f"an archived {what} of kind {kind!r} has other fields", found=sorted(fields)) from error
