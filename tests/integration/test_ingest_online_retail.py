"""The published Online Retail file lands whole: every row, every null, in file order."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime
from itertools import islice

import pytest

from headrace.batch.ingest import ingest
from headrace.config import data_folder
from headrace.definitions import load_definition
from headrace.sources.lake import snapshot

pytestmark = pytest.mark.spark

ROWS = 541_909


def test_the_published_file_lands_whole_and_in_order(spark, headrace_settings):
    folder = data_folder()
    path = folder / "online_retail" / "online-retail-dataset.csv.gz" if folder else None
    if path is None or not path.exists():
        pytest.skip("Online Retail is not here: set $HEADRACE_DATA")
    settings = headrace_settings()
    report = ingest(spark, settings, load_definition("segments"), path, now=datetime(2024, 5, 1, tzinfo=UTC))
    assert (report.rows_read, report.landed, report.quarantined, report.blank) == (ROWS, ROWS, 0, 0)
    assert (report.ignored, report.absent) == ((), ())

    seen = snapshot(spark, settings.lake, "purchases")
    assert (seen.rows, dict(seen.cut)) == (ROWS, {("", report.sha256): ROWS})
    assert seen.latest_event == datetime(2011, 12, 9, 12, 50, tzinfo=UTC)
    totals = seen.events.selectExpr(
        "min(_position)", "max(_position)", "count(DISTINCT _position)",
        "count_if(customer_id IS NULL)", "count_if(description IS NULL)", "count_if(quantity < 0)",
        "count_if(quantity < 0 AND startswith(invoice, 'C'))", "min(quantity)", "max(quantity)",
        "count_if(price < 0)", "count_if(price = 0)", "count(DISTINCT invoice)", "count(DISTINCT customer_id)",
        "count(DISTINCT stock_code)", "count(DISTINCT country)", "count_if(contains(description, '\"'))",
    ).head()  # fmt: skip
    assert tuple(totals) == (
        0, ROWS - 1, ROWS, 135_080, 1_454, 10_624, 9_288, -80_995, 80_995, 2, 2_515, 25_900, 4_372, 4_070, 38, 1_239,
    )  # fmt: skip

    step = 997
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream)
        next(rows)
        expected = {position: row for position, row in enumerate(islice(rows, None)) if position % step == 0}
    sample = seen.events.where(f"_position % {step} = 0").selectExpr(
        "_position", "invoice", "coalesce(stock_code, '')", "coalesce(description, '')", "quantity",
        "date_format(invoice_date, 'M/d/yyyy H:mm')", "price", "coalesce(customer_id, '')", "country",
    ).collect()  # fmt: skip
    found = {row[0]: [str(value) for value in row[1:]] for row in sample}
    assert len(found) == len(expected) == ROWS // step + 1
    for position, row in expected.items():
        row[5] = str(float(row[5]))
        assert found[position] == row
