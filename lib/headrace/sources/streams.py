"""What the speed layer needs of a stream, whichever system carries it: Kafka's topics and Kinesis' streams alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headrace.errors import RetentionGap, StreamRecreated

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# partition -> what a feed must know beside the next position to read on there, as JSON
Place = Mapping[int, Mapping[str, Any]]
_RETENTION = {"topic": "retention.ms", "stream": "IncreaseStreamRetentionPeriod"}


@dataclass(frozen=True)
class Topic:
    """One life of a stream. incarnation: its identity, which one made anew under the same name does not share.

    partitions: those of a topic, or the numbers of a Kinesis stream's shards. kind: what its system calls it.
    """

    name: str
    incarnation: str
    partitions: tuple[int, ...]
    kind: str = "topic"

    @property
    def lost(self) -> str:
        """What can be done about events it does not hold any more."""
        return (
            "what the lake holds of it is kept; if a copy of the missing events exists, ingest it as a file, "
            f"and give the {self.kind} a longer retention ({_RETENTION[self.kind]})"
        )


@dataclass(frozen=True)
class Reach:
    """How far a stream was read: the next position of each partition, and what is needed to find it again.

    place: empty where a position is all that is needed.
    """

    ends: Mapping[int, int]
    place: Place = field(default_factory=dict)


@dataclass(frozen=True)
class Head:
    """Where a stream ends. ends: for each partition the next position, or one that is known not to be the last.

    at, whole: everything that had arrived by then is below these positions.
    """

    ends: Mapping[int, int]
    at: datetime
    whole: Mapping[int, int]


class Following(Protocol):
    """A stream that is being read in micro-batches, in the background."""

    @property
    def is_active(self) -> bool:
        """Whether it goes on."""

    def stop(self) -> None:
        """End it; what is in work may be broken off."""

    def await_termination(self, timeout: int | None = None) -> bool:
        """Whether it ended within so many seconds (None: wait for ever), by itself or by a failure."""

    def exception(self) -> Exception | None:
        """What ended it; None while it goes on and after a good end."""


# A micro-batch: its decoded records, where it begins, and where it ends. What it raises ends the following.
MicroBatch = Callable[["DataFrame", Mapping[int, int], Reach], None]
# Records (value, partition, offset, timestamp and perhaps headers or sequence) to decoded ones.
Decoding = Callable[["DataFrame"], "DataFrame"]


@dataclass(frozen=True)
class Work:
    """What is done with a stream that is followed. title: for logs. checkpoint: a folder of scratch.

    interval_s: between micro-batches. until_idle: end when everything that the stream held at the start was read.
    headers: with those of the records, where they have any.
    """

    decoding: Decoding
    batch: MicroBatch
    title: str
    checkpoint: Path
    interval_s: float
    until_idle: bool = False
    headers: bool = False


class Feed(ABC):
    """One stream by its name; use it in a `with`.

    max_ahead_s: how much later than its arrival an event's time may be. is_counted: landing gives the positions, by
    counting, since those of the stream itself are not dense; then what counts the events follows the lake.
    """

    name: str
    max_ahead_s: int
    is_counted: bool = False

    @abstractmethod
    def __enter__(self) -> Feed:
        """Reach the system. Raises EngineError when nobody answers, ConfigError when it refuses who we are."""

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Let go of it."""

    @abstractmethod
    def topic(self) -> Topic:
        """The stream as it is now. Raises InputError, naming the nearest, when there is none."""

    @abstractmethod
    def held(self, topic: Topic, place: Place) -> dict[int, tuple[int, int]]:
        """For each partition the earliest position that can still be read and the next one.

        place: that of the last landed records; of use where `is_counted`.
        """

    @abstractmethod
    def head(self, topic: Topic, now: datetime) -> Head:
        """Where the stream ends, asked just after `now`."""

    @abstractmethod
    def lag(self, topic: Topic, reached: Mapping[int, int]) -> dict[int, int]:
        """For each partition how many records there are beyond `reached`; nothing where it cannot be said."""

    @abstractmethod
    def follow(self, spark: SparkSession, topic: Topic, start: Reach, work: Work) -> Following:
        """Read on from `start`; look the topic up last before."""


def check_topic(topic_now: Topic, incarnation: str) -> None:
    """Raise StreamRecreated when the topic is not the one whose events were read before."""
    if topic_now.incarnation != incarnation:
        kind = topic_now.kind
        raise StreamRecreated(
            f"{kind} {topic_now.name!r} was deleted and made anew: its positions mean other events now",
            found=f"{kind} id {topic_now.incarnation}",
            expected=incarnation,
            do="go on with the new life by headrace stream --allow-gap, which notes in the lake's gaps where the "
            f"former was left; or give the new {kind} a stream name of its own",
        )


def check_retention(
    held: Mapping[int, tuple[int, int]], start: Mapping[int, int], topic: Topic, *, do: str | None = None
) -> None:
    """Raise RetentionGap when a record from `start` on (absent: 0) is no longer held, or `start` was never reached.

    held: what `Feed.held` gives. do: the advice of the error.
    """
    gaps = []
    for partition in sorted({*held, *start}):
        begin = start.get(partition, 0)
        earliest, following = held.get(partition, (0, 0))
        if begin < earliest:
            gaps.append(f"partition {partition}: [{begin}, {earliest})")
        elif begin > following:
            gaps.append(f"partition {partition}: [{following}, {begin}), which was read before, is gone from its end")
    if gaps:
        raise RetentionGap(
            f"{topic.kind} {topic.name!r} no longer holds events that were not counted",
            found="; ".join(gaps),
            do=do or topic.lost,
        )
