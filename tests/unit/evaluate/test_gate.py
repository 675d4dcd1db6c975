"""Gates: which can be declared, and their verdicts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tapped import taps

from headrace.definitions import Gate
from headrace.definitions.archive import definition_sha256, describe
from headrace.errors import DefinitionError
from headrace.evaluate.gate import Verdict
from headrace.models.kmeans import KMeans

TAPS = taps("taps")


@pytest.mark.parametrize(
    ("bound", "found", "fails_by"),
    [
        ({"at_most": 2.0}, 2.0, 0.0),
        ({"at_most": 2.0}, 1.0, 0.0),
        ({"at_most": 2.0}, 2.5, 0.5),
        ({"at_least": 2.0}, 2.0, 0.0),
        ({"at_least": 2.0}, 3.0, 0.0),
        ({"at_least": -1.0}, -1.5, 0.5),
        ({"at_most": 0.0}, 0.25, 0.25),
    ],
)
def test_a_verdict_says_by_how_much_it_fails(bound: dict[str, float], found: float, fails_by: float) -> None:
    verdict = Gate("rmse", **bound).verdict({"rmse": found, "rows": 7})
    assert verdict.fails_by == fails_by
    assert ("too" in verdict.text) == (fails_by > 0)
    assert Verdict.of(json.loads(json.dumps(verdict.to_json()))) == verdict


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "no such bound; found at_most=None, at_least=None"),
        ({"at_most": 1.0, "at_least": 0.0}, "no such bound"),
        ({"at_most": float("nan")}, "no such bound"),
        ({"at_most": 1.0, "share": 1.0}, "no such share"),
    ],
)
def test_gates_that_cannot_be(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        Gate("rmse", **settings)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"gate": Gate("rsme", at_most=1)}, "no such metric; found 'rsme'.*nearest 'rmse'"),
        ({"gate": Gate("rmse", at_least=1)}, "wrong side; expected at_most: less is better"),
        ({"gate": Gate("r2", at_most=1)}, "wrong side; expected at_least: greater is better"),
        ({"gate": Gate("rmse", at_most=1), "learner": None, "target": None}, "a gate but nothing to measure"),
        ({"gate": Gate("rmse", at_most=1), "learner": KMeans(2, features=("n",)), "target": None}, "no such metric"),
    ],
)
def test_gates_that_no_definition_can_have(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        replace(TAPS, **changes)


def test_only_a_gate_is_part_of_the_hash() -> None:
    assert "gate" not in describe(TAPS)
    gated = replace(TAPS, gate=Gate("rmse", at_most=3.0))
    assert describe(gated)["gate"] == {"metric": "rmse", "at_most": 3.0, "at_least": None, "share": 0.2, "seed": 7}
    hashes = {definition_sha256(d) for d in (TAPS, gated, replace(TAPS, gate=Gate("rmse", at_most=4.0)))}
    assert len(hashes) == 3
    assert gated.features_only() == TAPS.features_only()
