"""Features finished at the reader's own now, for a definition whose clock is `READER`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from typing import Any

from headrace.serving.merge import Generation


def features_at(generation: Generation, states: Sequence[bytes], now: datetime) -> dict[str, Any]:
    """The features of one entity, finished from its stored states at `now` in the definition's zone.

    states: of batch and speed layer, canonical bytes as `algebra.encode` made them, at least one. The values are
    spelled as in stored outputs.
    """
    import pyarrow as pa

    from headrace.algebra import Clock, decode
    from headrace.definitions.finish import outputs_json

    types = generation.theta["types"]
    clock = Clock(now, generation.theta["zone"])
    decoded = [decode(state) for state in states]
    whole = {name: reduce(a.merge, (one[name] for one in decoded)) for name, a in generation.aggregates.items()}
    features = {
        name: aggregate.finish(pa.array([whole[name]], type=aggregate.arrow_type(types)), clock, types)[0].as_py()
        for name, aggregate in generation.aggregates.items()
    }
    shown: dict[str, Any] = json.loads(outputs_json(features, {}))["features"]
    return shown
