"""Real samples in the order in which they come: rides by hour, churn, clicks on impressions, and who clicks."""

from __future__ import annotations

import csv
import gzip
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from headrace.models.kmeans import KMeans
from headrace.models.learner import Learner
from headrace.models.linear import LinearRegression
from headrace.models.logistic import LogisticRegression

FILES = ("bike_sharing/hour.csv.gz", "churn/Telco-Customer-Churn.csv", "ads/jd/bo_action.parquet")
CHECKPOINTS = 9
_DAY_S = 86_400.0
_LABEL_WAIT_S = 15 * 60.0  # an impression is clicked on within that time, or it is not
_BUSY = 200  # rides an hour, about the mean


@dataclass(frozen=True)
class Case:
    """A learner and its samples, one row each: the inputs, and of an event the target after them.

    seen: when a sample is there to be told; known: when it can be learned from. Both in the unit of `times`, the
    checkpoints: at the first the generation is fitted, the last one only ends the last window. unit: of `times`.
    of_entities: the samples at a checkpoint are all entities as they are then, instead of all that came before it.
    """

    name: str
    learner: Learner
    columns: tuple[str, ...]
    seen: np.ndarray
    known: np.ndarray
    rows: np.ndarray
    times: np.ndarray
    unit: str
    of_entities: bool = False

    @property
    def windows(self) -> range:
        """Numbers of the checkpoints that a window follows."""
        return range(len(self.times) - 1)

    def training(self, at: int) -> np.ndarray:
        """What a full retrain at a checkpoint is fitted on."""
        return self.rows[self.seen == self.times[at]] if self.of_entities else self.rows[self.known < self.times[at]]

    def since(self, at: int) -> np.ndarray:
        """What contributes at a checkpoint to the generation fitted at the first."""
        if self.of_entities:
            return self.training(at)
        return self.rows[(self.known >= self.times[0]) & (self.known < self.times[at])]

    def window(self, at: int) -> np.ndarray:
        """What comes between a checkpoint and the next, or the entities as they are at the next."""
        if self.of_entities:
            return self.training(at + 1)
        return self.rows[(self.seen >= self.times[at]) & (self.seen < self.times[at + 1])]


def rides(data: Path) -> Iterator[Case]:
    """Bike rides by hour: how many, and whether more than 200. The generation is fitted on the first half year."""
    with gzip.open(data / FILES[0], "rt", encoding="utf-8") as lines:
        hours = list(csv.DictReader(lines))
    start = datetime(2011, 1, 1, tzinfo=UTC)
    days = np.array([_days(row["dteday"], start) + int(row["hr"]) / 24 for row in hours])
    phase = np.array([[2 * np.pi * int(row["hr"]) / 24] for row in hours]) * [[1, 2]]
    plain = ("workingday", "holiday", "temp", "hum", "windspeed")
    inputs = np.column_stack([np.sin(phase), np.cos(phase), [[float(row[name]) for name in plain] for row in hours]])
    names = ("sin_1", "sin_2", "cos_1", "cos_2", *plain)
    count = np.array([float(row["cnt"]) for row in hours])
    times = np.linspace(181, 731, CHECKPOINTS + 1)
    for name, learner, target in (
        ("rides an hour", LinearRegression(names), count),
        ("busy hours", LogisticRegression(names, ridge=0.001), (count > _BUSY).astype(float)),
    ):
        rows = np.column_stack([inputs, target])
        yield Case(name, learner, (*names, "target"), days, days, rows, times, "days since 2011-01-01")


