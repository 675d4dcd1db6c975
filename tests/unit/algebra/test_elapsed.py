"""Days are calendar days of the clock's zone, whatever daylight saving does."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.algebra import Clock, Count, DaysSince, Last, Max
from headrace.algebra.elapsed import local_days
from headrace.algebra.scalars import micros
from headrace.errors import DefinitionError

TYPES = {"seen": "timestamp", "price": "double"}


def days(seen: str, reference: str, zone: str) -> int:
    feature = DaysSince(Max("seen"))
    states = pa.array([feature.lift({"seen": datetime.fromisoformat(seen)}, TYPES)], pa.int64())
    (found,) = feature.finish(states, Clock(datetime.fromisoformat(reference), zone), TYPES).to_pylist()
    return int(found)


@pytest.mark.parametrize(
    ("seen", "reference", "zone", "expected"),
    [
        ("2011-12-08T23:59:59.999999+00:00", "2011-12-09T00:00:00+00:00", "UTC", 1),
        ("2011-12-09T12:50:00+00:00", "2011-12-09T00:00:00+00:00", "UTC", 0),
        ("2011-12-10T00:00:00+00:00", "2011-12-09T00:00:00+00:00", "UTC", -1),
        # 23:30 in Berlin is one calendar day before 00:30, though UTC has the same date.
        ("2011-12-08T22:30:00+00:00", "2011-12-08T23:30:00+00:00", "Europe/Berlin", 1),
        # The day that summer time shortens to 23 hours, and the one it lengthens to 25.
        ("2011-03-26T23:00:00+00:00", "2011-03-27T22:00:00+00:00", "Europe/Berlin", 1),
        ("2011-03-27T21:59:59+00:00", "2011-03-27T22:00:00+00:00", "Europe/Berlin", 1),
        ("2011-10-29T22:00:00+00:00", "2011-10-30T22:59:59+00:00", "Europe/Berlin", 0),
        # Samoa had no 30 December 2011.
        ("2011-12-30T09:59:59+00:00", "2011-12-30T10:00:00+00:00", "Pacific/Apia", 2),
    ],
)
def test_days_are_differences_of_calendar_dates(seen: str, reference: str, zone: str, expected: int) -> None:
    assert days(seen, reference, zone) == expected


@given(
    st.lists(
        st.datetimes(datetime(1850, 1, 1), datetime(2150, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 (naive bounds)
        max_size=20,
    ),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Pacific/Apia", "Africa/Casablanca", "Asia/Kathmandu"]),
)
def test_local_days_are_those_of_zoneinfo(moments: list[datetime], zone: str) -> None:
    found = local_days(pa.array([micros(m) for m in moments], pa.int64()).to_numpy(), ZoneInfo(zone))
    epoch = datetime(1970, 1, 1, tzinfo=UTC).toordinal()
    assert found.tolist() == [m.astimezone(ZoneInfo(zone)).toordinal() - epoch for m in moments]


def test_moments_outside_of_what_datetime_can_say_have_the_offset_of_the_nearest_day() -> None:
    ends = pa.array([-(2**62), 2**62], pa.int64()).to_numpy()
    assert abs(local_days(ends, ZoneInfo("Europe/Berlin")) - local_days(ends, ZoneInfo("UTC"))).max() <= 1


def test_no_events_have_no_days() -> None:
    feature = DaysSince(Last("seen"))
    states = pa.array([feature.empty()], feature.arrow_type(TYPES))
    assert feature.finish(states, Clock(datetime(2011, 12, 9, tzinfo=UTC)), TYPES).to_pylist() == [None]


def test_days_since_what_is_no_moment_are_refused() -> None:
    with pytest.raises(DefinitionError, match="DaysSince cannot read this feature"):
        DaysSince(Count())  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="DaysSince cannot read column 'price'; found double"):
        DaysSince(Max("price")).lift({"price": 1.0}, TYPES)
