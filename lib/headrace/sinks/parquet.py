"""Writing one Parquet file whose bytes follow from its rows."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Rows of a row group, which the task that writes holds at once.
GROUP_ROWS = 1 << 17


def write_in_order(rows: DataFrame, order: Sequence[str], columns: Sequence[str], folder: Path) -> Path | None:
    """Write `columns` of the rows, sorted by `order`, into a new file in `folder`, and return it; None without rows.

    The same rows give the same bytes, if no two of them are equal in `order`. One task sorts all rows, on disk where
    they do not fit into its memory, while its Python worker encodes what is sorted already. Streams: batch only.
    """

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow.parquet as pq

        groups = grouped(batches, GROUP_ROWS)
        first = next(groups, None)
        if first is None:
            return
        # A name of its own, as an earlier attempt of the task may still be running elsewhere.
        path = folder / f"part-{uuid.uuid4().hex}.parquet"
        with pq.ParquetWriter(path, first.schema) as out:
            out.write_table(first)
            for group in groups:
                out.write_table(group)
        yield pa.RecordBatch.from_pydict({"file": [path.name]})

    folder.mkdir(parents=True, exist_ok=True)
    in_order = rows.repartition(1).sortWithinPartitions(*order).select(*columns)
    written = in_order.mapInArrow(write, "file string").collect()
    return folder / written[0]["file"] if written else None


def grouped(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    """The rows of batches of any sizes as tables of `size` rows, the last of what is left; none without rows.

    >>> some = [pa.record_batch({"a": pa.array(range(n), pa.int64())}) for n in (2, 0, 5, 1)]
    >>> [table.num_rows for table in grouped(some, 3)]
    [3, 3, 2]
    """
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        while rows >= size:
            whole = pa.Table.from_batches(held)
            yield whole.slice(0, size).combine_chunks()
            held, rows = whole.slice(size).to_batches(), rows - size
    if rows:
        yield pa.Table.from_batches(held).combine_chunks()
