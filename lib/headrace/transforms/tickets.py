"""Listings of tickets with what was sold of each: the rows of the `sales` query, and the numbers in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.schemas import Field, Schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

LISTING = Schema(
    [
        Field("list_id", "bigint", required=True),
        Field("event_id", "bigint", required=True),
        Field("list_time", "timestamp", required=True),
        Field("category", "string"),
        Field("venue_state", "string"),
        Field("venue_seats", "int"),
        Field("weekday", "string"),
        Field("month", "string"),
        Field("holiday", "boolean"),
        Field("num_tickets", "int", required=True),
        Field("price_per_ticket", "double", required=True),
        Field("totalsold", "bigint"),
    ]
)
NUMBERS = ("num_tickets", "price_log", "tickets_by_price", "seats_log", "is_weekend", "is_holiday")


def with_numbers(listings: DataFrame) -> DataFrame:
    """With NUMBERS, which a regression reads.

    In: LISTING. Out: price_log, ln(price); tickets_by_price, num_tickets * price_log; seats_log, ln(1 + seats), no
    seats known being none; is_weekend, Friday to Sunday, and is_holiday as 0 or 1. `drop_reason` for a price that has
    no logarithm.
    Streams: append.
    """
    from pyspark.sql import functions as F

    price_log = F.when(F.col("price_per_ticket") > 0, F.ln("price_per_ticket"))
    return listings.withColumns(
        {
            "price_log": price_log,
            "tickets_by_price": F.col("num_tickets") * price_log,
            "seats_log": F.log1p(F.coalesce(F.col("venue_seats"), F.lit(0)).cast("double")),
            "is_weekend": F.coalesce(F.trim("weekday").isin("FR", "SA", "SU").cast("int"), F.lit(0)),
            "is_holiday": F.coalesce(F.col("holiday").cast("int"), F.lit(0)),
            "drop_reason": F.when(price_log.isNull(), F.lit("no price above 0")),
        }
    )
