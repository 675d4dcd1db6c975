"""Purchases: the columns of an invoice line, and which of them count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.schemas import Field, Schema

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# Spelt as in both published files: Online Retail (UnitPrice, CustomerID) and Online Retail II (Price, Customer ID).
PURCHASE = Schema(
    [
        Field("invoice", "string", required=True, aliases=("InvoiceNo", "Invoice")),
        Field("stock_code", "string", aliases=("StockCode",)),
        Field("description", "string", aliases=("Description",)),
        Field("quantity", "int", required=True, aliases=("Quantity",)),
        Field(
            "invoice_date",
            "timestamp",
            required=True,
            format=("M/d/yyyy H:mm", "yyyy-MM-dd HH:mm:ss"),
            aliases=("InvoiceDate",),
        ),
        Field("price", "double", required=True, aliases=("UnitPrice", "Price")),
        Field("customer_id", "string", aliases=("CustomerID", "Customer ID")),
        Field("country", "string", aliases=("Country",)),
    ]
)


def clean(purchases: DataFrame) -> DataFrame:
    """With `total_price`, and a reason where a line does not count.

    In: PURCHASE, further columns pass through. Out: the same rows with `total_price` double (quantity * price,
    in the currency of the price; negative for a cancellation, which counts) and `drop_reason` string, null where the
    line counts: `no customer_id` if that is null or blank, else `no <column>` for the first null column, and NaN is a
    price's null.
    Streams: append.
    """
    from pyspark.sql import functions as F

    total_price = F.col("quantity").cast("double") * F.col("price")
    return purchases.withColumns({"total_price": total_price, "drop_reason": _drop_reason()})


def _drop_reason() -> Column:
    from pyspark.sql import functions as F

    def missing(column: str) -> Column:
        absent = F.col(column).isNull()
        if column == "customer_id":
            return absent | (F.trim(column) == "")
        return absent | F.isnan(column) if column == "price" else absent

    columns = ["customer_id", *(name for name in PURCHASE.names if name != "customer_id")]
    return F.coalesce(*(F.when(missing(column), F.lit(f"no {column}")) for column in columns))
