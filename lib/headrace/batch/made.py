"""The record of what the platform made outside of its own folder, so that it drops nothing that is not its own."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from headrace.errors import InputError
from headrace.local.download import exclusive


@dataclass(frozen=True)
class Made:
    """One thing that was made.

    kind: a keyspace, a table, the rows of one run in a table that was there before, or a snapshot in the lake.
    name: `keyspace`, `keyspace.table`, or the snapshot's folder. at: the address it was made at.
    id: of the table's life, so that another table of the same name is none of ours. run_id: whose rows they are.
    """

    kind: Literal["keyspace", "table", "rows", "snapshot"]
    name: str
    at: str = ""
    id: str = ""
    run_id: str = ""
    made_at: str = ""


def record(path: Path) -> list[Made]:
    """What was made and not dropped since, the oldest first."""
    try:
        return [Made(**entry) for entry in json.loads(path.read_text("utf-8"))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise InputError(
            f"the record {path} cannot be read", found=str(error), do="mend it; nothing is dropped without it"
        ) from error


def remember(path: Path, made: Made, now: datetime) -> None:
    """Add to the record what is not in it yet."""
    entry = Made(**{**asdict(made), "made_at": now.isoformat(timespec="seconds")})

    def same(one: Made) -> bool:
        return (one.kind, one.name, one.at, one.id, one.run_id) == (made.kind, made.name, made.at, made.id, made.run_id)

    with exclusive(path.with_name(f"{path.name}.lock")):
        held = record(path)
        if not any(same(one) for one in held):
            _write(path, [*held, entry])


def forget(path: Path, made: Made) -> None:
    """Take from the record what was dropped."""
    with exclusive(path.with_name(f"{path.name}.lock")):
        _write(path, [one for one in record(path) if one != made])


def _write(path: Path, entries: list[Made]) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps([asdict(entry) for entry in entries], indent=1) + "\n", "utf-8")
    part.replace(path)
