"""Every aggregate over every kind of column it reads, events to try them on, and a naive oracle."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

import headrace.algebra
from headrace.algebra import (
    Aggregate,
    Clock,
    Count,
    CountDistinct,
    DaysSince,
    Decay,
    Last,
    LastN,
    Max,
    Mean,
    Min,
    Ratio,
    Sessions,
    State,
    Sum,
    Where,
    Window,
)

TYPES = {
    "price": "double",
    "amount": "decimal(10,3)",
    "quantity": "int",
    "serial": "bigint",
    "flag": "boolean",
    "label": "string",
    "day": "date",
    "seen": "timestamp",
    "_event_ts": "timestamp",
    "_incarnation": "string",
    "_partition": "string",
    "_position": "bigint",
}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CLICKS = Where(Count(), "flag")
COUNTABLE = ("label", "serial", "flag", "day", "seen")

FEATURES: dict[str, Aggregate] = {
    "count": Count(),
    "sum_price": Sum("price"),
    "sum_price_quarters": Sum("price", step="0.25"),
    "sum_price_hundreds": Sum("price", step="100"),
    "sum_amount": Sum("amount", step="0.01"),
    "sum_amount_fine": Sum("amount", step="0.00001"),
    "sum_amount_dozens": Sum("amount", step="12"),
    "sum_quantity": Sum("quantity", step="1"),
    "sum_quantity_tens": Sum("quantity", step="10"),
    "mean_price": Mean("price"),
    "mean_quantity": Mean("quantity", step="5"),
    **{f"min_{column}": Min(column) for column in TYPES if not column.startswith("_")},
    **{f"max_{column}": Max(column) for column in TYPES if not column.startswith("_")},
    **{f"last_{column}": Last(column) for column in TYPES if not column.startswith("_")},
    **{f"distinct_{column}": CountDistinct(column) for column in COUNTABLE},
    "distinct_label_again": CountDistinct("label", bound=500),
    "days_since_min": DaysSince(Min("seen")),
    "days_since_max": DaysSince(Max("seen")),
    "days_since_max_day": DaysSince(Max("day")),
    "days_since_last": DaysSince(Last("seen")),
    "window_count": Window(Count(), 7 * DAY, DAY),
    "window_sum": Window(Sum("price"), 7 * DAY, DAY),
    "window_mean": Window(Mean("amount"), 24 * HOUR, HOUR),
    "window_min": Window(Min("price"), 7 * DAY, DAY),
    "window_max": Window(Max("label"), 2 * DAY, DAY),
    "window_last": Window(Last("label"), 30 * DAY, DAY),
    "window_days": Window(DaysSince(Max("seen")), 30 * DAY, DAY),
    "window_distinct": Window(CountDistinct("label"), 30 * DAY, DAY),
    "window_where": Window(Where(Mean("price"), "label", "a"), 30 * DAY, DAY),
    "window_rate": Window(Ratio(CLICKS, Count()), 30 * DAY, DAY),
    "where_flag": CLICKS,
    "where_not_flag": Where(CountDistinct("label"), "flag", equals=False),
    "where_label": Where(Sum("price"), "label", equals="a"),
    "where_quantity": Where(Mean("amount"), "quantity", equals=5),
    "where_seen": Where(DaysSince(Max("seen")), "flag"),
    "where_last": Where(Last("serial"), "flag"),
    "where_twice": Where(Where(Min("price"), "label", "a"), "flag"),
    "rate": Ratio(CLICKS, Count()),
    "rate_smoothed": Ratio(CLICKS, Count(), prior=0.02, weight=50.0),
    "ratio_distinct": Ratio(Sum("amount"), CountDistinct("day")),
    "ratio_null": Ratio(Mean("price"), Max("quantity")),
    "ratio_where": Where(Ratio(Last("price"), Sum("price")), "flag"),
    **{f"last_three_{column}": LastN(column, 3) for column in ("price", "label")},
    "decay_count": Decay(Count(), DAY),
    "decay_price": Decay(Sum("price", step="1000"), HOUR),
    "decay_where": Decay(Where(Sum("amount", step="0.01"), "flag"), DAY, span=2),
    "sessions": Sessions(DAY),
    "sessions_events": Sessions(DAY, "last_events"),
    "sessions_seconds": Sessions(DAY, "last_seconds"),
}


def concrete_aggregates() -> set[type[Aggregate]]:
    """Every class of the room that can be a feature, found rather than listed."""
    for module in pkgutil.iter_modules(headrace.algebra.__path__, "headrace.algebra."):
        importlib.import_module(module.name)

    def below(parent: type[Aggregate]) -> Iterator[type[Aggregate]]:
        for child in parent.__subclasses__():
            yield child
            yield from below(child)

    return {
        found
        for found in below(Aggregate)
        if found.__module__.startswith("headrace.") and not inspect.isabstract(found)
    }


def fold(feature: Aggregate, events: Sequence[Mapping[str, Any]]) -> State:
    return reduce(feature.merge, (feature.lift(event, TYPES) for event in events), feature.empty())


# -- the oracle: straight from the words of each docstring, over raw events, without states ------------------


def oracle(feature: Aggregate, events: Sequence[Mapping[str, Any]], clock: Clock) -> Any:
    match feature:
        case Count():
            return len(events)
        case Sum():
            return float(sum(_rounded(values(events, feature.column), feature)))
        case Mean():
            rounded = _rounded(values(events, feature.column), feature)
            return float(sum(rounded) / len(rounded)) if rounded else None
        case CountDistinct():
            return len(set(values(events, feature.column)))
        case Min():
            return shown(min(values(events, feature.column), default=None))
        case Max():
            return shown(max(values(events, feature.column), default=None))
        case Last():
            return shown(_last(events, feature.column))
        case DaysSince():
            return _days_since(feature, events, clock)
        case Window():
            return _window(feature, events, clock)
        case Where():
            return oracle(feature.inner, _matching(feature, events), clock)
        case Ratio():
            return _ratio(feature, events, clock)
        case LastN():
            return [shown(value) for value in _latest(events, feature.column)[: feature.n]]
        case Decay():
            return _decayed(feature, events, clock)
        case Sessions():
            return _sessions(feature, events)
    raise AssertionError(f"no oracle for {feature}")


def values(events: Sequence[Mapping[str, Any]], column: str) -> list[Any]:
    return [event[column] for event in events if event[column] is not None and event[column] == event[column]]


def shown(value: Any) -> Any:
    """A raw value as its feature value."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    return value


