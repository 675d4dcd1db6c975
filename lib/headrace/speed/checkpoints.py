"""Checkpoints of streaming queries: each start makes its own, since the lake says where to begin."""

from __future__ import annotations

import shutil
from pathlib import Path
from uuid import uuid4

from headrace.batch.lease import is_dead, owner_name


def fresh_checkpoint(folder: Path) -> Path:
    """A new, empty folder in `folder` that is named for this process; those of dead processes are removed."""
    if folder.is_dir():
        for other in folder.iterdir():
            if is_dead(_owner(other.name)):
                shutil.rmtree(other, ignore_errors=True)
    # Hadoop takes no colon in a path.
    made = folder / f"{owner_name().replace(':', ',')},{uuid4().hex[:8]}"
    made.mkdir(parents=True)
    return made


def _owner(name: str) -> str:
    return ":".join(name.split(",")[:-1])
