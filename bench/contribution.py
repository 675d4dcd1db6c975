"""What two million rows of twenty features and a target contribute to X'X, exactly, beside NumPy on the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.measure import Metric, compared, cpu, in_this_process_alone, side_by_side
from headrace.models.linear import LinearRegression

ROWS = 2_000_000
FEATURES = tuple(f"x{place}" for place in range(20))


def run(_work: Path, _source: Path) -> Iterator[Metric]:
    """CPU seconds in memory, against NumPy doing the same (centred, scaled, with ones) and against its bare product."""
    random = np.random.default_rng(7)
    rows = random.normal(
        random.uniform(-50, 50, len(FEATURES) + 1), random.uniform(0.1, 9, len(FEATURES) + 1), (ROWS, 21)
    )
    learner, mean, scale = LinearRegression(FEATURES), rows.mean(axis=0), rows.std(axis=0)
    parameters = {
        "mean": mean[:-1].tolist(),
        "scale": scale[:-1].tolist(),
        "target_mean": mean[-1],
        "target_scale": scale[-1],
    }

    def same() -> np.ndarray:
        scaled = np.column_stack([np.ones(len(rows)), (rows - mean) / scale])
        return scaled.T @ scaled

    _require_equal(learner.contribution(parameters, rows), same())
    for name, peer in (("numpy", same), ("bare_product", lambda: rows.T @ rows)):
        mine, theirs = side_by_side(
            lambda: in_this_process_alone(lambda: learner.contribution(parameters, rows)),
            lambda peer=peer: in_this_process_alone(peer),
            rounds=7,
        )
        yield compared(f"contribution_2m_x20_cpu_vs_{name}", mine, theirs, cpu, at_most=2)


def _require_equal(contribution: dict[str, object], theirs: np.ndarray) -> None:
    ours = np.array([total / 4**30 for total in contribution["products"]])
    upper = theirs[np.triu_indices(len(theirs))]
    assert contribution["skipped"] == 0
    assert np.abs(ours - upper).max() < 1e-9 * ROWS