def _rounded(found: list[Any], feature: Sum | Mean) -> list[Fraction]:
    step = Fraction(feature.step)
    inverse = 1 / step

    def steps(value: Any) -> int:
        if isinstance(value, float):  # a double is scaled in double arithmetic, as the docstring says
            return round(value * float(inverse)) if inverse.denominator == 1 else round(value / float(step))
        return round(Fraction(value) * inverse)

    return [steps(value) * step for value in found]


def _last(events: Sequence[Mapping[str, Any]], column: str) -> Any:
    return next(iter(_latest(events, column)), None)


def _latest(events: Sequence[Mapping[str, Any]], column: str) -> list[Any]:
    dated = [
        (event["_event_ts"], event["_incarnation"], event["_partition"], event["_position"], event[column])
        for event in events
        if event["_event_ts"] is not None and event[column] is not None and event[column] == event[column]
    ]
    return [value for *_, value in sorted(dated, reverse=True)]


def _days_since(feature: DaysSince, events: Sequence[Mapping[str, Any]], clock: Clock) -> int | None:
    column = feature.inner.column
    found = values(events, column)
    if not found:
        return None
    chosen = {Min: min(found), Max: max(found), Last: _last(events, column)}[type(feature.inner)]
    if chosen is None:
        return None
    zone = ZoneInfo(clock.zone)
    then = chosen.astimezone(zone).date() if isinstance(chosen, datetime) else chosen
    return (clock.reference.astimezone(zone).date() - then).days


def _window(feature: Window, events: Sequence[Mapping[str, Any]], clock: Clock) -> Any:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    end = clock.reference - (clock.reference - epoch) % feature.slide
    inside = [e for e in events if e["_event_ts"] is not None and end - feature.length <= e["_event_ts"] < end]
    return oracle(feature.inner, inside, clock)


def _matching(feature: Where, events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [event for event in events if event[feature.column] == feature.equals]


def _ratio(feature: Ratio, events: Sequence[Mapping[str, Any]], clock: Clock) -> float | None:
    top, bottom = (oracle(part, events, clock) for part in (feature.numerator, feature.denominator))
    if top is None or bottom is None or bottom + feature.weight == 0:
        return None
    ratio = (top + feature.weight * feature.prior) / (bottom + feature.weight)
    return ratio if math.isfinite(ratio) else None


@dataclass(frozen=True, eq=False)
class Near:
    """Equal to whatever is as near as a feature promises."""

    value: float
    slack: float

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and abs(other - self.value) <= self.slack


def _decayed(feature: Decay, events: Sequence[Mapping[str, Any]], clock: Clock) -> Near | None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    inner: Any = feature.inner
    if isinstance(inner, Where):
        events, inner = _matching(inner, events), inner.inner
    dated = [event for event in events if event["_event_ts"] is not None]
    if isinstance(inner, Sum):
        dated = [event for event in dated if values([event], inner.column)]
        amounts = _rounded([event[inner.column] for event in dated], inner)
    else:
        amounts = [Fraction(1)] * len(dated)
    found = [(amount, event["_event_ts"]) for amount, event in zip(amounts, dated, strict=True) if amount]
    latest = max(((moment - epoch) // feature.half_life for _, moment in found), default=0)
    kept = [one for one in found if (one[1] - epoch) // feature.half_life > latest - feature.span]
    try:
        terms = [float(amount) * 2.0 ** ((moment - clock.reference) / feature.half_life) for amount, moment in kept]
    except OverflowError:
        return None
    return Near(math.fsum(terms), 2e-6 * math.fsum(map(abs, terms)))


def _sessions(feature: Sessions, events: Sequence[Mapping[str, Any]]) -> Any:
    sessions: list[list[datetime]] = []
    for moment in sorted(event["_event_ts"] for event in events if event["_event_ts"] is not None):
        if sessions and moment - sessions[-1][-1] <= feature.gap:
            sessions[-1].append(moment)
        else:
            sessions.append([moment])
    if feature.tell == "number":
        return len(sessions)
    last = sessions[-1] if sessions else []
    if feature.tell == "last_events":
        return len(last)
    return (last[-1] - last[0]).total_seconds() if last else None