def churn(data: Path) -> Iterator[Case]:
    """Customers who leave, in the order of the file, which has no time. The generation is fitted on the first fifth."""
    with (data / FILES[1]).open(encoding="utf-8") as lines:
        customers = list(csv.DictReader(lines))
    asked: dict[str, Callable[[dict[str, str]], float]] = {
        "tenure": lambda row: float(row["tenure"]),
        "monthly": lambda row: float(row["MonthlyCharges"]),
        "is_senior": lambda row: float(row["SeniorCitizen"]),
        "has_fiber": lambda row: row["InternetService"] == "Fiber optic",
        "one_year": lambda row: row["Contract"] == "One year",
        "two_years": lambda row: row["Contract"] == "Two year",
        "is_paperless": lambda row: row["PaperlessBilling"] == "Yes",
        "by_check": lambda row: row["PaymentMethod"] == "Electronic check",
        "target": lambda row: row["Churn"] == "Yes",
    }
    rows = np.array([[float(ask(row)) for ask in asked.values()] for row in customers])
    place = np.arange(len(rows), dtype=float)
    times = np.round(np.linspace(len(rows) / 5, len(rows), CHECKPOINTS + 1))
    names = tuple(asked)
    yield Case("churn", LogisticRegression(names[:-1], ridge=0.001), names, place, place, rows, times, "customers")


def clicks(data: Path) -> Iterator[Case]:
    """Impressions that are clicked on within 15 minutes, by what their user and item had done before."""
    events = _actions(data)
    clicked = defaultdict(list)
    for time, user, item, kind in events:
        if kind == "6":
            clicked[user, item].append(time)
    seen, rows = [], []
    for time, before, (user, item) in _impressions(events):
        phase = 2 * np.pi * (time % _DAY_S) / _DAY_S
        is_clicked = any(0 <= at - time <= _LABEL_WAIT_S for at in clicked[user, item])
        rows.append([*np.log1p(before), np.sin(phase), np.cos(phase), float(is_clicked)])
        seen.append(time)
    names = ("user_views", "user_clicks", "item_views", "item_clicks", "sin_1", "cos_1")
    days = np.array(seen) / _DAY_S
    learner = LogisticRegression(names, ridge=0.001)
    known = days + _LABEL_WAIT_S / _DAY_S
    times = np.linspace(15, 70, CHECKPOINTS + 1)
    yield Case("clicks", learner, (*names, "target"), days, known, np.array(rows), times, "days since 2016-01-31")


def users(data: Path) -> Iterator[Case]:
    """Users by how much they viewed, clicked and did else, as that was at each checkpoint."""
    events = deque(_actions(data))
    times = np.linspace(15, 70, CHECKPOINTS + 1)
    kinds, held = {"1": 0, "6": 1}, defaultdict(lambda: [0, 0, 0])
    at, rows = [], []
    for time in times:
        while events and events[0][0] < time * _DAY_S:
            _, user, _, kind = events.popleft()
            held[user][kinds.get(kind, 2)] += 1
        rows += [np.log1p(counts) for _, counts in sorted(held.items())]
        at += [time] * len(held)
    names = ("views", "clicks", "others")
    when = np.array(at)
    yield Case("users", KMeans(4), names, when, when, np.array(rows), times, "days since 2016-01-31", of_entities=True)


def _impressions(
    events: list[tuple[float, str, str, str]],
) -> Iterator[tuple[float, list[int], tuple[str, str]]]:
    """Each impression with the counts of its user's and item's views and clicks at strictly earlier times."""
    counts: Counter[tuple[str, str]] = Counter()
    waiting: list[tuple[str, str]] = []
    last = -1.0
    for time, user, item, kind in events:
        if time > last:
            counts.update(waiting)
            waiting, last = [], time
        if kind == "1":
            keys = (("1", user), ("6", user), ("1", "#" + item), ("6", "#" + item))
            yield time, [counts[key] for key in keys], (user, item)
        waiting += [(kind, user), (kind, "#" + item)]


def _actions(data: Path) -> list[tuple[float, str, str, str]]:
    """Time in seconds from 2016-01-31 on, user, item, kind (1: viewed, 6: clicked), in order of time."""
    from pyarrow import parquet

    table = parquet.read_table(data / FILES[2], columns=["time", "pair_id", "type"])
    start = datetime(2016, 1, 31, tzinfo=UTC).timestamp()
    columns = (table[name].to_pylist() for name in ("time", "pair_id", "type"))
    return sorted((ms / 1000 - start, *pair.split("_"), kind) for ms, pair, kind in zip(*columns, strict=True))


def _days(date: str, start: datetime) -> float:
    return (datetime.fromisoformat(date).replace(tzinfo=UTC) - start) / timedelta(days=1)
