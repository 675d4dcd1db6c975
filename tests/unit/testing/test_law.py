"""assert_law passes for what obeys the laws, and fails, naming what broke, for what does not."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from pyspark.sql import functions as F

from headrace.algebra import Count, CountDistinct, Last, Max, Mean, Min, Sum
from headrace.definitions import Definition, Field, Schema, Stream, fixed, load_definition
from headrace.errors import InputError
from headrace.testing import assert_law
from headrace.transforms.derivation import Derivation, no_parameters

pytestmark = pytest.mark.spark

PURCHASE = Schema(
    [
        Field("id", "string"),
        Field("customer", "int"),
        Field("at", "timestamp", required=True),
        Field("amount", "double"),
        Field("shop", "string"),
        Field("price", "decimal(10,2)"),
    ]
)
FEATURES = {
    "orders": Count(),
    "shops": CountDistinct("shop"),
    "spent": Sum("amount"),
    "mean": Mean("price"),
    "first": Min("at"),
    "dearest": Max("price"),
    "last_shop": Last("shop"),
}
EVENTS: list[dict[str, Any]] = [
    {
        "id": f"e{i % 17}",
        "customer": (7, 8, 9, None)[i % 4] if i % 5 else 7,
        # late and simultaneous events
        "at": f"2024-01-{1 + (i * 7) % 20:02d}",
        "amount": (0.1, 0.2, None, float("nan"), -3.25)[i % 5],
        "shop": ("north", "süd", None)[i % 3],
        "price": "1.25" if i % 2 else None,
    }
    for i in range(30)
]


def spending(**changes: Any) -> Definition:
    plain = Definition(
        name="spending",
        entity="customer",
        event_time="at",
        source=Stream("purchases", PURCHASE),
        features=FEATURES,
        clock=fixed("2024-02-01"),
    )
    return replace(plain, **changes)


def test_the_features_of_the_platform_obey(spark):
    assert_law(spending(), EVENTS)


def test_a_frame_prepare_copies_and_a_derivation_obey(spark):
    dear = Derivation(
        fit=lambda features: {"mean": features.agg(F.avg("spent")).first()[0]},
        apply=lambda columns, fitted: {"above": (columns["spent"] > fitted["mean"]).astype(np.int64)},
        outputs=("above",),
    )
    rows = spark.createDataFrame(
        [tuple(e[f.name] for f in PURCHASE if f.name not in ("at", "price")) for e in EVENTS],
        "id string, customer int, amount double, shop string",
    )
    frame = rows.selectExpr("*", "timestamp_seconds(customer) AS at", "cast(1.5 AS decimal(10,2)) AS price")
    definition = spending(
        event_id="id",
        derive=dear,
        prepare=lambda events: events.withColumn("drop_reason", F.when(F.col("shop") == "north", "closed")),
    )
    assert_law(definition, frame.where("customer IS NOT NULL"))


@dataclass(frozen=True)
class FirstSeen(Max):
    """Broken: whichever operand is on the left wins."""

    def merge(self, left: Any, right: Any) -> Any:
        return right if left is None else left


@dataclass(frozen=True)
class Appended(Mean):
    """Broken: the left operand is changed in place."""

    def merge(self, left: Any, right: Any) -> Any:
        left["count"] += right["count"]
        left["sum"] += right["sum"]
        return left


@dataclass(frozen=True)
class Padded(Count):
    """Broken: no events count as one."""

    def merge(self, left: Any, right: Any) -> Any:
        return max(left + right, 1)


@dataclass(frozen=True)
class Doubled(Count):
    """Broken: Spark counts an event twice."""

    def spark_aggregate(self, types: Any) -> Any:
        return F.count(F.lit(1)) * 2


@dataclass(frozen=True)
class Overlapping(Count):
    """Broken: Spark merges counts as if they were of the same events."""

    def spark_merge(self, state: Any, types: Any) -> Any:
        return F.max(state)


@pytest.mark.parametrize(
    ("feature", "says"),
    [
        (FirstSeen("price"), r"state law broken: .*feature 'broken', entity '\d', "),
        (Appended("price"), r"merging changed its left operand: .*feature 'broken', entity '\d'"),
        (Padded(), r"do not merge to the state of all: .*'broken', entity '\d', cut at \[\[.*batches of \["),
        (Doubled(), r"Spark and plain Python make different states: .*'broken', entity '\d', all events"),
        (Overlapping(), r"Spark does not merge states to the state of all: .*'broken', entity '\d', pieces ending at"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_broken_aggregate_is_named(spark, feature, says):
    counted = spending(features={"orders": Count(), "broken": feature})
    events = [event | {"customer": 1 + i % 2, "price": f"{i}.25"} for i, event in enumerate(EVENTS)]
    with pytest.raises(AssertionError, match=says) as failure:
        assert_law(counted, events)
    # both states are shown
    assert str(failure.value).count('{"state":') == 2


def test_the_same_seed_finds_the_same_cut(spark):
    counted = spending(features={"broken": Padded()})
    said = []
    for _ in range(2):
        with pytest.raises(AssertionError) as failure:
            assert_law(counted, EVENTS, seed=3)
        said.append(str(failure.value))
    assert said[0] == said[1]


def test_a_prepare_that_looks_at_other_rows_is_named(spark):
    def only_the_dearest(events):
        return events.dropDuplicates(["customer"])

    with pytest.raises(AssertionError, match="`prepare` of 'spending' is not row by row: pieces ending at"):
        assert_law(spending(prepare=only_the_dearest, features={"orders": Count()}), EVENTS)


def test_an_output_that_depends_on_its_neighbours_is_named(spark):
    ranked = Derivation(
        fit=no_parameters,
        apply=lambda columns, _: {"rank": columns["spent"].argsort().argsort().astype(np.int64)},
        outputs=("rank",),
    )
    with pytest.raises(AssertionError, match=r"output law broken: .*entity '\d', output 'rank'"):
        assert_law(spending(derive=ranked), EVENTS)


def test_a_learner_that_cannot_be_fitted_on_so_few_is_warned_about(spark):
    def too_few(features):
        raise InputError("five entities are needed", found=features.count())

    derive = Derivation(fit=too_few, apply=lambda columns, _: {}, outputs=("x",))
    with pytest.warns(UserWarning, match="checked for features only: five entities are needed; found 3"):
        assert_law(spending(derive=derive), EVENTS)


def test_no_counted_event_is_no_proof(spark):
    with pytest.raises(AssertionError, match=r"which says nothing: .*no customer"):
        assert_law(spending(), [event | {"customer": None} for event in EVENTS[:3]])


def test_events_that_never_reach_a_definition_are_refused(spark):
    with pytest.raises(InputError, match=r"event 0 has columns .* found \['custmer'\].*nearest 'customer'"):
        assert_law(spending(), [{"custmer": 7, "at": "2024-01-01"}])
    plans = Schema([*PURCHASE, Field("plan", "string", values=("free", "pro"))])
    with pytest.raises(InputError, match=r"event 0 has a 'plan' that is none of .* found 'gold'; expected"):
        assert_law(spending(source=Stream("purchases", plans)), [{**EVENTS[0], "plan": "gold"}])
    with pytest.raises(InputError, match="event 1 has no 'at'"):
        assert_law(spending(), [{"at": "2024-01-01"}, {"customer": 7}])
    with pytest.raises(InputError, match=r"lack columns of the stream; .*expected \['amount'"):
        assert_law(spending(), spark.createDataFrame([("a",)], "id string"))


def test_the_built_in_segments_obey_with_learner_and_derivation(spark):
    events = [
        {
            "invoice": f"{'C' if i % 7 == 0 else ''}{1000 + i // 2}",
            "stock_code": "85123A",
            "description": "HOLDER" if i % 6 else None,
            "quantity": -2 if i % 7 == 0 else i % 5 + 1,
            "invoice_date": f"2011-{1 + i % 11:02d}-09T08:{i:02d}",
            "price": 0.1 * (i % 8),
            "customer_id": None if i % 9 == 0 else str(12000 + i % 8),
            "country": "France",
        }
        for i in range(40)
    ]
    with warnings.catch_warnings():
        # a warning would say that learner and derivation were left out
        warnings.simplefilter("error", UserWarning)
        assert_law(load_definition("segments"), events)
