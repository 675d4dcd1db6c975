"""Whose a folder of predictions is: a job drops another one's only when told to, and what is no job's never."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.batch.sharding import claim
from headrace.errors import InputError

JOB = {"definition": "sales", "generation": 1}
OTHER = {"definition": "sales", "generation": 2}
WRITTEN = ("part-00000.csv.gz", "part-00000.json", "failed-00000.jsonl.gz", "summary.json", "predictions.csv.gz")
HALF_WRITTEN = (".part-00001.csv.gz.17.partial", ".predictions.csv.gz.partial")


def _filled(folder: Path, *names: str) -> None:
    claim(folder, JOB, replace=False)
    for name in names:
        (folder / name).write_text("x")


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_the_same_job_finds_what_it_left(tmp_path: Path) -> None:
    _filled(tmp_path / "out", *WRITTEN, *HALF_WRITTEN)
    claim(tmp_path / "out", JOB, replace=False)
    assert _names(tmp_path / "out") == {"job.json", *WRITTEN, *HALF_WRITTEN}


def test_another_job_drops_it_only_when_told_to(tmp_path: Path) -> None:
    _filled(tmp_path / "out", *WRITTEN, *HALF_WRITTEN)
    with pytest.raises(InputError, match=r"another job; found \{'generation': 1\}; expected \{'generation': 2\}"):
        claim(tmp_path / "out", OTHER, replace=False)
    assert _names(tmp_path / "out") == {"job.json", *WRITTEN, *HALF_WRITTEN}
    claim(tmp_path / "out", OTHER, replace=True)
    assert _names(tmp_path / "out") == {"job.json"}


@pytest.mark.parametrize("replace", [False, True])
def test_what_is_no_jobs_is_never_touched(tmp_path: Path, replace: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"is not empty; found \['thesis.tex'\]; name another folder with --to"):
        claim(tmp_path, JOB, replace=replace)
    assert _names(tmp_path) == {"thesis.tex"}
    _filled(tmp_path / "out", *WRITTEN)
    (tmp_path / "out" / "notes").mkdir()
    with pytest.raises(InputError, match=r"holds more than predictions; found \['notes'\]"):
        claim(tmp_path / "out", JOB, replace=replace)
    assert _names(tmp_path / "out") == {"job.json", "notes", *WRITTEN}


def test_a_file_of_that_name_that_is_no_jobs_is_not_taken_for_one(tmp_path: Path) -> None:
    for text in ("no JSON", "[1]", "\xff"):
        (tmp_path / "job.json").write_text(text, "latin-1")
        with pytest.raises(InputError, match="is not empty"):
            claim(tmp_path, JOB, replace=True)
        assert (tmp_path / "job.json").read_text("latin-1") == text


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"predictions cannot be written to .*file.out; found Not a directory"):
        claim(tmp_path / "file" / "out", JOB, replace=False)
