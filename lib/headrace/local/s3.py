"""The S3 stand-in: moto's server, which keeps objects in memory.

So that data survives a stop, every request is recorded in a file and played back at the next start. That is for
megabytes, not for a real lake.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from headrace.errors import EngineError
from headrace.local.launch import LOOPBACK, Place
from headrace.local.moto import Moto

_RECORD = "requests.jsonl"


class S3(Moto):
    """Buckets and objects."""

    name = "s3"

    def prepare(self, place: Place) -> None:
        """Drop from the record what changed nothing, and a last line that a crash cut short."""
        record = place.data / _RECORD
        if place.in_memory or not record.is_file():
            return
        fresh = record.with_name(f"{_RECORD}.new")
        with record.open(encoding="utf-8") as lines, fresh.open("w", encoding="utf-8") as kept:
            kept.writelines(line for line in lines if _changes(line))
        fresh.replace(record)

    def command(self, place: Place) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(place.ports["client"])]

    def environment(self, place: Place) -> dict[str, str]:
        if place.in_memory:
            return {}
        return {"MOTO_ENABLE_RECORDING": "true", "MOTO_RECORDER_FILEPATH": str(place.data / _RECORD)}

    def answers(self, ports: Mapping[str, int], timeout_s: float) -> bool:
        import requests

        try:
            # The root of S3 is ListBuckets.
            answer = requests.get(self.endpoint(ports), timeout=timeout_s)
            return answer.ok and "ListAllMyBucketsResult" in answer.text
        except requests.RequestException:
            return False

    def restore(self, place: Place) -> None:
        import requests

        if place.in_memory or not (place.data / _RECORD).is_file():
            return
        address = self.endpoint(place.ports)
        try:
            requests.post(f"{address}/moto-api/recorder/replay-recording", timeout=600).raise_for_status()
        except requests.RequestException as error:
            raise EngineError(
                "s3's recorded requests cannot be played back",
                found=str(error),
                do=f"move {place.data / _RECORD} away to start empty",
            ) from error


def _changes(line: str) -> bool:
    try:
        return json.loads(line)["method"] not in ("GET", "HEAD")
    except ValueError:
        return False
