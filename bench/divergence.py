"""Live parameters against a full retrain on real samples in their order, and River's beside them.

A generation is fitted at the first checkpoint and held. At each checkpoint there are four sets of parameters: those
that were fitted; these moved by the contributions of later samples, which is what is served; a full retrain's; and
River's, which learned every sample one by one. Each is measured on the samples of the next window, which none has seen
(progressive validation), and its distance from the retrain's is taken in the units that the generation scales by.

Fits are without Spark: least squares and Newton steps of the learners' own contributions until they stay, which is the
optimum that Spark ML finds to 1e-5 (tests/unit/models), and scikit-learn's k-means, the best of ten starts.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans as Clusters

from bench.divergence_data import Case, churn, clicks, rides, users
from bench.measure import Metric
from bench.peers import PEER_PYTHON, ROOT
from headrace.models.kmeans import KMeans, labels_by_nearest

WAYS = ("fitted", "live", "retrain", "river")
_METRICS = {"linear": "rmse", "logistic": "log_loss", "kmeans": "squared_distance"}
_STEPS = 50
Parameters = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """Of one case: for each way and window the metric, and the distance from the retrain's parameters."""

    case: Case
    metric: str
    river: str
    values: dict[str, list[float]]
    distances: dict[str, list[float]]


def run(work: Path, data: Path, plots: Path) -> Iterator[Metric]:
    every = []
    for cases in (rides, churn, clicks, users):
        for case in cases(data):
            every.append(_measured(case, work))
            sys.stderr.write(table(every[-1]))
            yield _metric(every[-1])
    sys.stderr.write(f"plot: {_drawn(every, plots)}\n")


def _measured(case: Case, work: Path) -> Found:
    fitted = _fitted(case, 0, None)
    learner, metric = case.learner, _METRICS[case.learner.kind]
    river = _rivers(case, fitted, work)
    measure = _MEASURES[learner.kind]
    values: dict[str, list[float]] = {way: [] for way in WAYS}
    distances: dict[str, list[float]] = {way: [] for way in WAYS}
    best = min(
        river, key=lambda setting: sum(measure(case, river[setting][at], case.window(at)) for at in case.windows)
    )
    for at in case.windows:
        made = {
            "fitted": fitted,
            "live": learner.live(fitted, learner.contribution(fitted, case.since(at))),
            "retrain": fitted if at == 0 else _fitted(case, at, fitted),
            "river": river[best][at],
        }
        for way, parameters in made.items():
            values[way].append(measure(case, parameters, case.window(at)))
            distances[way].append(_distance(parameters, made["retrain"], fitted))
    return Found(case, metric, best, values, distances)


def _fitted(case: Case, at: int, base: Parameters | None) -> Parameters:
    """A fit on all that a retrain at a checkpoint sees; clusters keep the numbers of the base's nearest."""
    learner, rows = case.learner, case.training(at)
    if isinstance(learner, KMeans):
        low, high = rows.min(axis=0), rows.max(axis=0)
        found = Clusters(learner.k, n_init=10, random_state=learner.seed).fit((rows - low) / (high - low))
        made: Parameters = {"features": list(case.columns), "min": low.tolist(), "max": high.tolist()}
        made["centers"] = found.cluster_centers_.tolist()
        return {**made, "labels": labels_by_nearest(made, base)}
    means, scales = rows.mean(axis=0).tolist(), rows.std(axis=0).tolist()
    made = {"features": list(case.columns[:-1]), "mean": means[:-1], "scale": scales[:-1]}
    nothing = [0.0] * (len(means) - 1)
    if learner.kind == "linear":
        made |= {"target_mean": means[-1], "target_scale": scales[-1], "coefficients": nothing, "intercept": 0.0}
    else:
        made |= {"classes": 2, "coefficients": [nothing], "intercepts": [0.0]}
    for _ in range(_STEPS):
        before = made
        made = learner.live({**made, "contribution": learner.empty(made)}, learner.contribution(made, rows))
        if np.allclose(np.ravel(made["coefficients"]), np.ravel(before["coefficients"]), rtol=0, atol=1e-8):
            return {**made, "contribution": learner.contribution(made, rows)}
    raise RuntimeError(f"{case.name} does not stay within {_STEPS} steps at checkpoint {at}")


