"""Positions of events in their log, and vectors of next positions (cuts)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

# The incarnation of rows that came from files or tables rather than from a stream. The empty
# string sorts before every stream incarnation, so history precedes the stream in every ordering.
HISTORY = ""

# Columns every event in the lake carries beside its own: name -> Spark type.
META_COLUMNS: Mapping[str, str] = {
    "_incarnation": "string",  # HISTORY, or the identity of one life of a stream (a Kafka topic id)
    "_partition": "string",  # stream partition or number of a shard; for a file its SHA-256
    "_position": "bigint",  # offset, or the count of the shard's records before; for a file the 0-based data row
    "_event_ts": "timestamp",  # the declared event time, UTC
    "_arrival_ts": "timestamp",  # when the row reached the lake (the broker's stamp for a stream), UTC
    "_source": "string",  # where it came from, for people: a file name, a topic
}

# A further column of events whose position was counted as they landed: their place in the stream itself, as text.
SEQUENCE = "_sequence"

# The order of positions: history before streams, then by partition and place in it.
PLACE = ("_incarnation", "_partition", "_position")

Log = tuple[str, str]


class Vector(Mapping[Log, int]):
    """For each (incarnation, partition) the next position not yet counted; immutable.

    A log that is absent counts from its beginning.

    >>> a = Vector({("", "f1"): 10}); b = Vector({("", "f1"): 4, ("t", "0"): 7})
    >>> a.join(b) == Vector({("", "f1"): 10, ("t", "0"): 7})
    True
    >>> a.covers(Vector({("", "f1"): 10})), a.covers(b)
    (True, False)
    """

    __slots__ = ("_next",)

    def __init__(self, positions: Mapping[Log, int] | None = None) -> None:
        self._next: dict[Log, int] = {log: n for log, n in sorted((positions or {}).items()) if n > 0}

    def __getitem__(self, log: Log) -> int:
        return self._next[log]

    def __iter__(self) -> Iterator[Log]:
        return iter(self._next)

    def __len__(self) -> int:
        return len(self._next)

    def __eq__(self, other: object) -> bool:
        return self._next == other._next if isinstance(other, Vector) else super().__eq__(other)

    def __hash__(self) -> int:
        return hash(tuple(self._next.items()))

    def __repr__(self) -> str:
        return f"Vector({self._next!r})"

    def join(self, other: Vector) -> Vector:
        """The element-wise maximum: the least vector that covers both."""
        logs = {**self._next, **other._next}
        return Vector({log: max(self.get(log, 0), other.get(log, 0)) for log in logs})

    def covers(self, other: Vector) -> bool:
        """Whether everything below `other` is below this vector too."""
        return all(self.get(log, 0) >= n for log, n in other.items())

    def lacks(self, other: Vector) -> int:
        """How many positions below `other` are not below this vector.

        >>> Vector({("t", "0"): 4}).lacks(Vector({("t", "0"): 7, ("t", "1"): 2}))
        5
        """
        return sum(max(0, n - self.get(log, 0)) for log, n in other.items())

    @classmethod
    def of(cls, incarnation: str, ends: Mapping[int, int]) -> Vector:
        """The vector of one life of a stream, from its partitions' next positions.

        >>> Vector.of("t", {0: 7})
        Vector({('t', '0'): 7})
        """
        return cls({(incarnation, str(partition)): n for partition, n in ends.items()})

    def to_json(self) -> list[list[object]]:
        """Rows of [incarnation, partition, next position], sorted."""
        return [[incarnation, partition, n] for (incarnation, partition), n in self._next.items()]

    @classmethod
    def from_json(cls, rows: list[list[object]]) -> Vector:
        return cls({(str(i), str(p)): int(str(n)) for i, p, n in rows})
