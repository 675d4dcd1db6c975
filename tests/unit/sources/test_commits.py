"""What landing drivers note in the commits of a table."""

from __future__ import annotations

import json

from headrace.schemas import Vector
from headrace.sources.commits import Commit, Note, last_note, noted_place

LIFE = "clicks@2026-11-22T12:00:00.000Z"


def note(version, **ends):
    place = {LIFE: {int(shard[1:]): {"next": n, "after": str(n)} for shard, n in ends.items()}}
    return Note("driver", version, Vector.of(LIFE, {int(shard[1:]): n for shard, n in ends.items()}), place)


def commit(table, version, operation, told=None):
    log = table / "_delta_log"
    log.mkdir(exist_ok=True)
    info = {"operation": operation, **({"userMetadata": told} if told is not None else {})}
    lines = [json.dumps({"commitInfo": info}), json.dumps({"add": {"path": "x"}})]
    (log / f"{version:020d}.json").write_text("\n".join(lines) + "\n")


def test_a_note_survives_its_json():
    assert Note.read(note(3, s0=5, s1=0).to_json()) == note(3, s0=5, s1=0)
    plain = Note("driver", 3, Vector.of("topic", {0: 5}))
    assert "place" not in plain.to_json()
    assert Note.read(plain.to_json()) == plain
    assert (Note.read(None), Note.read("{"), Note.read('{"headrace": "compact"}')) == (None, None, None)


def test_the_last_note_is_read_from_the_log_itself(tmp_path):
    assert last_note(tmp_path) is None
    commit(tmp_path, 0, "WRITE", "by somebody")
    assert last_note(tmp_path) is None
    commit(tmp_path, 9, "WRITE", note(1, s0=5).to_json())
    commit(tmp_path, 10, "OPTIMIZE")
    (tmp_path / "_delta_log" / "00000000000000000010.checkpoint.x.json").write_text("no commit")
    assert last_note(tmp_path) == note(1, s0=5)
    commit(tmp_path, 11, "RESTORE")
    assert last_note(tmp_path) is None  # what it said may not be in the table any more


def test_a_log_whose_statistics_hold_other_line_ends_is_read(tmp_path):
    commit(tmp_path, 3, "WRITE", note(1, s0=5).to_json())
    file = tmp_path / "_delta_log" / f"{3:020d}.json"
    stats = json.dumps({"add": {"stats": "a\u0085b\u2028c"}}, ensure_ascii=False)
    file.write_text(f"{stats}\n{file.read_text('utf-8')}", "utf-8")
    assert last_note(tmp_path) == note(1, s0=5)


def test_of_all_notes_each_shard_has_its_furthest_place():
    known = [
        Commit(4, "WRITE", note(9, s0=2)),  # of a driver that had read the lake before another one landed
        Commit(3, "WRITE", note(2, s0=5, s1=1)),
        Commit(2, "RESTORE", None),
        Commit(1, "WRITE", note(1, s2=8)),
    ]
    assert noted_place(known, LIFE) == {0: {"next": 5, "after": "5"}, 1: {"next": 1, "after": "1"}}
    assert noted_place(known, "another life") == {}
