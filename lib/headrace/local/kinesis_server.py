"""moto's server, whose Kinesis does as the service documents.

moto 5.2 loses and doubles records where shards are split or merged: it copies those of the parents, and goes on writing
to the parents. Its sequence numbers are 1, 2, 3. Here they are as long and sparse as the service's, records stay where
they are, new ones go to open shards, and the last iterator of a closed shard is followed by none.
"""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_right
from typing import Any

from moto.kinesis import models
from moto.kinesis.exceptions import InvalidArgumentError
from moto.kinesis.utils import compose_shard_iterator, decompose_shard_iterator
from moto.server import main
from moto.utilities.utils import md5_hash

# Between one sequence number and the next; they begin with 186 bits, as the service's do.
STEP = 3 * 2**64 + 7
_numbers = itertools.count(49 * 10**54, STEP)
_writing = threading.Lock()


class Shard(models.Shard):
    """A shard whose records are found by bisection; order: their sequence numbers."""

    def __init__(self, *about: Any, **more: Any) -> None:
        super().__init__(*about, **more)
        self.order: list[int] = []

    def put_record(self, partition_key: str, data: str, explicit_hash_key: str) -> str:
        number = next(_numbers)
        self.records[number] = models.Record(partition_key, data, number, explicit_hash_key)
        self.order.append(number)
        return str(number)

    def get_records(self, last_sequence_id: str, limit: int | None) -> tuple[list[models.Record], int, int]:
        with _writing:
            first = bisect_right(self.order, int(last_sequence_id))
            found = [self.records[number] for number in self.order[first : first + (limit or 10_000)]]
            if not found:
                return [], int(last_sequence_id), 0
            behind_s = self.records[self.order[-1]].created_at - found[-1].created_at
            is_last = first + len(found) == len(self.order)
            # The next one is at least a millisecond behind, so that 0 means that there is none.
            return found, found[-1].sequence_number, 0 if is_last else 1 + int(1000 * behind_s)


class Stream(models.Stream):
    """A stream whose closed shards keep their records and take no more."""

    def get_shard_for_key(self, partition_key: str, explicit_hash_key: str) -> models.Shard | None:
        wanted = int(explicit_hash_key) if explicit_hash_key else int(md5_hash(partition_key.encode()).hexdigest(), 16)
        for shard in self.shards.values():
            if shard.is_open and shard.starting_hash <= wanted <= shard.ending_hash:
                return shard
        return None

    def put_record(self, partition_key: str, explicit_hash_key: str, data: str) -> tuple[str, str]:
        with _writing:
            return super().put_record(partition_key, explicit_hash_key, data)

    def split_shard(self, shard_to_split: str, new_starting_hash_key: str) -> None:
        shard, middle = self.shards[shard_to_split], int(new_starting_hash_key)
        if not (shard.is_open and shard.starting_hash < middle <= shard.ending_hash):
            raise InvalidArgumentError(f"{shard_to_split} cannot be split at {middle}")
        with _writing:
            for start, end in ((shard.starting_hash, middle - 1), (middle, shard.ending_hash)):
                self._add(start, end, shard.shard_id)
            shard.is_open = False

    def merge_shards(self, shard_to_merge: str, adjacent_shard_to_merge: str) -> None:
        one, other = sorted(
            (self.shards[shard_to_merge], self.shards[adjacent_shard_to_merge]), key=lambda shard: shard.starting_hash
        )
        if not (one.is_open and other.is_open and one.ending_hash + 1 == other.starting_hash):
            raise InvalidArgumentError(f"{shard_to_merge} and {adjacent_shard_to_merge} cannot be merged")
        with _writing:
            self._add(one.starting_hash, other.ending_hash, shard_to_merge, adjacent_shard_to_merge)
            one.is_open = other.is_open = False

    def _add(self, start: int, end: int, *parents: str) -> None:
        made = Shard(len(self.shards), start, end, *parents)
        self.shards[made.shard_id] = made


def get_records(
    backend: models.KinesisBackend, stream_arn: str | None, shard_iterator: str, limit: int | None
) -> tuple[str | None, list[models.Record], int]:
    """Of the backend: None as the iterator after the last record of a closed shard."""
    name, shard_id, last = decompose_shard_iterator(shard_iterator)
    shard = backend.describe_stream(stream_arn=stream_arn, stream_name=name).get_shard(shard_id)
    is_open = shard.is_open  # before it is read, as it may be closed after
    found, last_number, behind_ms = shard.get_records(last, limit)
    is_over = not is_open and not behind_ms
    return None if is_over else compose_shard_iterator(name, shard, last_number), found, behind_ms


def mend() -> None:
    """Put these in the place of moto's."""
    vars(models).update(Shard=Shard, Stream=Stream)
    models.KinesisBackend.get_records = get_records  # type: ignore[method-assign, assignment]


def serve() -> None:
    """Serve until ended; the arguments are those of moto's server."""
    mend()
    main()
