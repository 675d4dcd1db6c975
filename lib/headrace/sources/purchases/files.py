"""Writes generated purchases as the real file's CSV, plain or gzipped, or as typed Parquet."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from headrace.errors import InputError, TransientError, nearest
from headrace.sources.purchases.catalogue import COUNTRIES, PRICE_LEVELS, REMARKS, Catalogue, catalogue, trading_days
from headrace.sources.purchases.invoices import DAY, FIRST_INVOICE, NOBODY, Invoices, Kind, plan, prefixes
from headrace.sources.purchases.lines import MISSING, Lines, chunks

if TYPE_CHECKING:
    import pyarrow as pa

# Told how many more rows are written, after each chunk.
Progress = Callable[[int], None]

HEADER = b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
_SUFFIXES = (".csv", ".csv.gz", ".parquet")


def write_purchases(path: Path, customers: int, rows: int, seed: int, progress: Progress | None = None) -> Path:
    """Write `rows` seeded purchases of `customers` customers, with the quirks of UCI Online Retail, to `path`.

    The suffix names the form: .csv and .csv.gz have the columns and text forms of the real file, .parquet the typed
    columns of the stream `purchases`. The same arguments give the same bytes (with the same NumPy, PyArrow and zlib).
    Every customer has a line that counts, and every line is there: no more and no fewer. The file appears whole or
    not at all; memory grows with invoices (about a hundred bytes each), not with rows.
    Raises InputError for an unknown suffix, and for numbers that cannot be met.

    Quirks, in shares like the real file's: empty customers (a quarter), cancellations `C...` and write-offs without
    a letter with negative quantities, missing descriptions (only without a customer), zero prices, three `A...`
    adjustments of a bad debt (two of them negative), exact copies of lines, commas, quotes, non-ASCII letters and
    blanks at an end in descriptions, stock codes that differ in case alone, no Saturdays, no trading between
    2010-12-24 and 2011-01-03 nor on bank holidays, two outsized orders that are cancelled minutes later.
    """
    suffix = next((s for s in sorted(_SUFFIXES, key=len, reverse=True) if path.name.endswith(s)), None)
    if suffix is None:
        raise InputError(
            "the name does not say which form to write",
            found=repr(path.name),
            expected=f"a name ending in {', '.join(_SUFFIXES)}",
            nearest=nearest("".join(path.suffixes), _SUFFIXES),
        )
    if not 1 <= customers <= rows:
        raise InputError(
            "so many customers do not fit into so few rows" if rows < customers else "there must be a customer",
            found=f"{customers} customers and {rows} rows",
            expected="at least one customer and a row for each",
        )
    if seed < 0:
        raise InputError("a seed is not negative", found=seed)
    goods = catalogue()
    invoices = plan(customers, rows, seed)
    with _whole(path) as partial:
        write = _write_parquet if suffix == ".parquet" else _write_csv
        write(partial, suffix, invoices, goods, _counted(chunks(invoices, goods, seed), progress))
    return path


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A path beside `path` that takes its name at the end, and leaves nothing behind otherwise."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise TransientError(
            f"{path} cannot be written", found=str(error), do="free some space, or name another place"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _counted(parts: Iterator[Lines], progress: Progress | None) -> Iterator[Lines]:
    for part in parts:
        yield part
        if progress is not None:
            progress(len(part))


def _write_csv(path: Path, suffix: str, invoices: Invoices, goods: Catalogue, parts: Iterator[Lines]) -> None:
    texts = _Texts(invoices, goods)
    with path.open("wb") as file, _compressed(file, suffix) as out:
        out.write(HEADER)
        for part in parts:
            out.write(texts.csv(part))


@contextmanager
def _compressed(file: IO[bytes], suffix: str) -> Iterator[IO[bytes]]:
    if suffix != ".csv.gz":
        yield file
        return
    # No name and no time in the header, so that the same rows are the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as packed:
        yield packed  # type: ignore[misc]


def _write_parquet(path: Path, _suffix: str, invoices: Invoices, goods: Catalogue, parts: Iterator[Lines]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("invoice", pa.string()),
            ("stock_code", pa.string()),
            ("description", pa.string()),
            ("quantity", pa.int32()),
            ("invoice_date", pa.timestamp("us", tz="UTC")),
            ("price", pa.float64()),
            ("customer_id", pa.string()),
            ("country", pa.string()),
        ]
    )
    texts = _Texts(invoices, goods)
    with pq.ParquetWriter(path, schema, compression="zstd") as out:
        for part in parts:
            out.write_table(pa.table(texts.typed(part), schema=schema))


class _Texts:
    """Turns places into text by looking up arrays made once; no row is touched by Python."""

    def __init__(self, invoices: Invoices, goods: Catalogue) -> None:
        import pyarrow as pa

        self._invoices = invoices
        described = [*goods.descriptions, *REMARKS]
        self._codes = pa.array(goods.codes)
        self._descriptions = pa.array(described)
        self._quoted = pa.array([_quoted(text) for text in [*described, ""]])
        # The bad debt is the one product that is also booked at its negative price: a last, extra level.
        thousandths = goods.prices.ravel()
        self._thousandths = np.concatenate([thousandths, -thousandths])
        self._prices = pa.array([_price(int(price)) for price in self._thousandths])
        days = trading_days()[0]
        self._dates = pa.array([f"{day.month}/{day.day}/{day.year}" for day in days])
        self._times = pa.array([f" {minute // 60}:{minute % 60:02d}" for minute in range(DAY)])
        self._midnights = np.array([int(datetime(d.year, d.month, d.day, tzinfo=UTC).timestamp()) for d in days])
        self._prefixes = pa.array(prefixes())
        self._countries = pa.array(COUNTRIES)
        self._letters = len(goods.codes) * PRICE_LEVELS

    def csv(self, part: Lines) -> memoryview:
        """The lines as the bytes of the real file's form."""
        import pyarrow as pa
        import pyarrow.compute as pc

        heads, local = self._heads(part)
        missing = len(self._quoted) - 1
        description = np.where(part.description == MISSING, missing, part.description)
        lines: Any = pc.binary_join_element_wise(
            heads["invoice"].take(local),
            self._codes.take(part.product),
            self._quoted.take(description),
            pa.array(part.quantity).cast(pa.string()),
            heads["date"].take(local),
            self._prices.take(self._price_places(part)),
            heads["tail"].take(local),
            ",",
        )
        ends = np.frombuffer(lines.buffers()[1], dtype=np.int32)
        return memoryview(lines.buffers()[2])[: ends[len(part)]]

    def typed(self, part: Lines) -> dict[str, pa.Array]:
        """The lines as typed columns; an empty customer or description is null."""
        import pyarrow as pa

        heads, local = self._heads(part)
        day, minute = np.divmod(self._invoices.minute[part.invoice], DAY)
        return {
            "invoice": heads["invoice"].take(local),
            "stock_code": self._codes.take(part.product),
            "description": self._descriptions.take(
                pa.array(np.maximum(part.description, 0), mask=part.description == MISSING)
            ),
            "quantity": pa.array(part.quantity.astype(np.int32)),
            "invoice_date": pa.array((self._midnights[day] + minute * 60) * 1_000_000).cast(
                pa.timestamp("us", tz="UTC")
            ),
            "price": pa.array(self._thousandths[self._price_places(part)] / 1000),
            "customer_id": heads["customer"].take(local),
            "country": heads["country"].take(local),
        }

    def _price_places(self, part: Lines) -> Any:
        places = part.product * PRICE_LEVELS + part.level
        negative = self._invoices.kind[part.invoice] == Kind.DEBT_WRITTEN_OFF
        return np.where(negative, places + self._letters, places)

    def _heads(self, part: Lines) -> tuple[dict[str, Any], Any]:
        """What all lines of an invoice share, once an invoice, and each line's place in it."""
        import pyarrow as pa
        import pyarrow.compute as pc

        start, stop = int(part.invoice[0]), int(part.invoice[-1]) + 1
        those = slice(start, stop)
        plan_ = self._invoices
        customer = plan_.customer[those]
        ids = pa.array(plan_.ids[np.maximum(customer, 0)], mask=customer == NOBODY).cast(pa.string())
        numbers = pa.array(np.arange(start, stop) + FIRST_INVOICE).cast(pa.string())
        day, minute = np.divmod(plan_.minute[those], DAY)
        country = self._countries.take(plan_.country[those])
        heads = {
            "invoice": pc.binary_join_element_wise(self._prefixes.take(plan_.kind[those]), numbers, ""),
            "date": pc.binary_join_element_wise(self._dates.take(day), self._times.take(minute), ""),
            "customer": ids,
            "country": country,
            "tail": pc.binary_join_element_wise(
                pc.fill_null(ids, ""), pc.binary_join_element_wise(country, "\n", ""), ","
            ),
        }
        return heads, part.invoice - start


def _quoted(text: str) -> str:
    """RFC 4180: quoted only where needed, quotes doubled.

    >>> _quoted('7" FRAME, RED')
    '"7"" FRAME, RED"'
    """
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text


def _price(thousandths: int) -> str:
    """The shortest decimal, as a spreadsheet shows it.

    >>> [_price(n) for n in (2550, 2100, 18000, 1, 0, -11062060)]
    ['2.55', '2.1', '18', '0.001', '0', '-11062.06']
    """
    sign, whole, rest = "-" if thousandths < 0 else "", abs(thousandths) // 1000, abs(thousandths) % 1000
    return f"{sign}{whole}.{rest:03d}".rstrip("0").rstrip(".")
