"""Bad input meets a clear error or quarantine, and nothing is lost or landed by halves."""

from __future__ import annotations

import gzip
import random
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headrace.batch.ingest import ingest
from headrace.definitions import load_definition
from headrace.errors import InputError, SchemaError
from headrace.schemas.lake import events_path, quarantine_path
from headrace.sources.lake import quarantine_counts, snapshot

pytestmark = pytest.mark.spark

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
LINE = "536365,85123A,WHITE HANGING HEART,6,12/1/2010 8:26,2.55,17850,United Kingdom"


@pytest.fixture(scope="module")
def segments():
    return load_definition("segments")


def purchases(folder: Path, *lines: str | bytes, header: str = HEADER, name: str = "purchases.csv") -> Path:
    path = folder / name
    content = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in (header, *lines)) + b"\n"
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (HEADER.replace("InvoiceDate", "When"), "purchases.csv lacks column 'invoice_date'.*rename the column"),
        (HEADER.replace("CustomerID", "Cust"), "purchases.csv lacks column 'customer_id'.*nearest 'Cust'"),
        (HEADER.replace("UnitPrice", "Unit_Price"), "lacks column 'price'; found .* expected 'price' or 'UnitPrice'"),
        (HEADER.replace("StockCode", "Invoice"), r"two columns for 'invoice'; found \['InvoiceNo', 'Invoice'\]"),
    ],
)
def test_a_missing_renamed_or_doubled_column(spark, headrace_settings, segments, tmp_path, header, message):
    settings = headrace_settings()
    with pytest.raises(SchemaError, match=message):
        ingest(spark, settings, segments, purchases(tmp_path, LINE, header=header), now=NOW)
    assert not settings.lake.exists()


def test_an_empty_file_and_a_truncated_one(spark, headrace_settings, segments, tmp_path):
    settings = headrace_settings()
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"")
    with pytest.raises(InputError, match=r"empty\.csv is empty; found 0 bytes; expected a header and"):
        ingest(spark, settings, segments, empty, now=NOW)
    with pytest.raises(InputError, match=r"purchases\.csv has no rows"):
        ingest(spark, settings, segments, purchases(tmp_path), now=NOW)
    whole = purchases(tmp_path, *(f"{n},{LINE}" for n in range(1_000)), name="cut.csv.gz").read_bytes()
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(whole[:-100])
    with pytest.raises(InputError, match=rf"cut\.csv\.gz is truncated; found end of file at byte {len(whole) - 100:,}"):
        ingest(spark, settings, segments, cut, now=NOW)
    assert not settings.lake.exists()


def test_bad_rows_go_to_quarantine_and_good_ones_land(spark, headrace_settings, segments, tmp_path):
    bad: list[str | bytes] = [
        LINE.replace(",6,", ",six,"),
        LINE.replace("12/1/2010", "31/12/2010"),
        LINE.replace("WHITE", '"WHITE'),
        LINE.replace("WHITE", "WH\x00ITE"),
        LINE.encode().replace(b"WHITE", b"caf\xe9"),
        LINE.replace("2.55", "1e400"),
        LINE.replace(",6,", ",99999999999,"),
        LINE.replace("536365,", ","),
    ]
    kept = [
        LINE, LINE,  # exact copies are two events
        LINE.replace("17850", "13047"), LINE.replace("17850", ""),  # equal times, no customer
        LINE.replace(",6,", ",-80995,"), LINE.replace("2.55", "-11062.06"), LINE.replace("2.55", "1e15"),
    ]  # fmt: skip
    lines = [*kept, *bad, *[LINE] * 200]
    settings = headrace_settings()
    report = ingest(spark, settings, segments, purchases(tmp_path, *lines), now=NOW)
    assert (report.landed, report.quarantined) == (207, 8)
    counts = quarantine_counts(spark, settings.lake, "purchases").collect()
    assert {row["reason"]: row["rows"] for row in counts} == {
        "quantity is not an int": 1,
        "invoice_date is not a time": 1,
        "broken quote": 1,
        "NUL byte": 1,
        "not UTF-8": 1,
        "price is out of range of double": 1,
        "quantity is out of range of int": 1,
        "invoice is null but required": 1,
    }
    events = snapshot(spark, settings.lake, "purchases").events.where("_position < 7").orderBy("_position")
    values = [(row["quantity"], row["price"], row["customer_id"]) for row in events.collect()]
    assert values == [
        (6, 2.55, "17850"), (6, 2.55, "17850"), (6, 2.55, "13047"), (6, 2.55, None),
        (-80995, 2.55, "17850"), (6, -11062.06, "17850"), (6, 1e15, "17850"),
    ]  # fmt: skip