def _rivers(case: Case, fitted: Parameters, work: Path) -> dict[str, list[Parameters]]:
    """By setting: its parameters at each checkpoint, as ours are written, in the units of the generation."""
    held: dict[str, Any] = {
        "kind": case.learner.kind,
        "k": getattr(case.learner, "k", 0),
        "checkpoints": len(case.windows),
    }
    before = 0
    for at in case.windows:
        training = case.training(at) if case.of_entities else _in_order(case, at)
        held[f"samples_{at}"] = _unit(fitted, training if case.of_entities else training[before:])
        before = len(training)
    np.savez(work / "samples.npz", **held)
    told = subprocess.run(
        [str(PEER_PYTHON), "-m", "bench.divergence_river", str(work / "samples.npz")],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
    ).stdout  # fmt: skip
    return {setting: [_as_ours(fitted, one) for one in found] for setting, found in json.loads(told).items()}


def _in_order(case: Case, at: int) -> np.ndarray:
    order = np.argsort(case.known, kind="stable")
    return case.rows[order][case.known[order] < case.times[at]]


def _unit(fitted: Parameters, rows: np.ndarray) -> np.ndarray:
    """Samples in the units that the generation scales by; classes stay as they are."""
    if "min" in fitted:
        low, high = np.array(fitted["min"]), np.array(fitted["max"])
        return (rows - low) / (high - low)
    mean, scale = [*fitted["mean"], fitted.get("target_mean", 0.0)], [*fitted["scale"], fitted.get("target_scale", 1.0)]
    return (rows - mean) / scale


def _as_ours(fitted: Parameters, told: list[Any]) -> Parameters:
    """Parameters in the generation's units, as a learner scores by them."""
    if "min" in fitted:
        made = {**fitted, "centers": told}
        return {**made, "labels": labels_by_nearest(made, fitted)}
    intercept, *coefficients = told
    if "target_mean" in fitted:
        return {**fitted, "coefficients": coefficients, "intercept": intercept}
    return {**fitted, "coefficients": [coefficients], "intercepts": [intercept]}


def _rmse(case: Case, parameters: Parameters, rows: np.ndarray) -> float:
    told = case.learner.score(parameters, rows[:, :-1])["prediction"]
    return float(np.sqrt(np.mean((told - rows[:, -1]) ** 2)))


def _log_loss(case: Case, parameters: Parameters, rows: np.ndarray) -> float:
    told = case.learner.score(parameters, rows[:, :-1])
    likely = np.where(rows[:, -1] == 1, told["probability_1"], told["probability_0"])
    return float(-np.log(np.maximum(likely, 1e-15)).mean())


def _squared_distance(_case: Case, parameters: Parameters, rows: np.ndarray) -> float:
    """The mean to the nearest centre, in the features' own units."""
    low, high = np.array(parameters["min"]), np.array(parameters["max"])
    centers = low + np.array(parameters["centers"]) * (high - low)
    apart = ((rows[:, None] - centers) ** 2).sum(axis=2)
    return float(apart.min(axis=1).mean())


_MEASURES: dict[str, Callable[[Case, Parameters, np.ndarray], float]] = {
    "linear": _rmse,
    "logistic": _log_loss,
    "kmeans": _squared_distance,
}


def _distance(parameters: Parameters, other: Parameters, fitted: Parameters) -> float:
    """Of coefficients and intercept: the length of the difference by that of the other's, in the generation's units.

    Of centres: the root of the mean squared distance of those of one number, in the generation's units.
    """
    if "min" in fitted:
        ours, theirs = (_centres(made, fitted) for made in (parameters, other))
        return float(np.sqrt(np.mean([((ours[label] - theirs[label]) ** 2).sum() for label in theirs])))
    ours, theirs = (_weights(made, fitted) for made in (parameters, other))
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def _weights(parameters: Parameters, fitted: Parameters) -> np.ndarray:
    """Intercept and coefficients over inputs, and of a number a target, scaled as the generation scales them."""
    own = np.array(parameters["coefficients"], dtype=float).ravel() / parameters["scale"]
    intercept = float(np.ravel(parameters.get("intercept", parameters.get("intercepts")))[0])
    intercept -= float(own @ parameters["mean"])
    if "target_mean" in parameters:
        own, intercept = own * parameters["target_scale"], intercept * parameters["target_scale"]
        intercept = (intercept + parameters["target_mean"] - fitted["target_mean"]) / fitted["target_scale"]
        own = own / fitted["target_scale"]
    return np.array([intercept + own @ fitted["mean"], *(own * fitted["scale"])])


