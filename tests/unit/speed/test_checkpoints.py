"""Checkpoints are made anew, and those of dead processes go."""

from __future__ import annotations

import subprocess
import sys

from headrace.batch.lease import owner_name
from headrace.speed.checkpoints import fresh_checkpoint


def test_checkpoints_of_dead_processes_are_removed(tmp_path):
    own = fresh_checkpoint(tmp_path / "visits")
    script = "import sys; from pathlib import Path; from headrace.speed.checkpoints import fresh_checkpoint\n"
    script += "print(fresh_checkpoint(Path(sys.argv[1])).name)"
    arguments = [sys.executable, "-c", script, str(own.parent)]
    dead = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.strip()
    (own.parent / dead / "offsets").mkdir()
    elsewhere = own.parent / f"another-host,1,0.00,{'0' * 8}"
    elsewhere.mkdir()
    assert own.is_dir()  # a living process's, seen from another one

    second = fresh_checkpoint(own.parent)
    assert {folder.name for folder in own.parent.iterdir()} == {own.name, second.name, elsewhere.name}
    assert own.name.startswith(owner_name().replace(":", ","))
    assert list(second.iterdir()) == []
