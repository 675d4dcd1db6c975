"""Engines that are moto's server, on the loopback address only."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.config import EnginesSettings
from headrace.local.launch import LOOPBACK, Engine


class Moto(Engine):
    """A stand-in for a service of AWS."""

    def heap_mb(self, settings: EnginesSettings) -> int:
        del settings
        return 0

    def endpoint(self, ports: Mapping[str, int]) -> str:
        return f"http://{LOOPBACK}:{ports['client']}"
