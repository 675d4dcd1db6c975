"""Where reading a topic begins, and what is given up by that."""

from __future__ import annotations

import pytest

from headrace.errors import RetentionGap, StreamRecreated
from headrace.sources.streams import Topic
from headrace.speed.gaps import beginning
from headrace.speed.landing import LakeEnd

TOPIC = Topic("visits", "life-2", (0, 1))
HELD = {0: (5, 20), 1: (0, 9)}


def test_a_topic_that_never_landed_begins_with_what_it_holds():
    assert beginning(TOPIC, HELD, LakeEnd(), allow_gap=False) == ({0: 5, 1: 0}, [("life-2", "0", 0, 5)])


@pytest.mark.parametrize(
    ("landed", "start"),
    [({0: 7, 1: 3}, {0: 7, 1: 3}), ({0: 5}, {0: 5, 1: 0}), ({0: 20, 1: 9}, {0: 20, 1: 9})],
)
def test_reading_goes_on_where_the_lake_ends(landed, start):
    assert beginning(TOPIC, HELD, LakeEnd(landed), allow_gap=False) == (start, [])


@pytest.mark.parametrize(("landed", "missing"), [({0: 4, 1: 1}, (4, 5)), ({1: 1}, (0, 5))])
def test_lost_positions_are_named_or_given_up(landed, missing):
    with pytest.raises(RetentionGap, match=rf"partition 0: \[{missing[0]}, {missing[1]}\); .*--allow-gap"):
        beginning(TOPIC, HELD, LakeEnd(landed), allow_gap=False)
    gaps = [("life-2", "0", *missing)]
    assert beginning(TOPIC, HELD, LakeEnd(landed), allow_gap=True) == ({0: 5, 1: 1}, gaps)


def test_an_end_that_went_back_cannot_be_given_up():
    # Its positions will be given to other events, which would look as if they had landed.
    for allow_gap in (False, True):
        with pytest.raises(RetentionGap, match=r"partition 1: \[9, 10\)"):
            beginning(TOPIC, HELD, LakeEnd({0: 5, 1: 10}), allow_gap=allow_gap)


def test_a_new_life_is_refused_or_lands_beside_the_former():
    end = LakeEnd({}, {"life-1": {0: 3, 1: 4}})
    with pytest.raises(StreamRecreated, match=r"found topic id life-2; expected life-1; .*--allow-gap"):
        beginning(TOPIC, HELD, end, allow_gap=False)
    gaps = [("life-1", "0", 3, None), ("life-1", "1", 4, None), ("life-2", "0", 0, 5)]
    assert beginning(TOPIC, HELD, end, allow_gap=True) == ({0: 5, 1: 0}, gaps)
    known = LakeEnd({0: 6, 1: 2}, {"life-1": {0: 3, 1: 4}})
    assert beginning(TOPIC, HELD, known, allow_gap=False) == ({0: 6, 1: 2}, [])
