"""How long to wait before a failed query is started again, and when not to."""

from __future__ import annotations

import pytest

from headrace.errors import InputError, StartAgain, TransientError
from headrace.speed.restarting import Pause, first_line


def test_pauses_double_up_to_half_a_minute():
    pause, lengths = Pause(), []
    for _ in range(8):
        before = pause.seconds
        pause.after(TransientError("passing"))
        lengths.append(before)
        assert not pause.is_over
    assert lengths == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize("failure", [InputError("wrong"), StartAgain("no room")])
def test_what_a_new_start_cannot_mend_is_raised(failure):
    with pytest.raises(type(failure)) as raised:
        Pause().after(failure)
    assert raised.value is failure


def test_a_failure_without_a_name_is_tried_ten_times_in_a_row():
    pause = Pause()
    for _ in range(10):
        pause.after(ValueError("?"))
    with pytest.raises(ValueError, match=r"\?"):
        pause.after(ValueError("?"))


def test_a_failure_is_told_without_its_stack():
    assert first_line(ValueError("what\n at where")) == "what"
    assert first_line(ValueError()) == "ValueError"
