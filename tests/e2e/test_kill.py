"""kill -9 at random moments of a run: the champion keeps serving, the rerun completes, the store equals the oracle."""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from .conftest import Shell
from .test_own_definition import MINE

pytestmark = [pytest.mark.spark, pytest.mark.dynamodb]

CUSTOMERS = 400
# Publishing takes a moment where training takes seconds, so it is not left to chance to be met.
STEPS = ["publish", "train", "ingest", "promote"]


def _orders(path: Path, seed: int) -> dict[str, tuple[int, int]]:
    """A file of random orders, and per customer the count and the sum in cents, in plain Python."""
    dice = random.Random(seed)
    expected: dict[str, tuple[int, int]] = {}
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["customer", "paid_at", "amount"])
        for _ in range(4000):
            customer, cents = f"c{dice.randrange(CUSTOMERS)}", dice.randrange(-5000, 100000)
            at = datetime(2026, 1 + dice.randrange(9), 1 + dice.randrange(28), dice.randrange(24))  # noqa: DTZ001
            writer.writerow([customer, f"{at:%Y-%m-%d %H:%M}", f"{cents / 100:.2f}"])
            count, total = expected.get(customer, (0, 0))
            expected[customer] = (count + 1, total + cents)
    return expected


def _require_equal(shell: Shell, expected: dict[str, tuple[int, int]]) -> None:
    found = shell.json("verify", "mine.py:spend")
    assert (found["mismatched"], found["missing"], found["extra"]) == (0, 0, 0)
    assert found["checked"] == len(expected)
    for customer in sorted(expected)[:3]:
        features = shell.json("lookup", "spend", customer)["features"]
        assert (features["orders"], round(features["total"] * 100)) == expected[customer]


@pytest.mark.parametrize("kills", [pytest.param(1, id="short"), pytest.param(10, id="long", marks=pytest.mark.slow)])
def test_killed_runs_are_completed_by_the_next(
    shell: Shell, kills: int, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("HEADRACE_SEED", "20261121")) + kills
    record_property("seed", seed)
    dice = random.Random(seed)
    place = shell.home.parent
    (place / "mine.py").write_text(MINE, "utf-8")
    _orders(place / "orders.csv", seed)
    lasted = shell.json("run", "mine.py:spend", "--input", "orders.csv")["seconds"]
    replayed = 0
    for attempt in range(kills):
        before = shell.json("lookup", "spend", "c1")
        following = _orders(place / "orders.csv", seed + 1 + attempt)
        step = STEPS[attempt % len(STEPS)]
        again = ("run", "mine.py:spend", "--input", "orders.csv", "--replace")
        if shell.killed(*again, said=f"· {step}", after_s=dice.uniform(0, lasted[step])):
            replayed += 1
            served = shell.json("lookup", "spend", "c1")
            if served["generation"] == before["generation"]:
                assert served["features"] == before["features"]
            else:
                assert (served["features"]["orders"], round(served["features"]["total"] * 100)) == following["c1"]
        shell.run(*again)
        _require_equal(shell, following)
    assert replayed, "no run was killed before its end, so nothing was proved"
