"""Quintile scores and named segments, against pandas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from online_retail_facts import SEGMENT_COUNTS

from headrace.errors import InputError
from headrace.transforms.rfm import apply, fit, scores_and_segment

EDGES = {
    "recency": [10.0, 20.0, 30.0, 40.0],
    "frequency": [[1, "b"], [1, "d"], [2, "a"], [3, "z"]],
    "monetary": [-1.0, 100.0, 200.5, 300.0],
}


def oracle(customers: pd.DataFrame) -> dict[str, list[int]]:
    """The scores as pandas gives them, for customers in the order of their names."""
    cuts = {
        "r_score": pd.qcut(customers.recency, 5, labels=[5, 4, 3, 2, 1]),
        "f_score": pd.qcut(customers.frequency.rank(method="first"), 5, labels=[1, 2, 3, 4, 5]),
        "m_score": pd.qcut(customers.monetary.astype(int), 5, labels=[1, 2, 3, 4, 5]),
    }
    return {name: cut.astype(int).tolist() for name, cut in cuts.items()}


def columns(customers: pd.DataFrame) -> dict[str, Any]:
    return {name: customers[name].to_numpy() for name in ("entity", "recency", "frequency", "monetary")}


def customers(seed: int, count: int) -> pd.DataFrame:
    """Many ties in recency and frequency, few in the amounts; names sort as text, not as numbers."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "entity": [str(n) for n in random.choice(10 * count, count, replace=False)],
            "recency": random.integers(0, 40 + count, count),
            "frequency": random.geometric(0.3, count),
            "monetary": np.round(random.normal(100, 400, count), 3),
        }
    )
    return table.sort_values("entity", ignore_index=True)


def score(edges: dict[str, Any], entity: str, recency: float, frequency: float, monetary: float) -> dict[str, Any]:
    one = {"entity": np.array([entity], dtype=object)}
    one |= {"recency": np.array([recency]), "frequency": np.array([frequency]), "monetary": np.array([monetary])}
    return {name: values[0] for name, values in apply(one, edges).items()}


class TestApply:
    @pytest.mark.parametrize(
        ("recency", "expected"), [(-5, 5), (10, 5), (10.5, 4), (20, 4), (40, 2), (41, 1), (10**9, 1)]
    )
    def test_recency_is_high_where_days_are_few(self, recency: float, expected: int) -> None:
        assert score(EDGES, "a", recency, 1, 0)["r_score"] == expected

    @pytest.mark.parametrize(
        ("frequency", "entity", "expected"),
        [
            *[(0, "zz", 1), (1, "a", 1), (1, "b", 1), (1, "ba", 2), (1, "d", 2), (1, "e", 3)],
            *[(2, "a", 3), (2, "aa", 4), (3, "z", 4), (3, "é", 5), (4, "a", 5)],
        ],
    )
    def test_frequency_ties_are_broken_by_the_entity(self, frequency: int, entity: str, expected: int) -> None:
        assert score(EDGES, entity, 1, frequency, 0)["f_score"] == expected

    @pytest.mark.parametrize(
        ("monetary", "expected"), [(-1.0, 1), (-1.999, 1), (-0.999, 2), (100.999, 2), (101, 3), (200.9, 3), (1e300, 5)]
    )
    def test_monetary_counts_by_its_integer_part(self, monetary: float, expected: int) -> None:
        assert score(EDGES, "a", 1, 1, monetary)["m_score"] == expected

    def test_the_named_segment_is_the_first_that_matches(self) -> None:
        expected = [
            ["Hibernating", "Hibernating", "At Risk", "At Risk", "Can't Lose"],
            ["Hibernating", "Hibernating", "At Risk", "At Risk", "Can't Lose"],
            ["About to Sleep", "About to Sleep", "Need Attention", "Loyal Customers", "Loyal Customers"],
            ["Promising", "Potential Loyalists", "Potential Loyalists", "Loyal Customers", "Loyal Customers"],
            ["New Customers", "Potential Loyalists", "Potential Loyalists", "Champions", "Champions"],
        ]
        edges = {**EDGES, "frequency": [[1, ""], [2, ""], [3, ""], [4, ""]]}
        for r, names in enumerate(expected, start=1):
            for f, name in enumerate(names, start=1):
                made = score(edges, "a", 55 - 10 * r, f - 0.5, 250)
                assert (made["segment"], made["rfm_score"]) == (name, f"{r}{f}4")

    def test_outputs_are_as_declared_also_for_no_rows(self) -> None:
        none = {name: np.array([], dtype=float) for name in ("recency", "frequency", "monetary")}
        made = apply({"entity": np.array([], dtype=object), **none}, EDGES)
        assert tuple(made) == scores_and_segment.outputs
        assert [len(values) for values in made.values()] == [0] * 5
        assert {made[name].dtype for name in ("r_score", "f_score", "m_score")} == {np.dtype(np.int32)}

    def test_a_null_is_refused_by_name(self) -> None:
        with pytest.raises(InputError, match="'recency' cannot be scored"):
            score(EDGES, "a", float("nan"), 1, 0)


