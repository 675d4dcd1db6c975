"""Answers as JSON text, for many requests a second: what was stored as text goes out as it was stored."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from headrace.serving.answering import Found
from headrace.serving.merge import Served, iso, read_outputs

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Rendering:
    """The answers of one request, told at one `now`. Raises StoreError for outputs that are not as published."""

    def __init__(self, definition: str, now: datetime) -> None:
        self._definition = definition
        self._now = now
        self._start = f'{{"definition":{_encode(definition)},"entity":'
        self._ends: dict[tuple[int, bool], str] = {}

    def one(self, found: Found) -> str:
        """One answer as a JSON object."""
        outputs = read_outputs(self._definition, found.chosen)
        if found.features is None:
            told = found.chosen.outputs[1:-1]
        else:
            told = _encode({"features": found.features, "prediction": outputs["prediction"]})[1:-1]
        served, chosen = found.served, found.chosen
        vector = _encode(served.vector.join(chosen.vector).to_json()) if chosen.vector else served.vector_text
        end = self._end(served, late=found.late)
        return f'{self._start}{_encode(found.entity)},{told},"layer":"{chosen.layer}","vector":{vector},{end}'

    def many(self, found: Iterable[Found], missing: list[str]) -> str:
        """The answers to one batch."""
        return f'{{"answers":[{",".join(map(self.one, found))}],"missing":{_encode(missing)}}}'

    def _end(self, served: Served, *, late: bool) -> str:
        """What all answers at one pointer end with."""
        end = self._ends.get((id(served), late))
        if end is None:
            told = {
                "generation": served.champion.generation,
                "as_of": iso(served.as_of),
                "age_s": served.age_s(self._now),
                "stale": late or served.stale(self._now),
            }
            end = self._ends[id(served), late] = _encode(told)[1:]
        return end
