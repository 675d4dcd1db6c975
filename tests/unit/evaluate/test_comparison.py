"""How far answers are apart."""

from __future__ import annotations

from headrace.evaluate.comparison import MOST_CHANGES, MOST_EXAMPLES, Comparison


def test_numbers_are_told_by_their_gap_and_shift() -> None:
    told = Comparison()
    for entity in range(100):
        told.add(str(entity), {"score": 1.0}, {"score": 1.0 + (entity >= 90) * 0.5})
    assert told.share == 0.1
    assert told.to_json()["outputs"]["score"] == {
        "compared": 100,
        "differing": 10,
        "gap": {"p50": 0.5, "p95": 0.5, "p99": 0.5, "max": 0.5},
        "mean_shift": 0.05,
    }


def test_names_and_labels_are_told_by_their_changes_the_most_frequent_first() -> None:
    told = Comparison()
    for entity in range(40):
        told.add(
            str(entity), {"segment": "A", "cluster": 1}, {"segment": "B" if entity % 4 else "A", "cluster": entity}
        )
    outputs = told.to_json()["outputs"]
    assert outputs["segment"]["changes"] == [{"from": "A", "to": "B", "entities": 30}]
    assert len(outputs["cluster"]["changes"]) == MOST_CHANGES
    assert outputs["cluster"]["gap"]["max"] == 38.0
    assert len(told.examples) == MOST_EXAMPLES


def test_answers_and_outputs_of_one_side_are_counted_apart() -> None:
    told = Comparison()
    told.add("a", None, None)
    told.add("b", {"x": 1}, None)
    told.add("c", None, {"x": 1})
    told.add("d", {"x": 1, "old": True}, {"x": 1, "new": None})
    found = told.to_json()
    assert [found[name] for name in ("compared", "differing", "only_champion", "only_challenger")] == [1, 1, 1, 1]
    assert found["outputs"]["x"] == {"compared": 1, "differing": 0}
    assert found["outputs"]["old"]["changes"] == [{"from": "True", "to": "none", "entities": 1}]
    assert found["outputs"]["new"]["differing"] == 0


def test_nothing_compared_is_no_share() -> None:
    assert Comparison().to_json()["share"] == 0.0
