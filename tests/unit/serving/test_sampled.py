"""Answers that are logged beside the answering, and read again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headrace.errors import InputError
from headrace.schemas import Vector
from headrace.serving.sampled import AnswerLog, Logged, logged_answers

AT = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
ANSWER = Logged(AT, "ann", 1, Vector(), {"n": 2}, {})


def _written(folder: Path, *answers: Logged) -> Path:
    log = AnswerLog(folder, 1.0)
    for answer in answers:
        log.offer("spend", lambda answer=answer: answer)
    log.close()
    assert log.dropped == 0
    (file,) = (folder / "spend").iterdir()
    return file


@pytest.mark.parametrize("entity", ["a\u0085b", "a\u2028b", "a\u2029b", "a\nb", "a\rb", "a\x1eb", "\u00e9\U0001f600"])
def test_a_key_with_any_line_end_is_read_again(tmp_path: Path, entity: str) -> None:
    # Such a key may be anybody's who may ask: it must not keep the answers of others from being proved.
    asked = Logged(AT, entity, 1, Vector(), None, None)
    _written(tmp_path, ANSWER, asked, ANSWER)
    assert list(logged_answers(tmp_path, "spend")) == [ANSWER, asked, ANSWER]


def test_a_line_that_was_cut_off_is_no_answer_and_a_broken_one_is_named(tmp_path: Path) -> None:
    file = _written(tmp_path, ANSWER)
    with file.open("a") as out:
        out.write('{"at": "2026')
    assert list(logged_answers(tmp_path, "spend")) == [ANSWER]
    with file.open("a") as out:
        out.write("\n")
    with pytest.raises(InputError, match=r"line 2 of .* is no logged answer"):
        list(logged_answers(tmp_path, "spend"))


def test_answers_since_an_instant(tmp_path: Path) -> None:
    _written(tmp_path, ANSWER)
    assert list(logged_answers(tmp_path, "spend", AT)) == [ANSWER]
    assert list(logged_answers(tmp_path, "spend", AT + timedelta(seconds=1))) == []
    assert list(logged_answers(tmp_path, "nobody")) == []
