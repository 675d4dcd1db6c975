"""What River learns of the same samples, in its own environment: `python -m bench.divergence_river FILE`.

FILE: NumPy's npz of `kind`, `k`, and for each checkpoint `samples_0`, ...: what is learned up to it and was not before,
scaled, an event's target last. On standard output: for each setting tried, the parameters at every checkpoint.
"""

from __future__ import annotations

import json
import sys

import numpy as np

RATES = (0.001, 0.01, 0.1)  # River's own: 0.01
HALF_LIVES = (0.01, 0.1, 0.5)  # River's own: 0.5


def _regression(kind: str, rate: float, chunks: list[np.ndarray]) -> list[list[float]]:
    from river import linear_model, optim

    made = linear_model.LinearRegression if kind == "linear" else linear_model.LogisticRegression
    model = made(optimizer=optim.SGD(rate), intercept_lr=rate)
    found = []
    for chunk in chunks:
        for row in chunk.tolist():
            model.learn_one(dict(enumerate(row[:-1])), row[-1] if kind == "linear" else row[-1] > 0)
        found.append([model.intercept, *(model.weights.get(name, 0.0) for name in range(chunks[0].shape[1] - 1))])
    return found


def _clusters(k: int, half_life: float, chunks: list[np.ndarray]) -> list[list[list[float]]]:
    from river import cluster

    # Its first centres are drawn where the samples are: scaled ones are between 0 and 1.
    model = cluster.KMeans(n_clusters=k, halflife=half_life, mu=0.5, sigma=0.2, seed=7)
    found = []
    for chunk in chunks:
        for row in chunk.tolist():
            model.learn_one(dict(enumerate(row)))
        found.append([[centre[name] for name in range(chunk.shape[1])] for _, centre in sorted(model.centers.items())])
    return found


def main() -> None:
    held = np.load(sys.argv[1], allow_pickle=False)
    kind, chunks = str(held["kind"]), [held[f"samples_{at}"] for at in range(int(held["checkpoints"]))]
    if kind == "kmeans":
        told = {half: _clusters(int(held["k"]), half, chunks) for half in HALF_LIVES}
    else:
        told = {rate: _regression(kind, rate, chunks) for rate in RATES}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
