"""What a generation seals is the same finished rows that serving makes, lists among them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from headrace.algebra import Count, Decay, LastN, Ratio, Sessions, Where, decode
from headrace.batch.finished import finished
from headrace.definitions import Definition, Field, Schema, Stream

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

START = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = {"clicked": "boolean", "campaign": "string", "seen": "timestamp"}
CLICKS = Definition(
    name="clicks",
    entity="who",
    event_time="at",
    source=Stream(
        "impressions",
        Schema([Field("who", "string"), Field("at", "timestamp"), *(Field(*column) for column in TYPES.items())]),
    ),
    features={
        "rate": Ratio(Where(Count(), "clicked"), Count()),
        "last_campaigns": LastN("campaign", 2),
        "last_seen": LastN("seen", 1),
        "recent": Decay(Count(), timedelta(hours=1)),
        "visits": Sessions(timedelta(minutes=30)),
    },
)


def test_rates_lists_decays_and_sessions_are_sealed_as_they_are_served(spark: SparkSession) -> None:
    events: list[dict[str, Any]] = [
        {"_event_ts": START + timedelta(hours=hour), "_incarnation": "", "_partition": "0", "_position": hour}
        | {"clicked": hour == 1, "campaign": name, "seen": START + timedelta(hours=hour)}
        for hour, name in enumerate("abc")
    ]
    columns = {
        name: pa.array(
            [reduce(one.merge, (one.lift(event, TYPES) for event in events)), one.empty()], one.arrow_type(TYPES)
        )
        for name, one in CLICKS.features.items()
    }
    states = spark.createDataFrame(pa.table({"entity": ["p1", "none"], **columns}))
    reference = START + timedelta(hours=2)
    theta = {"reference": reference.isoformat(), "zone": "UTC", "types": TYPES, "learner": None, "derive": None}
    some, none = finished(states, CLICKS, theta).toArrow().sort_by([("entity", "descending")]).to_pylist()
    assert some["features"] == {
        "rate": 1 / 3,
        "last_campaigns": ["c", "b"],
        "last_seen": [reference],
        "recent": 1.75,
        "visits": 3,
    }
    assert json.loads(some["outputs"])["features"] == some["features"] | {"last_seen": ["2026-01-01T02:00:00Z"]}
    assert decode(some["state"]) == {name: column[0].as_py() for name, column in columns.items()}
    assert none["features"] == {"rate": None, "last_campaigns": [], "last_seen": [], "recent": 0.0, "visits": 0}
