"""Generated purchases: the numbers asked for, the quirks of the real file, the same bytes for the same seed."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from headrace.cli.data import generate
from headrace.errors import InputError, TransientError
from headrace.sources.purchases import write_purchases
from headrace.transforms.retail import PURCHASE

CUSTOMERS, ROWS = 800, 100_000


def read(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return frame.assign(
        quantity=frame["Quantity"].astype(int),
        price=frame["UnitPrice"].astype(float),
        at=pd.to_datetime(frame["InvoiceDate"], format="%m/%d/%Y %H:%M"),
    )


@pytest.fixture(scope="module")
def purchases(tmp_path_factory):
    return read(write_purchases(tmp_path_factory.mktemp("shop") / "p.csv", CUSTOMERS, ROWS, 7))


def test_columns_and_counts_are_what_was_asked_for(purchases):
    assert list(purchases.columns[:8]) == [
        "InvoiceNo",
        "StockCode",
        "Description",
        "Quantity",
        "InvoiceDate",
        "UnitPrice",
        "CustomerID",
        "Country",
    ]
    assert len(purchases) == ROWS
    assert purchases["CustomerID"][purchases["CustomerID"] != ""].nunique() == CUSTOMERS


def test_every_customer_has_a_line_that_counts(purchases):
    valid = purchases[(purchases["quantity"] > 0) & (purchases["price"] > 0) & (purchases["CustomerID"] != "")]
    assert valid["CustomerID"].nunique() == CUSTOMERS


@pytest.mark.parametrize(
    ("customers", "rows"), [(1, 1), (1, 2), (3, 3), (2, 502), (40, 700), (900, 1_000), (4, 260_000)]
)
def test_any_scale_is_met_exactly(tmp_path, customers, rows):
    made = read(write_purchases(tmp_path / "p.csv", customers, rows, 1))
    valid = made[(made["quantity"] > 0) & (made["price"] > 0) & (made["CustomerID"] != "")]
    assert (len(made), valid["CustomerID"].nunique()) == (rows, customers)
    assert made["at"].is_monotonic_increasing


def test_a_quarter_of_the_lines_has_no_customer(purchases):
    assert 0.22 < (purchases["CustomerID"] == "").mean() < 0.28


def test_cancellations_start_with_c_and_are_the_negative_ones_with_it(purchases):
    cancelled = purchases[purchases["InvoiceNo"].str.startswith("C")]
    assert 0.01 < len(cancelled) / ROWS < 0.03
    assert (cancelled["quantity"] < 0).all()


def test_write_offs_are_negative_without_c_free_and_without_customer(purchases):
    written_off = purchases[(purchases["quantity"] < 0) & ~purchases["InvoiceNo"].str.startswith("C")]
    assert 0.001 < len(written_off) / ROWS < 0.005
    assert (written_off["price"] == 0).all()
    assert (written_off["CustomerID"] == "").all()
    assert {"", "?", "damaged"} <= set(written_off["Description"])


def test_descriptions_are_missing_only_without_a_customer(purchases):
    missing = purchases[purchases["Description"] == ""]
    assert 0.001 < len(missing) / ROWS < 0.006
    assert (missing["CustomerID"] == "").all()


def test_zero_prices_occur_with_and_without_customer(purchases):
    free = purchases[purchases["price"] == 0]
    assert 0.002 < len(free) / ROWS < 0.01
    assert set(free["CustomerID"] == "") == {True, False}


def test_a_bad_debt_is_adjusted_by_three_invoices_two_of_them_negative(purchases):
    debt = purchases[purchases["InvoiceNo"].str.startswith("A")]
    assert debt["price"].tolist() == [11062.06, -11062.06, -11062.06]
    assert set(debt["Description"]) == {"Adjust bad debt"}
    assert set(debt["StockCode"]) == {"B"}


def test_exact_copies_of_lines_occur(purchases):
    assert 0.004 < purchases.duplicated().mean() < 0.03


@pytest.mark.parametrize(
    ("quirk", "least", "most"),
    [
        (lambda text: text != text.str.strip(), 0.1, 0.3),
        (lambda text: text.str.contains(","), 0.001, 0.03),
        (lambda text: text.str.contains('"'), 0.0005, 0.02),
        (lambda text: ~text.map(str.isascii), 0.00001, 0.001),
    ],
    ids=["blank at an end", "comma", "double quote", "not ASCII"],
)
def test_descriptions_are_awkward(purchases, quirk, least, most):
    assert least < quirk(purchases["Description"]).mean() < most


def test_quotes_are_doubled_in_the_file(tmp_path):
    text = write_purchases(tmp_path / "p.csv", 50, 20_000, 7).read_text("utf-8")
    assert '""' in text
    assert "\\" not in text
    assert all(line.count('"') % 2 == 0 for line in text.splitlines())


def test_stock_codes_differ_in_case_alone(purchases):
    codes = purchases["StockCode"]
    assert codes.str.upper().nunique() < codes.nunique()


def test_prices_have_at_most_three_decimals_and_no_trailing_zeros(purchases):
    assert not purchases["UnitPrice"].str.contains(r"\.\d{4}|\.\d*0$").any()


def test_the_calendar_is_the_shops(purchases):
    at = purchases["at"]
    assert at.is_monotonic_increasing
    assert at.iloc[0] == pd.Timestamp("2010-12-01 08:26")
    assert at.iloc[-1] == pd.Timestamp("2011-12-09 12:50")
    assert (at.dt.dayofweek != 5).all()
    assert not at.between("2010-12-24", "2011-01-04").any()
    assert at.dt.date.nunique() > 290
    assert not purchases["InvoiceDate"].str.contains(r"^0|/0|\s0").any()


def test_an_invoice_has_several_lines_one_time_one_customer_and_one_country(purchases):
    invoices = purchases.groupby("InvoiceNo")
    assert invoices[["InvoiceDate", "CustomerID", "Country"]].nunique().max().tolist() == [1, 1, 1]
    assert invoices.size().median() > 3
    assert invoices.size().max() > 100


def test_spend_has_a_heavy_tail_and_recency_starts_at_zero(purchases):
    kept = purchases[purchases["CustomerID"] != ""]
    spend = (kept["quantity"] * kept["price"]).groupby(kept["CustomerID"]).sum()
    assert spend.max() > 20 * spend.median()
    assert spend.min() <= 0
    last = kept.groupby("CustomerID")["at"].max()
    recency = (pd.Timestamp("2011-12-09") - last.dt.normalize()).dt.days
    assert recency.min() == 0
    assert recency.max() > 200
    assert kept.groupby("CustomerID")["InvoiceNo"].nunique().max() > 20


def test_two_outsized_orders_are_cancelled(purchases):
    assert {80_995, -80_995, 74_215, -74_215} <= set(purchases["quantity"])


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.parquet"])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path, name):
    def made(folder: str, seed: int) -> str:
        return digest(write_purchases(tmp_path / folder / name, 60, 5_000, seed))

    assert made("a", 7) == made("b", 7)
    assert made("c", 8) != made("a", 7)


def test_gzip_and_parquet_hold_the_same_rows_as_the_plain_file(tmp_path):
    plain, packed, typed = (
        write_purchases(tmp_path / name, 60, 5_000, 7) for name in ("p.csv", "p.csv.gz", "p.parquet")
    )
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    from_csv, table = read(plain), pq.read_table(typed)
    from_parquet = table.to_pandas()
    assert (from_parquet["invoice"] == from_csv["InvoiceNo"]).all()
    assert (from_parquet["description"].fillna("") == from_csv["Description"]).all()
    assert (from_parquet["customer_id"].fillna("") == from_csv["CustomerID"]).all()
    assert (from_parquet["quantity"] == from_csv["quantity"]).all()
    assert (from_parquet["invoice_date"].dt.tz_localize(None) == from_csv["at"]).all()
    assert np.array_equal(from_parquet["price"], from_csv["price"])
    assert not (from_parquet["description"] == "").any()


def test_parquet_has_the_columns_of_the_stream(tmp_path):
    table = pq.read_table(write_purchases(tmp_path / "p.parquet", 5, 50, 7))
    arrow = {"string": "string", "int": "int32", "timestamp": "timestamp[us, tz=UTC]", "double": "double"}
    assert [(f.name, str(f.type)) for f in table.schema] == [(f.name, arrow[f.type]) for f in PURCHASE]


def test_progress_adds_up(tmp_path):
    told: list[int] = []
    write_purchases(tmp_path / "p.csv", 300, 600_000, 7, told.append)
    assert len(told) > 1
    assert sum(told) == 600_000


@pytest.mark.parametrize(
    ("name", "customers", "rows", "seed", "message"),
    [
        ("p.xlsx", 5, 50, 7, "expected a name ending in .csv, .csv.gz, .parquet"),
        ("p.csv", 51, 50, 7, "found 51 customers and 50 rows"),
        ("p.csv", 0, 50, 7, "at least one customer"),
        ("p.csv", 5, 50, -1, "a seed is not negative"),
    ],
)
def test_what_cannot_be_made_is_refused_and_nothing_is_written(tmp_path, name, customers, rows, seed, message):
    with pytest.raises(InputError, match=message):
        write_purchases(tmp_path / name, customers, rows, seed)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_nothing_behind(tmp_path):
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_purchases(tmp_path / "p.csv.gz", 5, 500, 7, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named(tmp_path):
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(TransientError, match=r"cannot be written; found .*No space left"):
        write_purchases(tmp_path / "p.csv", 5, 500, 7, fail)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TransientError, match="cannot be written"):
        write_purchases(tmp_path / "file" / "p.csv", 5, 500, 7)


def test_the_command_writes_and_refuses_to_replace(tmp_path):
    target = str(tmp_path / "p.csv")
    asked = ["purchases", "--customers", "10", "--rows", "200", "--seed", "3", "--to", target]
    first = CliRunner().invoke(generate, asked)
    assert first.exit_code == 0, first.output
    assert "200 rows of 10 customers, seed 3" in first.output
    before = Path(target).read_bytes()
    again = CliRunner().invoke(generate, asked)
    assert isinstance(again.exception, InputError)
    assert "replace it with --replace" in str(again.exception)
    other = [*asked, "--replace", "--seed", "4"]
    assert CliRunner().invoke(generate, other).exit_code == 0
    assert Path(target).read_bytes() != before
