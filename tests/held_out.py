"""Definitions that train on a part of their events, a file of these, and what scikit-learn makes of the same parts."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from headrace.algebra import Count
from headrace.batch.ingest import ingest
from headrace.batch.train import train
from headrace.config import Settings
from headrace.definitions import Definition, Field, Schema, Splitting, Stream
from headrace.models.linear import LinearRegression
from headrace.models.logistic import LogisticRegression
from headrace.registry import Generation

NOW = datetime(2026, 1, 5, tzinfo=UTC)
FEATURES = ("seats", "price")
SCHEMA = Schema(
    [
        Field("venue", "string"),
        Field("at", "timestamp", format="yyyy-MM-dd HH:mm:ss"),
        Field("seats", "double"),
        Field("price", "double"),
        Field("sold", "double"),
        Field("full", "int"),
        Field("kind", "int"),
    ]
)
SALES = Definition(
    name="tickets",
    entity="venue",
    event_time="at",
    source=Stream("tickets", SCHEMA),
    features={"listings": Count()},
    learner=LinearRegression(FEATURES, ridge=0.01),
    target="sold",
    training=Splitting(0, 70),
)
# Ways to tell the same events by: a number, one of two classes, one of three.
OF_TWO = replace(SALES, name="full_houses", learner=LogisticRegression(FEATURES, ridge=0.01), target="full")
OF_THREE = replace(SALES, name="kinds", learner=LogisticRegression(FEATURES, ridge=0.01, classes=3), target="kind")


@dataclass(frozen=True)
class Events:
    """The file's rows as numbers, in its order; `sold` is a number or not one where it was left out."""

    path: Path
    inputs: np.ndarray
    targets: dict[str, np.ndarray]

    @property
    def cut(self) -> int:
        return int(len(self.inputs) * 0.7)


def write_events(path: Path, rows: int = 1_000, seed: int = 3) -> Events:
    """Events of which one in fifty has no seats, and so cannot be scored."""
    random = np.random.default_rng(seed)
    seats, price = random.integers(50, 5_000, rows), random.gamma(3, 30, rows).round(2)
    sold = (seats * 0.4 - price * 2 + random.normal(0, 200, rows)).round(1)
    full = (sold > 800).astype(int)
    kind = np.digitize(sold, [300, 1_200])
    inputs = np.column_stack([seats.astype(float), price])
    inputs[::50, 0] = np.nan
    with path.open("w", newline="") as out:
        lines = csv.writer(out)
        lines.writerow(SCHEMA.names)
        for row in range(rows):
            shown = "" if np.isnan(inputs[row, 0]) else int(inputs[row, 0])
            at = f"2026-01-0{1 + row * 3 // rows} 00:00:00"
            lines.writerow([f"v{row % 7}", at, shown, price[row], sold[row], full[row], kind[row]])
    return Events(path, inputs, {"sold": sold, "full": full, "kind": kind})


def sealed(spark: Any, settings: Settings, definition: Definition, events: Events) -> Generation:
    """A generation trained on what landed of the file."""
    ingest(spark, settings, definition, events.path, now=NOW)
    return train(spark, settings, definition, now=NOW).generation
