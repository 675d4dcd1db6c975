"""TICKIT's published dimensions under the generated sales, with the quirks that its files have."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from headrace.batch.ingest import ingest
from headrace.definitions.sales import sales
from headrace.sources.postgres import connected, query_to_parquet
from headrace.sources.tickit.query import QUERY
from headrace.sources.tickit.stage import load
from headrace.sources.tickit.tables import SOLD_LISTINGS, Dimensions, published
from headrace.transforms.tickets import LISTING

pytestmark = pytest.mark.postgres

TICKIT = Path(os.environ.get("HEADRACE_DATA", "/nonexistent")) / "tickit"
NOW = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def known() -> Dimensions:
    found = published(TICKIT)
    if found is None:
        pytest.skip("TICKIT's dimensions are not here: set HEADRACE_DATA to a folder that holds tickit/")
    return found


@pytest.fixture(scope="module")
def staged(known: Dimensions, postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert "published events" in load(postgres, known=known)
    path = tmp_path_factory.mktemp("tickit") / "sales.parquet"
    assert query_to_parquet(postgres, QUERY.format(schema="tickit"), path) == SOLD_LISTINGS
    return path


def test_the_files_are_loaded_whole(known: Dimensions, staged: Path, postgres: Any) -> None:
    with connected(postgres) as connection:
        rows = {
            table: connection.run(f"SELECT count(*) FROM tickit.{table}")[0][0]
            for table in ("venue", "category", "date", "event")
        }
        assert rows == {"venue": 202, "category": 11, "date": 365, "event": 8_798}
        # Events of three venues that the table lacks, and seats that are not told.
        ((homeless,),) = connection.run(
            "SELECT count(*) FROM tickit.event e LEFT JOIN tickit.venue v USING (venueid) WHERE v.venueid IS NULL"
        )
        ((seatless,),) = connection.run("SELECT count(*) FROM tickit.venue WHERE venueseats IS NULL")
        assert (homeless, seatless) == (139, 15)
        assert connection.run("SELECT count(*) FROM tickit.date WHERE caldate = '2008-02-29'") == [[0]]


def test_the_query_keeps_every_listing_whatever_its_event_lacks(staged: Path) -> None:
    rows = pq.read_table(staged)
    assert rows.column_names == list(LISTING.names)
    assert [str(kind) for kind in rows.schema.types] == [
        *("int32", "int32", "timestamp[us, tz=UTC]", "string", "string", "int32", "string", "string", "bool", "int32"),
        *("double", "int64"),
    ]
    missing = {name: column.null_count for name, column in zip(rows.column_names, rows.columns, strict=True)}
    lacking = {name: count for name, count in missing.items() if count}
    assert set(lacking) == {"venue_state", "venue_seats"}
    assert 0 < lacking["venue_state"] < lacking["venue_seats"] < 0.2 * SOLD_LISTINGS
    frame = rows.to_pandas()
    assert set(frame["weekday"].str.strip()) == {"MO", "TU", "WE", "TH", "FR", "SA", "SU"}
    assert frame["category"].nunique() <= 11
    assert 0 < frame["holiday"].mean() < 0.2
    assert ((frame["totalsold"] > 0) & (frame["totalsold"] <= frame["num_tickets"])).all()
    assert frame["list_id"].is_monotonic_increasing


@pytest.mark.spark
def test_every_row_lands_as_declared(spark: Any, staged: Path, headrace_settings: Any) -> None:
    landed = ingest(spark, headrace_settings(), sales, staged, now=NOW)
    assert (landed.landed, landed.rows_read, landed.quarantined_by_reason) == (SOLD_LISTINGS, SOLD_LISTINGS, {})
    frame = pq.read_table(staged, columns=["num_tickets", "price_per_ticket"]).to_pandas()
    assert np.isfinite(frame).all(axis=None)
