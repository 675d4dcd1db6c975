"""Which generations a driver counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from headrace.speed.handover import HANDED, WANTED
from headrace.speed.wanted import wanted
from headrace.stores.port import Champion, LedgerEntry, Status

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def ledger(**statuses: Status) -> list[LedgerEntry]:
    return [LedgerEntry(int(name[1:]), status, None, name) for name, status in statuses.items()]


@pytest.mark.parametrize(
    ("champion", "entries", "owners", "expected"),
    [
        (Champion(), ledger(), {}, []),
        (Champion(), ledger(g1="sealed"), {}, [1]),
        (Champion(1), ledger(g1="sealed", g2="publishing"), {}, [1]),
        (Champion(1), ledger(g1="sealed", g2="sealed", g3="sealed", g4="abandoned"), {}, [1, 3]),
        (Champion(2, previous=(1,)), ledger(g1="sealed", g2="sealed"), {1: f"{HANDED} 2"}, [2]),
        (Champion(1), ledger(g1="sealed", g2="sealed"), {1: f"{HANDED} 2 until {NOW + SECOND}"}, [2]),
        (Champion(1), ledger(g1="sealed", g2="sealed"), {1: f"{HANDED} 2 until {NOW}"}, [1, 2]),
        (Champion(2, previous=(1,)), ledger(g1="sealed", g2="sealed"), {1: WANTED}, [1, 2]),
        (Champion(2, previous=(1,)), ledger(g1="sealed", g2="sealed"), {1: "ours"}, [1, 2]),
        (Champion(2, previous=(1,)), ledger(g1="sealed", g2="sealed"), {1: "another"}, [2]),
        (Champion(1, previous=(3, 2)), ledger(g1="sealed", g2="sealed", g3="sealed"), {3: f"{HANDED} 1"}, [1]),
        (Champion(1, previous=(3, 2)), ledger(g1="sealed", g3="sealed", g4="sealed"), {}, [1, 4]),
        (Champion(1, challenger=2), ledger(g1="sealed", g2="sealed", g3="sealed"), {}, [1, 2, 3]),
        (Champion(3, previous=(1,), challenger=2), ledger(g1="sealed", g2="sealed", g3="sealed"), {}, [2, 3]),
        (Champion(3, previous=(1,), challenger=1), ledger(g1="sealed", g3="sealed"), {1: f"{HANDED} 3"}, [3]),
        (Champion(1, challenger=2), ledger(g1="sealed", g2="closed"), {}, [1]),
    ],
)
def test_the_champion_the_newest_challenger_and_what_a_rollback_asks_for(
    champion: Champion, entries: list[LedgerEntry], owners: dict[int, str], expected: list[int]
) -> None:
    assert wanted(champion, entries, owners.get, ours="ours", now=NOW) == expected