@pytest.mark.spark
class TestFit:
    @pytest.mark.parametrize(("seed", "count"), [(1, 5), (2, 6), (3, 11), (4, 16), (5, 97), (6, 301)])
    def test_scores_equal_pandas(self, spark: Any, seed: int, count: int) -> None:
        table = customers(seed, count)
        parameters = fit(spark.createDataFrame(table.sample(frac=1, random_state=seed)).repartition(3).persist())
        assert json.loads(json.dumps(parameters)) == parameters
        made = apply(columns(table), parameters)
        assert {name: made[name].tolist() for name in ("r_score", "f_score", "m_score")} == oracle(table)
        for name, values in (("recency", table.recency), ("monetary", table.monetary.astype(int))):
            assert parameters[name] == values.quantile(np.linspace(0, 1, 6)).tolist()[1:-1]

    def test_equal_values_have_one_score_and_frequency_is_still_spread(self, spark: Any) -> None:
        table = pd.DataFrame({"entity": list("abcdefghij"), "recency": 3, "frequency": 2, "monetary": 9.5})
        made = apply(columns(table), fit(spark.createDataFrame(table)))
        assert made["r_score"].tolist() == [5] * 10
        assert made["m_score"].tolist() == [1] * 10
        assert made["f_score"].tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]

    @pytest.mark.parametrize(("count", "expected"), [(1, [1]), (2, [1, 5]), (3, [1, 3, 5]), (4, [1, 2, 4, 5])])
    def test_fewer_entities_than_quintiles(self, spark: Any, count: int, expected: list[int]) -> None:
        table = customers(8, 9).head(count)
        table["frequency"] = 1
        made = apply(columns(table), fit(spark.createDataFrame(table)))
        assert made["f_score"].tolist() == expected
        assert all(1 <= n <= 5 for name in ("r_score", "m_score") for n in made[name])

    def test_a_null_is_refused_by_name(self, spark: Any) -> None:
        rows = spark.createDataFrame(
            [("a", 1, 2, 3.0), ("b", None, 2, 3.0)], "entity string, recency int, frequency int, monetary double"
        )
        with pytest.raises(InputError, match="'recency' cannot be scored; found None for 1 entities"):
            fit(rows)
        with pytest.raises(InputError, match="no entities"):
            fit(rows.limit(0))


@pytest.mark.spark
def test_scores_and_segments_of_online_retail_are_the_published_ones(spark: Any, online_retail: Path) -> None:
    lines = pd.read_csv(online_retail, dtype={"CustomerID": str}).dropna()
    lines["InvoiceDate"] = pd.to_datetime(lines.InvoiceDate, format="%m/%d/%Y %H:%M")
    lines["monetary"] = lines.Quantity * lines.UnitPrice
    by_customer = lines.groupby("CustomerID")
    table = pd.DataFrame(
        {
            "recency": (pd.Timestamp("2011-12-09") - by_customer.InvoiceDate.max().dt.normalize()).dt.days,
            "frequency": by_customer.InvoiceNo.nunique(),
            "monetary": by_customer.monetary.sum(),
        }
    ).reset_index(names="entity")
    assert (len(table), table.recency.max(), table.frequency.max()) == (4372, 373, 248)
    made = apply(columns(table), fit(spark.createDataFrame(table).persist()))
    assert {name: made[name].tolist() for name in ("r_score", "f_score", "m_score")} == oracle(table)
    assert pd.Series(made["segment"]).value_counts().to_dict() == SEGMENT_COUNTS
