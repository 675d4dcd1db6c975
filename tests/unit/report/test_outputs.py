"""Counts and means over sealed outputs, against pandas."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.report import Centre, centres_of, outputs_of

COUNT = 1_000


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "entity": [f"c{n}" for n in range(COUNT)],
            "recency": rng.integers(0, 374, COUNT).astype(np.int32),
            "monetary": rng.lognormal(5, 2, COUNT),
            "cluster": rng.integers(0, 12, COUNT).astype(np.int32),
            "segment": rng.choice(["Champions", "At Risk", "New"], COUNT, p=[0.5, 0.3, 0.2]),
            "r_score": rng.integers(1, 6, COUNT).astype(np.int32),
            "f_score": rng.integers(1, 4, COUNT).astype(np.int32),
            "code": [f"{n:03d}" for n in range(COUNT)],
        }
    )


def struct(frame, names):
    columns = [pa.array(frame[name]) for name in names]
    return pa.StructArray.from_arrays(columns, names)


@pytest.fixture(scope="module")
def outputs(frame, tmp_path_factory):
    state = tmp_path_factory.mktemp("generation") / "state"
    state.mkdir()
    (state / "_SUCCESS").write_text("")
    for n, part in enumerate((frame[:600], frame[600:])):
        table = {
            "entity": pa.array(part["entity"], pa.string()),
            "state": pa.array([b"x"] * len(part)),
            "features": struct(part, ["recency", "monetary"]),
            "prediction": struct(part, ["cluster", "segment", "r_score", "f_score", "code"]),
        }
        pq.write_table(pa.table(table), state / f"part-{n}.parquet")
    return outputs_of(state)


def test_categories_are_counted_and_ordered(outputs, frame):
    by_name = {category.name: category for category in outputs.categories}
    assert list(by_name) == ["cluster", "segment"]  # scores make the grid, and a thousand codes are no category
    assert by_name["cluster"].kind == "number"
    assert list(by_name["cluster"].counts) == [str(n) for n in range(12)]
    assert by_name["segment"].kind == "name"
    assert by_name["segment"].counts == frame["segment"].value_counts().to_dict()
    assert list(by_name["segment"].counts) == ["Champions", "At Risk", "New"]
    assert outputs.entities == COUNT
    assert outputs.example == "c0"


def test_features_are_described(outputs, frame):
    recency, monetary = outputs.features
    assert (recency.least, recency.median, recency.greatest) == (
        frame["recency"].min(),
        frame["recency"].median(),
        frame["recency"].max(),
    )
    assert monetary.mean == pytest.approx(frame["monetary"].mean())
    assert (recency.entities, recency.missing) == (COUNT, 0)


def test_histograms_count_everybody_and_keep_a_long_tail_in_the_last_bar(outputs, frame):
    recency, monetary = outputs.features
    assert sum(recency.histogram.counts) == sum(monetary.histogram.counts) == COUNT
    assert recency.histogram.beyond == 0
    end = np.quantile(frame["monetary"], 0.99)
    assert monetary.histogram.edges[-1] == pytest.approx(end)
    assert monetary.histogram.beyond == (frame["monetary"] > end).sum() > 0


def test_the_grid_has_counts_and_means_of_monetary(outputs, frame):
    grid = outputs.grid
    assert (grid.row, grid.column, grid.measure) == ("r_score", "f_score", "monetary")
    assert (grid.row_values, grid.column_values) == ((1, 2, 3, 4, 5), (1, 2, 3))
    groups = frame.groupby(["r_score", "f_score"])["monetary"]
    for r, row in zip(grid.row_values, grid.counts, strict=True):
        assert list(row) == [groups.size()[r, c] for c in grid.column_values]
    for r, row in zip(grid.row_values, grid.means, strict=True):
        assert list(row) == pytest.approx([groups.mean()[r, c] for c in grid.column_values])


def test_features_alone_without_predictions_and_with_nulls(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    features = pa.array([{"total": 1.5, "last": "x"}, {"total": None, "last": "y"}, {"total": 2.5, "last": "z"}])
    pq.write_table(pa.table({"entity": ["a", "b", "c"], "features": features}), state / "p.parquet")
    outputs = outputs_of(state)
    (total,) = outputs.features
    assert (total.name, total.entities, total.missing, total.least, total.greatest) == ("total", 2, 1, 1.5, 2.5)
    assert outputs.categories == ()
    assert outputs.grid is None


def test_a_generation_without_entities(tmp_path):
    kind = pa.struct([("total", pa.float64())])
    pq.write_table(
        pa.table({"entity": pa.array([], pa.string()), "features": pa.array([], kind)}), tmp_path / "p.parquet"
    )
    outputs = outputs_of(tmp_path)
    assert (outputs.entities, outputs.example) == (0, None)
    assert outputs.features[0].greatest is None


def test_centres_are_in_the_features_own_units_and_ordered_by_number():
    parameters = {
        "features": ["recency", "monetary"],
        "min": [0.0, -100.0],
        "max": [200.0, 900.0],
        "centers": [[0.5, 0.25], [0.0, 1.0]],
        "labels": [4, 1],
    }
    centres = centres_of(parameters, {"4": 10})
    assert centres.features == ("recency", "monetary")
    assert centres.rows == (Centre(1, None, (0.0, 900.0), (0.0, 1.0)), Centre(4, 10, (100.0, 150.0), (0.5, 0.25)))


def test_other_learners_have_no_centres():
    assert centres_of(None, {}) is None
    assert centres_of({"coefficients": [1.0]}, {}) is None
