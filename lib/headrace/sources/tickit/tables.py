"""TICKIT's tables: dimensions as published where they are at hand, else invented; listings and sales from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np

Row = tuple[object, ...]

# As AWS documents them, but for the sort and distribution keys of Redshift.
DDL: Mapping[str, str] = {
    "venue": "venueid smallint, venuename varchar(100), venuecity varchar(30), venuestate char(2), venueseats integer",
    "category": "catid smallint, catgroup varchar(10), catname varchar(10), catdesc varchar(50)",
    "date": "dateid smallint, caldate date, day char(3), week smallint, month char(5), qtr char(5), year smallint, "
    "holiday boolean",
    "event": "eventid integer, venueid smallint, catid smallint, dateid smallint, eventname varchar(200), "
    "starttime timestamp",
    "listing": "listid integer, sellerid integer, eventid integer, dateid smallint, numtickets smallint, "
    "priceperticket decimal(8,2), totalprice decimal(8,2), listtime timestamp",
    "sales": "salesid integer, listid integer, sellerid integer, buyerid integer, eventid integer, dateid smallint, "
    "qtysold smallint, pricepaid decimal(8,2), commission decimal(8,2), saletime timestamp",
}
FILES: Mapping[str, str] = {
    "venue": "venue_pipe.txt",
    "category": "category_pipe.txt",
    "date": "date2008_pipe.txt",
    "event": "allevents_pipe.txt",
}
# Listings with a sale, so that the last 30 % of them are the 30,382 records of the published batch prediction.
SOLD_LISTINGS, SEED = 101_273, 7
_UNSOLD_LISTINGS, _MEMBERS = 18_727, 49_990
_FIRST_DATE = 1827
_CATEGORIES = (
    ("Sports", "MLB", 11.0),
    ("Sports", "NHL", 9.0),
    ("Shows", "Musicals", 14.0),
    ("Shows", "Plays", 7.0),
    ("Shows", "Opera", 6.0),
    ("Concerts", "Pop", 16.0),
    ("Concerts", "Jazz", 5.0),
)
_DRAW = {category: draw for _, category, draw in _CATEGORIES}
_STATES = ("CA", "NY", "TX", "IL", "FL", "WA", "MA", "CO", "AZ", "OH")
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_HOLIDAYS = ((1, 1), (5, 26), (7, 4), (9, 1), (11, 27), (12, 25))


@dataclass(frozen=True)
class Dimensions:
    """Rows of the tables that sales refer to, and where they came from: `published` or `invented`."""

    tables: Mapping[str, Sequence[Row]]
    origin: str


def published(folder: Path) -> Dimensions | None:
    """The published dimensions from their pipe-separated files in a folder; None where one of them is not there."""
    if not all((folder / name).is_file() for name in FILES.values()):
        return None
    tables = {
        table: [
            tuple(field or None for field in line.split("|"))
            for line in (folder / name).read_text("utf-8").splitlines()
        ]
        for table, name in FILES.items()
    }
    return Dimensions(tables, "published")


def invented(seed: int = SEED) -> Dimensions:
    """Dimensions of their shapes: 187 venues, 7 categories, the days of 2008, 8,798 events."""
    random = np.random.default_rng(seed)
    venues: list[Row] = [
        (number, f"Hall {number}", f"City {number % 60}", _STATES[number % len(_STATES)], seats or None)
        for number, seats in enumerate((random.gamma(2.0, 15_000, 187).astype(int) // 100 * 100).tolist(), 1)
    ]
    categories: list[Row] = [(n, group, name, f"All {name}") for n, (group, name, _) in enumerate(_CATEGORIES, 1)]
    days = [date(2008, 1, 1) + timedelta(day) for day in range(366)]
    dates: list[Row] = [
        (
            _FIRST_DATE + number,
            day,
            _WEEKDAYS[day.weekday()],
            day.isocalendar().week,
            _MONTHS[day.month - 1],
            str((day.month + 2) // 3),
            day.year,
            (day.month, day.day) in _HOLIDAYS,
        )
        for number, day in enumerate(days)
    ]
    count = 8_798
    chosen = zip(
        random.integers(1, len(venues) + 1, count).tolist(),
        random.integers(1, len(categories) + 1, count).tolist(),
        random.integers(0, len(days), count).tolist(),
        random.choice([14, 15, 19, 20], count).tolist(),
        strict=True,
    )
    events: list[Row] = [
        (
            number,
            venue,
            category,
            _FIRST_DATE + day,
            f"Event {number}",
            datetime.combine(days[day], time(hour), UTC),
        )
        for number, (venue, category, day, hour) in enumerate(chosen, 1)
    ]
    return Dimensions({"venue": venues, "category": categories, "date": dates, "event": events}, "invented")


def listings_and_sales(
    known: Dimensions, sold: int = SOLD_LISTINGS, seed: int = SEED
) -> tuple[Iterator[Row], Iterator[Row]]:
    """Listings of the events, and the sales of so many of them; the same arguments give the same rows.

    How much of a listing is sold depends on its category, weekday, price against what is usual there, the size of the
    venue and how many tickets it offers, and a fifth of it on nothing: that is what there is to be learned.
    """
    random = np.random.default_rng(seed + 1)
    count = sold + sold * _UNSOLD_LISTINGS // SOLD_LISTINGS
    events = known.tables["event"]
    places = random.integers(0, len(events), count)
    tickets = random.integers(1, 16, count) * 2
    pull = _pull(known)[places]
    price = np.round(np.clip(random.lognormal(4.6, 0.7, count), 15, 2_500))
    wanted = 0.35 + 0.03 * pull - 0.22 * (np.log(price) - 4.6) - 0.006 * tickets + random.normal(0, 0.1, count)
    quantity = np.clip(np.rint(tickets * np.clip(wanted, 0.02, 1.0)), 1, tickets).astype(int)
    has_sale = np.zeros(count, bool)
    has_sale[random.permutation(count)[:sold]] = True
    sellers, ahead = random.integers(1, _MEMBERS, count), random.integers(5, 60, count)
    parts = np.minimum(1 + random.binomial(2, 0.35, count), quantity)
    buyers, waits = random.integers(1, _MEMBERS, (count, 3)), random.integers(1, 5 * 86_400, (count, 3))

    def listed(number: int) -> datetime:
        started = events[places[number]][5]
        start = started if isinstance(started, datetime) else datetime.fromisoformat(f"{started}+00:00")
        return start - timedelta(days=int(ahead[number]), minutes=number % 600)

    def listings() -> Iterator[Row]:
        for number in range(count):
            each, cost, offered = events[places[number]], float(price[number]), int(tickets[number])
            seller, at = int(sellers[number]), listed(number)
            yield number + 1, seller, each[0], each[3], offered, cost, min(cost * offered, 999_999.0), at

    def sales() -> Iterator[Row]:
        made = 0
        for number in np.flatnonzero(has_sale).tolist():
            each, at, left = events[places[number]], listed(number), int(quantity[number])
            for part in range(int(parts[number])):
                bought = left if part == parts[number] - 1 else max(1, left // 2)
                left -= bought
                if not bought:
                    continue
                made += 1
                paid = min(float(price[number]) * bought, 999_999.0)
                when = at + timedelta(seconds=int(waits[number, part]))
                head = (made, number + 1, int(sellers[number]), int(buyers[number, part]), each[0], each[3])
                yield *head, bought, paid, round(paid * 0.15, 2), when

    return listings(), sales()


def _pull(known: Dimensions) -> np.ndarray:
    """How much each event is asked for, in one number."""
    category = {str(row[0]): _DRAW.get(str(row[2]), 8.0) for row in known.tables["category"]}
    seats = {str(row[0]): float(str(row[4] or 0)) for row in known.tables["venue"]}
    days = {str(row[0]): (str(row[2]), str(row[7]).lower() in ("true", "t")) for row in known.tables["date"]}
    weekend: Callable[[str], float] = lambda day: {"FR": 2.0, "SA": 4.0, "SU": 1.5}.get(day, 0.0)  # noqa: E731
    made = []
    for row in known.tables["event"]:
        day, holiday = days.get(str(row[3]), ("MO", False))
        size = math.log1p(seats.get(str(row[1]), 0.0)) / 6
        made.append(category.get(str(row[2]), 8.0) / 4 + weekend(day) + 2.0 * holiday - size)
    return np.array(made)
