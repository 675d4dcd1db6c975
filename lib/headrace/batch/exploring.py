"""What a table of purchases holds, before anything is made of it: counts, nulls, distinct values, totals, returns."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from headrace.report.exploration import ColumnFacts, Exploration, Ranking

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
# Ranks of quantiles are off by at most a part in so many of the rows.
_ACCURACY = 100_000
_TOP = 15
_NUMERIC = ("int", "bigint", "double", "float", "decimal")


def explore(purchases: DataFrame, table: str, note: str = "") -> Exploration:
    """Look through rows with the columns of `transforms.retail.PURCHASE`; further ones are left out of `distinct`.

    Out: a few hundred numbers, however many rows there are. Totals are quantity * price; a return is a line whose
    invoice contains `C`.
    """
    from pyspark.sql import functions as F

    held = purchases.withColumn("_total", F.col("quantity") * F.col("price")).persist()
    try:
        names = tuple(name for name in held.columns if name != "_total")
        facts = held.agg(*_of_columns(held)).first()
        assert facts is not None  # noqa: S101 - an aggregate without keys has one row
        is_return = F.col("invoice").contains("C")
        returns = held.agg(
            F.count_if(is_return).alias("lines"),
            F.count_distinct(F.when(is_return, F.col("invoice"))).alias("invoices"),
            F.sum(F.when(is_return, F.col("_total"))).alias("total"),
            F.sum("_total").alias("all"),
        ).first()
        assert returns is not None  # noqa: S101 - an aggregate without keys has one row
        return Exploration(
            table=table,
            note=note,
            rows=facts["rows"],
            distinct_rows=held.select(*names).distinct().count(),
            columns=tuple(_column(name, kind, facts) for name, kind in held.dtypes if name in names),
            return_lines=returns["lines"],
            return_invoices=returns["invoices"],
            return_total=returns["total"] or 0.0,
            total=returns["all"] or 0.0,
            rankings=(
                _ranking(held, "country", "total by country"),
                _ranking(held, "invoice", "total by invoice"),
                _prices(held),
            ),
        )
    finally:
        held.unpersist(blocking=True)


def _of_columns(held: DataFrame) -> list[Column]:
    from pyspark.sql import functions as F

    wanted = [F.count("*").alias("rows")]
    for name, kind in held.dtypes:
        if name == "_total":
            continue
        wanted += [
            F.count_if(F.col(name).isNull()).alias(f"{name}/nulls"),
            F.count_distinct(name).alias(f"{name}/distinct"),
            F.min(name).alias(f"{name}/least"),
            F.max(name).alias(f"{name}/greatest"),
        ]
        if kind.startswith(_NUMERIC):
            wanted += [
                F.avg(name).alias(f"{name}/mean"),
                F.percentile_approx(name, list(QUANTILES), _ACCURACY).alias(f"{name}/quantiles"),
            ]
    return wanted


def _column(name: str, kind: str, facts: Any) -> ColumnFacts:
    numeric = kind.startswith(_NUMERIC)
    return ColumnFacts(
        name=name,
        type=kind,
        nulls=facts[f"{name}/nulls"],
        distinct=facts[f"{name}/distinct"],
        least=_plain(facts[f"{name}/least"]),
        greatest=_plain(facts[f"{name}/greatest"]),
        mean=float(facts[f"{name}/mean"]) if numeric and facts[f"{name}/mean"] is not None else None,
        quantiles=tuple(float(value) for value in facts[f"{name}/quantiles"] or ()) if numeric else (),
    )


def _ranking(held: DataFrame, by: str, title: str) -> Ranking:
    """The groups with the greatest totals, and how many there are in all."""
    from pyspark.sql import functions as F

    groups = held.groupBy(by).agg(F.count("*").alias("lines"), F.sum("_total").alias("total"))
    top = groups.orderBy(F.desc("total"), by).limit(_TOP).collect()
    rows = tuple((str(row[by]), row["lines"], float(row["total"] or 0.0)) for row in top)
    return Ranking(title, by, rows, groups.count())


def _prices(held: DataFrame) -> Ranking:
    """The greatest prices, with how many lines have each and what these come to."""
    from pyspark.sql import functions as F

    groups = held.where("price IS NOT NULL").groupBy("price")
    sums = groups.agg(F.count("*").alias("lines"), F.sum("_total").alias("total"))
    top = sums.orderBy(F.desc("price")).limit(_TOP).collect()
    rows = tuple(
        (f"{row['price']:,.3f}".rstrip("0").rstrip("."), row["lines"], float(row["total"] or 0.0)) for row in top
    )
    return Ranking("top prices", "price", rows, sums.count())


def _plain(value: Any) -> str | None:
    if isinstance(value, datetime | date):
        return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()
    return None if value is None else str(value)