def test_too_many_bad_rows_stop_the_job_and_can_be_looked_at(spark, headrace_settings, segments, tmp_path):
    settings = headrace_settings()
    path = purchases(tmp_path, LINE, *[LINE.replace("12/1/2010", "soon")] * 5, *[LINE] * 10)
    for _ in range(2):  # the same the second time, with nothing doubled
        with pytest.raises(InputError) as stopped:
            ingest(spark, settings, segments, path, now=NOW)
        assert quarantine_counts(spark, settings.lake, "purchases").collect()[0]["rows"] == 5
    message = str(stopped.value)
    assert "too many rows of purchases.csv are bad; found 5 of 16 (31.2%)" in message
    assert "5 x invoice_date is not a time (positions 1, 2, 3)" in message
    assert "expected at most 5.0%" in message
    assert f"the bad rows are in {quarantine_path(settings.lake, 'purchases')}" in message
    assert "--set ingest.max_quarantine_share=0.32" in message
    assert "soon" not in message
    assert not events_path(settings.lake, "purchases").exists()

    tolerant = headrace_settings("ingest.max_quarantine_share=0.32")
    report = ingest(spark, tolerant, segments, path, now=NOW)
    assert (report.landed, report.quarantined) == (11, 5)
    assert quarantine_counts(spark, settings.lake, "purchases").collect()[0]["rows"] == 5


def test_a_file_of_bad_rows_only_never_passes(spark, headrace_settings, segments, tmp_path):
    tolerant = headrace_settings("ingest.max_quarantine_share=1")
    path = purchases(tmp_path, *[LINE.replace("536365", "")] * 3)
    with pytest.raises(InputError, match=r"every row of purchases\.csv is bad; found 3 of 3 \(100\.0%\)"):
        ingest(spark, tolerant, segments, path, now=NOW)


def test_a_latin_1_file_is_told_to_be_converted(spark, headrace_settings, segments, tmp_path):
    path = purchases(tmp_path, *[LINE.replace("HEART", "CAFÉ").encode("latin-1")] * 3, *[LINE] * 7)
    with pytest.raises(InputError, match=r"3 x not UTF-8 \(positions 0, 1, 2\).*iconv -f LATIN1 -t UTF-8"):
        ingest(spark, headrace_settings(), segments, path, now=NOW)


def test_a_damaged_parquet_file_is_named(spark, headrace_settings, segments, tmp_path):
    settings = headrace_settings()
    folder = tmp_path / "out"
    columns = ", ".join(f"{field.name} {field.type}" for field in segments.source.schema)
    row = ("536365", "85123A", "HEART", 6, NOW, 2.55, "17850", "UK")
    spark.createDataFrame([row] * 5_000, columns).coalesce(1).write.parquet(str(folder))
    whole = next(folder.glob("*.parquet")).read_bytes()
    beheaded = tmp_path / "a.parquet"
    beheaded.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.parquet is damaged"):
        ingest(spark, settings, segments, beheaded, now=NOW)
    noise = bytearray(whole)
    noise[4 : len(whole) // 2] = random.Random(3).randbytes(len(whole) // 2 - 4)
    beheaded.write_bytes(noise)
    with pytest.raises(InputError, match=r"a\.parquet is damaged"):
        ingest(spark, settings, segments, beheaded, now=NOW)
    assert not events_path(settings.lake, "purchases").exists()


FULL = """
import subprocess, sys
from datetime import UTC, datetime
from pathlib import Path
from headrace.batch.ingest import ingest
from headrace.config import load
from headrace.definitions import load_definition
from headrace.errors import TransientError
from headrace.session import open_session

home = {home!r}
Path(home).mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", home], check=True)
settings = load(["home=" + home, "spark.driver_memory=1g"], environment="local")
spark = open_session(settings, "full")
def land():
    return ingest(spark, settings, load_definition("segments"), Path({path!r}), now=datetime(2024, 5, 1, tzinfo=UTC))
try:
    land()
except TransientError as error:
    print("NAMED", error.exit_code, error)
subprocess.run(["mount", "-o", "remount,size=64m", home], check=True)
print("LANDED", land().landed)
"""


def test_a_full_disk_is_named_and_the_next_run_completes(headrace_settings, tmp_path):
    alone = [shutil.which("unshare") or "", "--user", "--mount", "--map-root-user"]
    if not alone[0] or subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (unshare --user --mount)")
    noise = random.Random(1)
    lines = [LINE.replace("WHITE", f"{noise.getrandbits(200):x}") for _ in range(20_000)]
    path = purchases(tmp_path, *lines)
    code = FULL.format(home=str(tmp_path / "small"), path=str(path))
    done = subprocess.run(
        [*alone, sys.executable, "-c", code], check=False, capture_output=True, timeout=400, text=True
    )
    assert "NAMED 75 the disk is full; free space under the `home` setting" in done.stdout, done.stderr[-3000:]
    assert "LANDED 20000" in done.stdout, done.stderr[-3000:]
