"""The contract of a feature: a mergeable aggregate with a plain-Python and a Spark carrier of one meaning."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

# A state is a JSON value, so that its canonical bytes are the same in every carrier:
# int, float, str, None, a list of states or a dict of them. It is never changed in place.
State = Any
# Column name -> Spark type name of the prepared events a feature reads.
Types = Mapping[str, str]


@dataclass(frozen=True)
class Clock:
    """The instant a state is finished at, and the zone whose calendar days are counted."""

    reference: datetime  # aware, UTC
    zone: str = "UTC"


class Aggregate(ABC):
    """One feature. Subclasses are frozen dataclasses whose fields are their whole meaning.

    The Spark carrier is that of `Folded` (one aggregate), of `Keyed` (one by key first), or of both.

    Laws, for every subclass: merge is associative and commutative, `empty` is its identity, no operand is
    changed, and folding events in any split equals folding them at once, bit for bit, in both carriers.
    """

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The prepared columns this feature reads, beside the lake's meta columns."""

    # -- plain Python -------------------------------------------------------------------------
    @abstractmethod
    def empty(self) -> State:
        """The state of no events."""

    @abstractmethod
    def lift(self, event: Mapping[str, Any], types: Types) -> State:
        """The state of one event; timestamps are aware datetimes. A null (or NaN) lifts to `empty`."""

    @abstractmethod
    def merge(self, left: State, right: State) -> State:
        """The state of both operands' events together."""

    # -- finish -------------------------------------------------------------------------------
    @abstractmethod
    def arrow_type(self, types: Types) -> pa.DataType:
        """The Arrow type of a column of states."""

    @abstractmethod
    def finish(self, states: pa.Array, clock: Clock, types: Types) -> pa.Array:
        """states -> feature values, columnar; int64, float64, string, timestamp[us, UTC] or a list of one of them."""

    # -- archive ------------------------------------------------------------------------------
    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """A JSON value from which `algebra.from_description` rebuilds an equal feature."""
