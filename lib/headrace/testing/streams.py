"""One transform over the same rows as a batch frame and as a stream."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from headrace.testing.frames import bag_faults, cells

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

Transform = Callable[["DataFrame"], "DataFrame"]
LIMIT_S = 300


def through(
    transform: Transform, rows: DataFrame, chunks: int = 3, mode: Literal["append", "complete"] = "append"
) -> DataFrame:
    """Assert that a transform means the same for a batch frame and for a stream; returns its batch result.

    The rows are dealt to `chunks` files, neighbours to different ones, and streamed one file per micro-batch.
    mode: `append` for a transform of rows, such as a definition's `prepare`: each row's result depends on that row
    alone, so no state may be kept. `complete` for an aggregation: the last full result counts.
    rows: the same whenever they are computed; they are collected, so keep them to what a test needs.

    Raises AssertionError when Spark refuses to stream the transform, when it keeps state between micro-batches in
    `append` mode, or when the results differ, with the rows that only one side has. Takes seconds: call it once per
    transform, not per example.
    """
    from pyspark.errors import AnalysisException, StreamingQueryException

    if mode not in ("append", "complete"):
        raise ValueError(f"mode {mode!r} is not known; expected 'append' or 'complete'")
    if chunks < 1:
        raise ValueError(f"at least one chunk is needed; found {chunks}")
    batch = transform(rows)
    expected = cells(batch)
    with tempfile.TemporaryDirectory(prefix="headrace-through-") as folder:
        _deal(rows.toArrow(), Path(folder) / "rows", chunks)
        try:
            streamed, collected, stateful = _streamed(transform, rows, Path(folder), mode)
        except (AnalysisException, StreamingQueryException) as error:
            reason = str(error).strip().splitlines()[0]
            raise AssertionError(f"the transform does not run on a stream in {mode} mode: {reason}") from error
    if stateful and mode == "append":
        raise AssertionError(
            f"the transform is not row by row: on a stream it keeps state between micro-batches ({stateful}); "
            "a transform of rows may not group, de-duplicate or join stream with stream"
        )
    faults = bag_faults(("batch", expected), ("stream", cells(streamed, collected)))
    if faults:
        lines = "\n".join(f"  {fault}" for fault in faults)
        raise AssertionError(f"the transform gives other rows on a stream of {chunks} chunks than in batch\n{lines}")
    return batch


def _deal(table: pa.Table, folder: Path, chunks: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    for chunk in range(chunks):
        path = folder / f"{chunk:05d}.parquet"
        pq.write_table(table.take(pa.array(range(chunk, table.num_rows, chunks), pa.int64())), path)
        # a stream of files reads the oldest first, to the millisecond
        os.utime(path, (1_000_000_000 + chunk, 1_000_000_000 + chunk))


def _streamed(
    transform: Transform, rows: DataFrame, folder: Path, mode: Literal["append", "complete"]
) -> tuple[DataFrame, list[Any], str]:
    """The transformed streaming frame, the rows it gave, and the names of the operators that keep state."""
    source = rows.sparkSession.readStream.schema(rows.schema).option("maxFilesPerTrigger", 1)
    streamed = transform(source.parquet(str(folder / "rows")))
    if not streamed.isStreaming:
        raise AssertionError("the transform's result does not depend on the rows it was given: it is no stream")
    collected: list[Any] = []

    def collect(micro_batch: DataFrame, _number: int) -> None:
        if mode == "complete":
            collected.clear()
        collected.extend(micro_batch.collect())

    query = (
        streamed.writeStream.foreachBatch(collect)
        .outputMode(mode)
        .option("checkpointLocation", str(folder / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    try:
        if not query.awaitTermination(LIMIT_S):
            raise AssertionError(f"the stream did not end within {LIMIT_S} s")
        operators = {state["operatorName"] for progress in query.recentProgress for state in progress["stateOperators"]}
    finally:
        query.stop()
    return streamed, collected, ", ".join(sorted(operators))
