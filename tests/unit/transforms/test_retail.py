"""Which invoice lines count, and what they are worth."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from headrace.transforms.retail import PURCHASE, clean

LINE = ("536365", "85123A", "HOLDER", 6, datetime(2010, 12, 1, 8, 26, tzinfo=UTC), 2.55, "17850", "France")


def cleaned(spark: Any, *changes: dict[str, Any]) -> list[Any]:
    lines = [tuple({**dict(zip(PURCHASE.names, LINE, strict=True)), **change}.values()) for change in changes]
    return clean(spark.createDataFrame(lines, PURCHASE.ddl).coalesce(1)).collect()


@pytest.mark.spark
def test_a_line_is_worth_quantity_times_price_and_cancellations_count(spark: Any) -> None:
    rows = cleaned(spark, {}, {"invoice": "C536379", "quantity": -1, "price": 27.5}, {"quantity": 80_995, "price": 0.0})
    assert [row.total_price for row in rows] == [6 * 2.55, -27.5, 0.0]
    assert [row.drop_reason for row in rows] == [None, None, None]


@pytest.mark.spark
def test_every_null_has_its_reason_and_the_customer_comes_first(spark: Any) -> None:
    changes = [{name: None} for name in PURCHASE.names]
    assert [row.drop_reason for row in cleaned(spark, *changes)] == [f"no {name}" for name in PURCHASE.names]
    both, blank, spaces, not_a_number = cleaned(
        spark,
        {"invoice": None, "customer_id": None},
        {"customer_id": ""},
        {"customer_id": "  ", "description": None},
        {"price": float("nan")},
    )
    assert [both.drop_reason, blank.drop_reason, spaces.drop_reason] == ["no customer_id"] * 3
    assert not_a_number.drop_reason == "no price"


@pytest.mark.spark
def test_further_columns_and_every_row_keep_their_place(spark: Any) -> None:
    lines = spark.createDataFrame([(*LINE, 7), (*LINE[:6], None, "France", 8)], f"{PURCHASE.ddl}, _position bigint")
    rows = clean(lines.coalesce(1)).select("_position", "drop_reason").collect()
    assert [tuple(row) for row in rows] == [(7, None), (8, "no customer_id")]


def test_both_published_spellings_are_known() -> None:
    known = {alias for field in PURCHASE for alias in field.aliases}
    first = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
    assert known >= {*first, "Invoice", "Price", "Customer ID"}