def _centres(parameters: Parameters, fitted: Parameters) -> dict[int, np.ndarray]:
    low, high = (np.array(parameters[end]) for end in ("min", "max"))
    own = _unit(fitted, low + np.array(parameters["centers"]) * (high - low))
    return dict(zip(parameters["labels"], own, strict=True))


def _metric(found: Found) -> Metric:
    means = {way: float(np.mean(found.values[way])) for way in WAYS}
    ratios = sorted(a / b for a, b in zip(found.values["live"], found.values["river"], strict=True))
    last = {way: found.distances[way][-1] for way in WAYS}
    return Metric(
        metric=f"divergence_{found.case.name.replace(' ', '_')}_{found.metric}",
        ours=round(means["live"], 5),
        peer=round(means["river"], 5),
        ratio=round(means["live"] / means["river"], 3),
        spread=(round(ratios[0], 3), round(ratios[-1], 3)),
        target="<= 1",
        met=means["live"] <= means["river"],
        detail={
            "fitted": round(means["fitted"], 5),
            "retrain": round(means["retrain"], 5),
            "river_setting": float(found.river),
            "times": [round(float(time), 2) for time in found.case.times],
            "unit": found.case.unit,
            "windows": {way: [round(value, 5) for value in found.values[way]] for way in WAYS},
            "distances": {way: [float(f"{value:.3g}") for value in found.distances[way]] for way in WAYS},
            "distance_at_last": {way: float(f"{value:.3g}") for way, value in last.items()},
        },
    )


def table(found: Found) -> str:
    """The windows of a case, one a line."""
    heads = [*WAYS, *(f"{way}-retrain" for way in ("fitted", "live", "river"))]
    lines = [f"\n{found.case.name}: {found.metric} on the next window, and distance of parameters from a retrain's"]
    lines.append(f"{found.case.unit:>24} {'samples':>8} " + " ".join(f"{head:>15}" for head in heads))
    for at in found.case.windows:
        values = [found.values[way][at] for way in WAYS]
        apart = [found.distances[way][at] for way in ("fitted", "live", "river")]
        shown = " ".join(f"{value:>15.5g}" for value in (*values, *apart))
        lines.append(f"{found.case.times[at]:>24.1f} {len(found.case.window(at)):>8} {shown}")
    return "\n".join(lines) + "\n"


def _drawn(every: list[Found], folder: Path) -> Path:
    """Above the metric on the next window, below the distance from a retrain, a column a case."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    colours = dict(zip(WAYS, ("#999999", "#d55e00", "#0072b2", "#009e73"), strict=True))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "headrace"}):
        figure = Figure(figsize=(3.4 * len(every), 5.6), layout="constrained")
        axes = figure.subplots(2, len(every), squeeze=False)
        for (above, below), found in zip(axes.T, every, strict=True):
            for way in WAYS:
                above.plot(found.case.times[:-1], found.values[way], ".-", label=way, color=colours[way])
            for way in ("fitted", "live", "river"):
                # At the first checkpoint, what was fitted there is the retrain's.
                below.plot(found.case.times[1:-1], found.distances[way][1:], ".-", color=colours[way])
            above.set_title(f"{found.case.name}: {found.metric.replace('_', ' ')}")
            below.set(title="distance from a retrain", yscale="log", xlabel=found.case.unit)
        axes[0][0].legend()
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / "divergence.svg", metadata={"Date": None})
    return folder / "divergence.svg"
