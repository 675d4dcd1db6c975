"""Free ports on the loopback address."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping

from headrace.errors import EngineError
from headrace.local.launch import LOOPBACK

# Below the range systems hand out to outgoing connections, so that a port kept over a stop is likely free again.
_RANGE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether nobody listens on the port; connections that are still closing do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def choose(names: Iterable[str], kept: Mapping[str, int]) -> dict[str, int]:
    """A port for every name: the kept one where it is still free, else a free one."""
    chosen: dict[str, int] = {}
    for name in names:
        if name in kept and is_free(kept[name]):
            chosen[name] = kept[name]
            continue
        candidates = random.SystemRandom().sample(_RANGE, 200)
        taken = {*chosen.values(), *kept.values()}
        port = next((port for port in candidates if port not in taken and is_free(port)), None)
        if port is None:
            raise EngineError("no free port was found", found=f"200 taken ones in {_RANGE.start}-{_RANGE.stop - 1}")
        chosen[name] = port
    return chosen
