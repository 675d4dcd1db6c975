"""Counts and means over the sealed outputs of a generation, one column at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headrace.report.facts import Category, Centre, Centres, Feature, Grid, Histogram

_MOST_VALUES = 30  # more distinct values than this are no category
_BINS = 24
_GRID = ("r_score", "f_score")
_MEASURE = "monetary"


@dataclass(frozen=True)
class Outputs:
    """What all entities of a generation look like together."""

    entities: int
    categories: tuple[Category, ...]
    features: tuple[Feature, ...]
    grid: Grid | None
    example: str | None


def outputs_of(state: Path) -> Outputs:
    """Read a generation's state files: entity, and the structs `features` and `prediction` where there are any.

    Categories are outputs of few distinct texts or whole numbers; outputs named *_score are not, as pairs of them
    make the grid (recency by frequency, with the mean of `monetary`). Holds a column or three in memory, no row.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    data = ds.dataset(state, format="parquet")
    kinds = {
        part: {field.name: field.type for field in data.schema.field(part).type} if part in data.schema.names else {}
        for part in ("features", "prediction")
    }
    entities = data.count_rows()
    head = data.head(1, columns=["entity"]).column("entity") if entities else []
    categories = []
    for name, kind in kinds["prediction"].items():
        numeric = pa.types.is_integer(kind)
        if not name.endswith("_score") and (numeric or pa.types.is_string(kind) or pa.types.is_boolean(kind)):
            counts = _counts(_column(data, "prediction", name))
            if counts is not None:
                categories.append(Category(name, "number" if numeric else "name", _sorted(counts, numeric=numeric)))
    features = [
        _feature(name, _column(data, "features", name))
        for name, kind in kinds["features"].items()
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    ]
    grid = _grid(data, measured=_MEASURE in kinds["features"]) if set(_GRID) <= set(kinds["prediction"]) else None
    return Outputs(entities, tuple(categories), tuple(features), grid, str(head[0]) if len(head) else None)


def centres_of(parameters: Mapping[str, Any] | None, sizes: Mapping[str, int]) -> Centres | None:
    """Centres from the parameters of a k-means learner, None for any other; `sizes` by cluster number as text."""
    if parameters is None or not {"centers", "labels", "min", "max", "features"} <= set(parameters):
        return None
    low, high = np.array(parameters["min"], dtype=float), np.array(parameters["max"], dtype=float)
    rows = [
        Centre(
            label=int(label),
            entities=sizes.get(str(label)),
            values=tuple((low + np.array(centre) * (high - low)).tolist()),
            scaled=tuple(float(value) for value in centre),
        )
        for label, centre in zip(parameters["labels"], parameters["centers"], strict=False)
    ]
    return Centres(tuple(parameters["features"]), tuple(sorted(rows, key=lambda row: row.label)))


def _column(data: Any, struct: str, name: str) -> Any:
    import pyarrow.compute as pc

    return data.to_table(columns={name: pc.field(struct, name)}).column(name)


def _counts(column: Any) -> dict[str, int] | None:
    values = column.value_counts()
    if len(values) > _MOST_VALUES:
        return None
    return {str(one["values"]) if one["values"] is not None else "none": one["counts"] for one in values.to_pylist()}


def _sorted(counts: Mapping[str, int], *, numeric: bool) -> dict[str, int]:
    def place(item: tuple[str, int]) -> tuple[Any, ...]:
        value, count = item
        return (
            (not value.lstrip("-").isdigit(), int(value) if value.lstrip("-").isdigit() else 0)
            if numeric
            else (-count, value)
        )

    return dict(sorted(counts.items(), key=place))


def _feature(name: str, column: Any) -> Feature:
    import pyarrow as pa

    present = column.cast(pa.float64()).drop_null().to_numpy()
    if not len(present):
        return Feature(name, 0, column.null_count, None, None, None, None)
    low, median, most, high = (float(q) for q in np.quantile(present, [0, 0.5, 0.99, 1]))
    mean = float(present.mean())
    return Feature(name, len(present), column.null_count, low, median, mean, high, _histogram(present, low, most, high))


def _histogram(values: Any, low: float, most: float, high: float) -> Histogram:
    # A few far values would squeeze all others into the first bar: they are counted in the last one instead.
    tail = most > low and (high - low) > 3 * (most - low)
    end = most if tail else high
    counts, edges = np.histogram(np.minimum(values, end), bins=_BINS if end > low else 1, range=(low, max(end, low)))
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()), int((values > end).sum()))


def _grid(data: Any, *, measured: bool) -> Grid:
    import pyarrow.compute as pc

    row, column = _GRID
    read = {row: pc.field("prediction", row), column: pc.field("prediction", column)}
    if measured:
        read["measure"] = pc.field("features", _MEASURE).cast("double")
    asked = [(row, "count"), *([("measure", "mean")] if measured else [])]
    cells = data.to_table(columns=read).drop_null().group_by([row, column]).aggregate(asked).to_pylist()
    by = {(cell[row], cell[column]): cell for cell in cells}
    rows, columns = (tuple(sorted({place[axis] for place in by})) for axis in (0, 1))
    counts = tuple(tuple(by.get((r, c), {}).get(f"{row}_count", 0) for c in columns) for r in rows)
    means = tuple(tuple(by.get((r, c), {}).get("measure_mean") for c in columns) for r in rows) if measured else ()
    return Grid(row, column, rows, columns, counts, _MEASURE if measured else None, means)
