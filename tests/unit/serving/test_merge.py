"""From a stored item to an answer."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from published import NOW, ledger_info, version

from headrace.errors import StoreError
from headrace.schemas import Vector
from headrace.serving.merge import Answer, Generation, Served, answer
from headrace.stores.port import TOMBSTONE, Champion, Held, LedgerEntry, Progress, SpeedItem, Version


def generation(number: int, **info: object) -> Generation:
    return Generation.of(LedgerEntry(number, "sealed", None, "m", info=ledger_info(number, **info)))


def test_an_answer_is_spelled_as_the_contract_has_it() -> None:
    found = answer(
        "segments", "17850", Served(Champion(3, floor=1), generation(3)), Held({3: version(302, 1)}), now=NOW
    )
    assert found is not None
    assert found.to_json() == {
        "definition": "segments",
        "entity": "17850",
        "prediction": {"cluster": 1, "segment": "Can't Lose"},
        "features": {"recency": 302},
        "layer": "batch",
        "generation": 3,
        "vector": [["", "file", 300]],
        "as_of": "2026-03-01T11:00:00Z",
        "age_s": 3600.0,
        "stale": False,
    }
    assert list(found.to_json()["prediction"]) == ["cluster", "segment"], "the declared order is kept"


def test_generation_and_vector_are_the_champions_when_the_version_is_older() -> None:
    found = answer("segments", "e", Served(Champion(9, floor=2), generation(9)), Held({2: version(1, 5)}), now=NOW)
    assert found is not None
    assert (found.generation, found.vector, found.prediction["cluster"]) == (9, [["", "file", 900]], 5)


@pytest.mark.parametrize(
    ("champion", "versions", "cluster"),
    [
        (Champion(10, floor=1), {9: version(0, 9), 10: version(0, 10)}, 10),
        (Champion(10, floor=1), {9: version(0, 9), 11: version(0, 11)}, 9),
        (Champion(10, floor=1, skip=frozenset({9})), {8: version(0, 8), 9: version(0, 9)}, 8),
        (Champion(10, floor=9), {8: version(0, 8)}, None),
        (Champion(10, floor=1), {8: version(0, 8), 10: TOMBSTONE}, None),
        (Champion(10, floor=1, skip=frozenset({10})), {8: version(0, 8), 10: TOMBSTONE}, 8),
        (Champion(10, floor=1), {}, None),
    ],
)
def test_the_champion_chooses_the_version(
    champion: Champion, versions: dict[int, Version], cluster: int | None
) -> None:
    found = answer("segments", "e", Served(champion, generation(10)), Held(versions), now=NOW)
    assert (found and found.prediction["cluster"]) == cluster


@pytest.mark.parametrize(("max_age_s", "stale"), [(None, False), (3600.0, False), (3599.9, True), (0.0, True)])
def test_an_answer_older_than_max_age_says_so(max_age_s: float | None, stale: bool) -> None:
    made = generation(1, max_age_s=max_age_s)
    found = answer("segments", "e", Served(Champion(1, floor=1), made), Held({1: version(1, 1)}), now=NOW)
    assert found is not None
    assert found.stale is stale


def test_a_readers_clock_behind_the_cut_is_age_zero() -> None:
    assert Served(Champion(1), generation(1)).age_s(NOW - timedelta(days=1)) == 0.0


def test_as_of_is_told_in_utc() -> None:
    assert generation(1, as_of="2026-03-01T12:30:00.5+01:30").as_of == datetime(2026, 3, 1, 11, 0, 0, 500000, UTC)


@pytest.mark.parametrize("broken", [{"as_of": "yesterday"}, {"as_of": "2026-03-01T11:00:00"}, {"cut": None}])
def test_a_damaged_ledger_entry_is_named(broken: dict[str, object]) -> None:
    with pytest.raises(StoreError, match="ledger entry of generation 4"):
        generation(4, **broken)


@pytest.mark.parametrize("outputs", ["", "[]", "{}", '{"features":{}}', "{'features'"])
def test_damaged_outputs_are_named_without_showing_them(outputs: str) -> None:
    with pytest.raises(StoreError, match=r"outputs of an entity of 'segments'.*version 1.*publish"):
        answer(
            "segments", "e", Served(Champion(1, floor=1), generation(1)), Held({1: Version(b"{}", outputs)}), now=NOW
        )


def test_features_of_a_readers_clock_are_finished_at_now_and_the_prediction_is_as_stored() -> None:
    from headrace.algebra import Count, DaysSince, Max, encode

    features = {"visits": Count(), "recency": DaysSince(Max("at"))}
    types = {"at": "timestamp"}
    event = {"at": datetime(2026, 2, 1, 23, 30, tzinfo=UTC)}
    state = encode({name: aggregate.lift(event, types) for name, aggregate in features.items()})
    made = replace(
        generation(1, clock="reader", theta={"reference": "2026-02-02T00:00:00+00:00", "zone": "UTC", "types": types}),
        description={"features": [{"name": n, "aggregate": a.describe()} for n, a in features.items()]},
    )
    stored = Version(state, json.dumps({"features": {"visits": 1, "recency": 1}, "prediction": {"cluster": 4}}))

    def at(now: datetime) -> Answer:
        found = answer("segments", "e", Served(Champion(1, floor=1), made), Held({1: stored}), now=now)
        assert found is not None
        return found

    assert at(datetime(2026, 2, 11, tzinfo=UTC)).features == {"visits": 1, "recency": 10}
    assert at(datetime(2026, 3, 1, tzinfo=UTC)).features == {"visits": 1, "recency": 28}
    assert at(datetime(2026, 3, 1, tzinfo=UTC)).prediction == {"cluster": 4}

    later = {
        name: aggregate.lift({"at": datetime(2026, 2, 9, tzinfo=UTC)}, types) for name, aggregate in features.items()
    }
    held = Held({1: stored}, SpeedItem(encode(later), stored.outputs or "", FAR))
    both = answer("segments", "e", Served(Champion(1, floor=1), made), held, now=datetime(2026, 2, 11, tzinfo=UTC))
    assert both is not None
    assert both.features == {"visits": 2, "recency": 2}


FAR = Vector({("", "file"): 100, ("t", "0"): 5})
SAID = '{"features":{"recency":7},"prediction":{"cluster":8}}'


def test_a_speed_item_answers_with_what_it_and_the_progress_have_counted() -> None:
    progress = Progress("segments", 1, FAR, 3, "driver", NOW - timedelta(seconds=2))
    item = SpeedItem(b"{}", SAID, Vector({("t", "0"): 9, ("t", "1"): 4}))
    served = Served(Champion(1, floor=1), generation(1), progress)
    found = answer("segments", "e", served, Held({1: version(1, 1)}, item), now=NOW)
    assert found is not None
    assert (found.layer, found.prediction, found.features) == ("speed", {"cluster": 8}, {"recency": 7})
    assert found.vector == [["", "file", 100], ["t", "0", 9], ["t", "1", 4]]
    assert found.age_s == 2.0


def test_a_key_without_a_speed_item_has_the_progress_as_its_vector() -> None:
    progress = Progress("segments", 1, FAR, 3, "driver", NOW - timedelta(seconds=2))
    served = Served(Champion(1, floor=1), generation(1), progress)
    found = answer("segments", "e", served, Held({1: version(1, 1)}), now=NOW)
    assert found is not None
    assert (found.layer, found.vector, found.age_s) == ("batch", FAR.to_json(), 2.0)
    assert answer("segments", "e", served, Held({1: TOMBSTONE}), now=NOW) is None


def test_an_entity_that_only_the_stream_knows_is_answered() -> None:
    served = Served(Champion(1, floor=1), generation(1))
    found = answer("segments", "e", served, Held({}, SpeedItem(b"{}", SAID, Vector({("t", "0"): 9}))), now=NOW)
    assert found is not None
    assert (found.layer, found.vector) == ("speed", [["", "file", 100], ["t", "0", 9]])


def test_a_progress_older_than_the_generation_does_not_make_the_answer_older() -> None:
    progress = Progress("segments", 1, FAR, 3, "driver", NOW - timedelta(days=2))
    assert Served(Champion(1), generation(1), progress).age_s(NOW) == 3600.0
