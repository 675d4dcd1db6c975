"""A share of the answers that were served, logged beside the answering, so that they can be proved later.

One line of JSON an answer below `<folder>/<definition>/`: entity, generation, vector, features and prediction as they
were served (null: nothing was), and when. No token, header or address is in it.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headrace.errors import InputError
from headrace.schemas import Vector
from headrace.serving.answering import Found, Missed

log = logging.getLogger(__name__)
# An answer is about a kilobyte: what waits to be written is bounded at some ten megabytes.
CAPACITY = 10_000


@dataclass(frozen=True)
class Logged:
    """One answer that was served; features and prediction are None where there was none."""

    at: datetime
    entity: str
    generation: int
    vector: Vector
    features: Mapping[str, Any] | None
    prediction: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "entity": self.entity,
            "generation": self.generation,
            "vector": self.vector.to_json(),
            "features": None if self.features is None else dict(self.features),
            "prediction": None if self.prediction is None else dict(self.prediction),
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Logged:
        return cls(
            datetime.fromisoformat(said["at"]),
            said["entity"],
            int(said["generation"]),
            Vector.from_json(said["vector"]),
            said["features"],
            said["prediction"],
        )


def logged(one: Found | Missed, at: datetime) -> Logged:
    """What a request was answered of one entity at an instant.

    Features at the reader's own now are left out: they are made for the moment, and no part of what is proved.
    """
    generation, vector = one.served.champion.generation, one.served.vector
    if isinstance(one, Missed):
        return Logged(at, one.entity, generation, vector, None, None)
    outputs = json.loads(one.chosen.outputs)
    vector = vector.join(one.chosen.vector)
    return Logged(at, one.entity, generation, vector, outputs["features"], outputs["prediction"])


class AnswerLog:
    """Logs that share of answers from a thread of its own; what it has no room for is counted, and not waited for."""

    def __init__(self, folder: Path, share: float, capacity: int = CAPACITY) -> None:
        self.dropped = 0
        self._folder = folder
        self._share = share
        self._chance = random.Random()  # noqa: S311 -- a sample, no secret
        self._waiting: queue.Queue[tuple[str, Logged] | None] = queue.Queue(capacity)
        self._thread = threading.Thread(target=self._write, name="answer log", daemon=True)
        self._thread.start()

    def offer(self, definition: str, answer: Callable[[], Logged]) -> None:
        """Log an answer if it is drawn; `answer` is called only then."""
        if self._chance.random() >= self._share:
            return
        try:
            self._waiting.put_nowait((definition, answer()))
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what waits, and end."""
        self._waiting.put(None)
        self._thread.join(30)
        if self.dropped:
            log.warning("%d answers that were drawn could not be logged", self.dropped)

    def _write(self) -> None:
        while (first := self._waiting.get()) is not None:
            try:
                self._append(*first)
            except OSError as error:
                # Serving goes on; the count tells.
                self.dropped += 1
                log.warning("an answer could not be logged: %s", error)

    def _append(self, definition: str, logged: Logged) -> None:
        file = self._folder / definition / f"{logged.at.astimezone(UTC):%Y-%m-%dT%H}-{os.getpid()}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(logged.to_json(), ensure_ascii=False, separators=(",", ":")) + "\n")


def logged_answers(folder: Path, definition: str, since: datetime | None = None) -> Iterator[Logged]:
    """What was logged of a definition, file by file; since: answers from then on.

    Raises InputError for a line that is no answer, but for a last one that was cut off.
    """
    for file in sorted((folder / definition).glob("*.jsonl")):
        # As bytes: to a text, U+0085 and U+2028 end a line too, and keys may hold them.
        lines = file.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                continue
            try:
                answer = Logged.from_json(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"line {number} of {file} is no logged answer", found=repr(error)) from error
            if since is None or answer.at >= since:
                yield answer
