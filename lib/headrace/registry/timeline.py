"""What readers were served when: a log of flips and of completed micro-batches, to answer as of a past instant.

Below `<lake>/timeline/<definition>/` there is one line of JSON a moment: `flips.jsonl` for champions, and a file an
hour and driver for what a generation had counted. A line of an hour is written when every item of a micro-batch is,
just before the progress item says so: from then on each key's answer counts everything below its vector.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any

from headrace.errors import AnswerIsNo, InputError
from headrace.schemas import Vector
from headrace.schemas.lake import timeline_path
from headrace.stores.port import LedgerEntry

log = logging.getLogger(__name__)
FLIPS = "flips.jsonl"
_HOUR = "%Y-%m-%dT%H"


@dataclass(frozen=True)
class Moment:
    """What was served from `visible_at` on: a generation, the vector it had counted, and up to which arrival."""

    visible_at: datetime
    generation: int
    vector: Vector
    as_of: datetime

    def to_json(self) -> dict[str, Any]:
        return {
            "visible_at": self.visible_at.isoformat(),
            "generation": self.generation,
            "vector": self.vector.to_json(),
            "as_of": self.as_of.isoformat(),
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Moment:
        return cls(
            datetime.fromisoformat(said["visible_at"]),
            int(said["generation"]),
            Vector.from_json(said["vector"]),
            datetime.fromisoformat(said["as_of"]),
        )


def flip(entry: LedgerEntry, at: datetime) -> Moment:
    """The moment at which a generation of the table's ledger became the champion: of its own it has the cut."""
    cut, as_of = Vector.from_json(entry.info["cut"]), datetime.fromisoformat(entry.info["as_of"])
    return Moment(at, entry.generation, cut, as_of)


class Timeline:
    """The log of one definition. Writers append, each to files of its own; nothing is ever rewritten."""

    def __init__(self, lake: Path, definition: str) -> None:
        self._definition = definition
        self._folder = timeline_path(lake, definition)

    def counted(self, moment: Moment, epoch: int) -> None:
        """A generation has counted everything below a vector, said by the driver of that lease epoch."""
        hour = moment.visible_at.astimezone(UTC).strftime(_HOUR)
        self._append(self._folder / hour / f"{moment.generation:06d}-{epoch:06d}.jsonl", moment)

    def flipped(self, moment: Moment) -> None:
        """A generation became the champion, or is it already: then nothing is said again."""
        last = max(self._moments(self._folder / FLIPS), key=lambda flip: flip.visible_at, default=None)
        if last is None or last.generation != moment.generation:
            self._append(self._folder / FLIPS, moment)

    def at(self, instant: datetime) -> Moment:
        """What was served at an instant: the champion then, with the greatest vector it had counted by then.

        Raises InputError for an instant without a time zone, AnswerIsNo for one before the first champion.
        """
        if instant.tzinfo is None:
            raise InputError("an instant to answer as of has no time zone", found=instant.isoformat(), do="add one: Z")
        flips = sorted(self._moments(self._folder / FLIPS), key=lambda flip: flip.visible_at)
        past = [flip for flip in flips if flip.visible_at <= instant]
        if not past:
            raise AnswerIsNo(
                f"nothing of {self._definition!r} was served at {instant.isoformat()}",
                found=f"the first champion on record came at {flips[0].visible_at.isoformat()}"
                if flips
                else "no record",
                do="ask for a later instant; generations promoted before there was a record are not in it",
            )
        champion = past[-1]
        for hour in sorted(self._folder.glob("*T*"), reverse=True):
            files = hour.glob(f"{champion.generation:06d}-*.jsonl") if _begins(hour) <= instant else ()
            seen = [moment for file in files for moment in self._moments(file) if moment.visible_at <= instant]
            if seen:
                return Moment(
                    visible_at=max(moment.visible_at for moment in seen),
                    generation=champion.generation,
                    # A driver that was fenced may have said less, later.
                    vector=reduce(Vector.join, (moment.vector for moment in seen)),
                    as_of=max(moment.as_of for moment in seen),
                )
        return champion

    def _append(self, file: Path, moment: Moment) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        # One write in append mode, so that of writers at the same time none cuts another's line, and on a line of its
        # own, whatever a crash left of the one before.
        line = "\n" + json.dumps(moment.to_json(), separators=(",", ":")) + "\n"
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @staticmethod
    def _moments(file: Path) -> Iterator[Moment]:
        """The moments in a file, without what a crash left of a line."""
        for line in file.read_text("utf-8").splitlines() if file.is_file() else ():
            try:
                said = json.loads(line or "null")
            except json.JSONDecodeError:
                log.warning("a line of %s was cut off by a crash; what it said is missing", file)
                continue
            if said is not None:
                yield Moment.from_json(said)


def _begins(hour: Path) -> datetime:
    return datetime.strptime(hour.name, _HOUR).replace(tzinfo=UTC)
