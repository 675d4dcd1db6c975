"""What a replay has sent: a journal that is only ever added to, so that no crash can take back what it says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from headrace.errors import InputError
from headrace.sources.files import FileFingerprint
from headrace.sources.streams import Topic


class Ledger:
    """The rows of one file that one topic has, and from which offsets on it may have more; use it in a `with`.

    sent: rows that are known to have arrived. offsets: whatever arrived of other rows stands at or behind these.
    is_certain: nothing else can have arrived, as the last replay ended in order.
    """

    def __init__(self, folder: Path, file: FileFingerprint, topic: Topic) -> None:
        self.path = folder / f"{file.sha256}-{topic.incarnation}.jsonl"
        self.sent = RowSet(file.lines)
        self.offsets: dict[int, int] = {}
        self.is_certain = True
        self._about = {"file": file.name, "sha256": file.sha256, "topic": topic.name, "topic_id": topic.incarnation}

    def open(self, ends: Mapping[int, int]) -> None:
        """Take up what is written, or begin. ends: where the topic's partitions end now."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = self._take_up()
        self._file: IO[bytes] = self.path.open("r+b" if self.path.exists() else "w+b")
        # A line that a crash has cut off says nothing.
        self._file.truncate(whole)
        self._file.seek(whole)
        if not whole:
            self.offsets = dict(ends)
            self._write({**self._about, "offsets": self._offsets()})

    def begin(self) -> None:
        """Say that rows are about to be sent; until `end` nobody knows which of them arrived."""
        self.is_certain = False
        self._write({"state": "open"})
        # What is lost of later lines is found again in the topic, but only if this one is not.
        os.fsync(self._file.fileno())

    def note(self, rows: Iterable[int], offsets: Mapping[int, int]) -> None:
        """Rows that have arrived, and for each partition the offset behind the last of them."""
        ranges = list(_ranges(sorted(rows)))
        for first, behind in ranges:
            self.sent.add(first, behind)
        self.offsets |= offsets
        if ranges:
            self._write({"rows": ranges, "offsets": self._offsets()})

    def end(self) -> None:
        """Say that every row that was sent is noted."""
        self.is_certain = True
        self._write({"state": "closed"})

    def close(self) -> None:
        self._file.close()

    def _take_up(self) -> int:
        """Read what is written; how many bytes of it are whole lines."""
        if not self.path.exists():
            return 0
        whole = 0
        with self.path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                self._apply(line)
                whole += len(line)
        return whole

    def _apply(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            for first, behind in entry.get("rows", ()):
                self.sent.add(first, behind)
            self.offsets |= {int(partition): offset for partition, offset in entry.get("offsets", {}).items()}
            if "state" in entry:
                self.is_certain = entry["state"] == "closed"
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            raise InputError(
                f"the ledger {self.path} is damaged",
                found=repr(line[:80]),
                do="restore it; without it nobody knows which rows were sent",
            ) from error

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()

    def _offsets(self) -> dict[str, int]:
        return {str(partition): offset for partition, offset in sorted(self.offsets.items())}


class RowSet:
    """Row numbers below a bound, one bit each."""

    def __init__(self, bound: int) -> None:
        self._bits = bytearray(bound // 8 + 1)

    def add(self, first: int, behind: int) -> None:
        for number in range(first, behind):
            self._bits[number >> 3] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        return bool(self._bits[number >> 3] >> (number & 7) & 1)


def _ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending numbers as ranges [first, behind).

    >>> list(_ranges([1, 2, 3, 7]))
    [(1, 4), (7, 8)]
    """
    first = behind = -1
    for number in numbers:
        if number != behind:
            if first >= 0:
                yield first, behind
            first = number
        behind = number + 1
    if first >= 0:
        yield first, behind
