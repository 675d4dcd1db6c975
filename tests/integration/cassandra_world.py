"""A keyspace of a test's own, and files to load into it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from headrace.config import Settings

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


def table_settings(cassandra: str, made: Callable[..., Settings], *more: str) -> Settings:
    """Settings with a new keyspace in that Cassandra."""
    host, _, port = cassandra.rpartition(":")
    keyspace = f"t{uuid.uuid4().hex[:12]}"
    own = [f"cassandra.hosts={host}", f"cassandra.port={port}", f"cassandra.keyspace={keyspace}", "source=cassandra"]
    return made(*own, *more)


def purchases(path: Path, invoices: int = 60) -> Path:
    """Lines with the quirks that matter: equal ones, cancellations, no customer, no description, three decimals."""
    rows = []
    for i in range(invoices):
        number = f"C{5000 + i}" if i % 9 == 0 else str(5000 + i)
        sign = -1 if i % 9 == 0 else 1
        customer = "" if i % 7 == 0 else str(100 + i % 11)
        for line in range(1 + i % 4):
            text = "" if (i + line) % 13 == 0 else f'"A ""box"", size {line}"'
            price = f"{(i * 37 + line) % 900 / 1000:.3f}"
            rows.append(
                f"{number},S{line},{text},{sign * (line + 1)},1/{1 + i % 28}/2011 8:{i % 60:02d},{price},{customer},UK"
            )
        if i % 5 == 0:
            rows.append(rows[-1])
    path.write_text(HEADER + "\n".join(rows) + "\n", "utf-8")
    return path


def count_of(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines()) - 1
