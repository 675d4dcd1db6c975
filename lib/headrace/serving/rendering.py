"""Answers as JSON text, for many requests a second: what was stored as text goes out as it was stored."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from headrace.schemas import Vector
from headrace.serving.answering import Found, Missed
from headrace.serving.merge import Served

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Rendering:
    """The answers of one request, told at one `now`."""

    def __init__(self, definition: str, now: datetime) -> None:
        self._now = now
        self._start = f'{{"definition":{_encode(definition)},"entity":'
        self._ends: dict[tuple[int, bool], str] = {}

    def one(self, found: Found) -> str:
        """One answer as a JSON object."""
        served, chosen = found.served, found.chosen
        told, vector = chosen.outputs, served.vector_text
        if found.features is not None:
            prediction = json.loads(told)["prediction"]
            told = _encode({"features": found.features, "prediction": prediction})
        if chosen.vector:
            vector = _joined(served.vector, chosen.vector)
        end = self._end(served, late=found.late)
        layer = f'"layer":"{chosen.layer}","vector":{vector}'
        return f"{self._start}{_encode(found.entity)},{told[1:-1]},{layer},{end}"

    def many(self, found: Iterable[Found], missing: Iterable[Missed]) -> str:
        """The answers to one batch."""
        names = [one.entity for one in missing]
        return f'{{"answers":[{",".join(map(self.one, found))}],"missing":{_encode(names)}}}'

    def _end(self, served: Served, *, late: bool) -> str:
        """What all answers at one pointer end with."""
        end = self._ends.get((id(served), late))
        if end is None:
            stale = "true" if late or served.stale(self._now) else "false"
            told = f'"as_of":"{served.as_of_text}","age_s":{served.age_s(self._now)!r},"stale":{stale}'
            end = self._ends[id(served), late] = f'"generation":{served.champion.generation},{told}}}'
        return end


@lru_cache(maxsize=4096)
def _joined(counted: Vector, beyond: Vector) -> str:
    """What is counted of an entity, as JSON."""
    return _encode(counted.join(beyond).to_json())
