"""States as canonical bytes: one byte string for one meaning, whichever carrier made it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from headrace.algebra.aggregate import State


def encode(states: Mapping[str, State]) -> bytes:
    """{feature: state} as JSON in UTF-8: keys sorted by code point, no spaces, doubles by their shortest text.

    An infinite Min, Max or Last is written `Infinity`, which JSON lacks and `decode` reads.

    >>> encode({"b": [1.0, "é"], "a": None})
    b'{"a":null,"b":[1.0,"\\xc3\\xa9"]}'
    """
    return json.dumps(states, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode(encoded: bytes) -> dict[str, State]:
    """The states that `encode` wrote, bit for bit.

    >>> decode(encode({"mean": {"count": 2, "sum": 1500}}))
    {'mean': {'count': 2, 'sum': 1500}}
    """
    states: dict[str, State] = json.loads(encoded)
    return states
