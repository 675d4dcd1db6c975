"""Kinesis as its service tells it: a stream's life, its shards, and their records from a place on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from headrace.errors import (
    ConfigError,
    EngineError,
    InputError,
    StreamRecreated,
    TerminalError,
    TransientError,
    nearest,
)
from headrace.sources.streams import Topic

if TYPE_CHECKING:
    from headrace.config import KinesisSettings

AT_MOST = 10_000  # records of one call. Source: Kinesis API reference, GetRecords
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_SHARD = re.compile(r"shardId-(\d{12})")
_ATTEMPTS = 10
# Source: Kinesis API reference, GetRecords and common errors.
_REFUSED = {
    "AccessDeniedException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "IncompleteSignature",
    "KMSAccessDeniedException",
}
_PASSING = {
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "ThrottlingException",
    "KMSThrottlingException",
    "InternalFailure",
    "InternalFailureException",
    "ServiceUnavailable",
    "RequestTimeout",
}


@dataclass(frozen=True)
class Shard:
    """One shard. number: that in its id. parents: the shards it was split or merged from."""

    number: int
    id: str
    parents: tuple[int, ...]
    is_closed: bool


@dataclass(frozen=True)
class Answer:
    """What one call gave. next: the iterator after it, None at the end of a closed shard.

    records: as botocore gives them, their ApproximateArrivalTimestamp in seconds of the epoch. behind_s: how long
    before the newest record of the stream the next one arrived, 0 where there is none.
    """

    records: list[dict[str, Any]]
    next: str | None
    behind_s: float


class Expired(Exception):
    """An iterator that was not used for five minutes."""


class Gone(Exception):
    """A place in a shard, or the shard itself, that Kinesis does not hold any more."""


class Kinesis:
    """One stream; use it in a `with`.

    Calls that are throttled are repeated with back-off and jitter by botocore. Raises, from every method: EngineError
    when nobody answers, TransientError for what passes, ConfigError when it refuses who we are.
    """

    def __init__(self, settings: KinesisSettings, endpoint: str, stream: str) -> None:
        self.stream = stream
        self._region = settings.region
        self._endpoint = endpoint
        self.retention_s = 24 * 3600.0  # until `topic` learns it
        self._at = endpoint or f"AWS in {settings.region}"

    def __enter__(self) -> Kinesis:
        with self._named():
            self._client = _client(self._region, self._endpoint)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def topic(self) -> Topic:
        """The stream as it is now; its incarnation is its name and when it was made.

        Raises InputError, naming the nearest, when there is none.
        """
        with self._named():
            try:
                told = self._client.describe_stream_summary(StreamName=self.stream)["StreamDescriptionSummary"]
            except self._client.exceptions.ResourceNotFoundException:
                raise self._missing() from None
        if told["StreamStatus"] in {"CREATING", "DELETING"}:
            raise TransientError(f"stream {self.stream!r} is not ready", found=told["StreamStatus"], do="wait for it")
        self.retention_s = 3600.0 * told["RetentionPeriodHours"]
        made = datetime.fromtimestamp(told["StreamCreationTimestamp"], UTC)
        life = f"{self.stream}@{made.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"
        return Topic(self.stream, life, tuple(shard.number for shard in self.shards()), "stream")

    def shards(self) -> list[Shard]:
        """The shards Kinesis still lists, by number: open ones, and closed ones until their last record expires.

        Raises StreamRecreated where the stream is gone, which `topic` has found before.
        """
        with self._named():
            pages = self._client.get_paginator("list_shards").paginate(StreamName=self.stream)
            try:
                found = [_shard(told) for page in pages for told in page["Shards"]]
            except self._client.exceptions.ResourceNotFoundException as error:
                gone = f"stream {self.stream!r} was deleted while it was read"
                raise StreamRecreated(gone, do="see who deleted it, and why") from error
        return sorted(found, key=lambda shard: shard.number)

    def iterator(self, shard: Shard, kind: str, where: str | datetime | None = None) -> str:
        """Where to read on. where: the sequence number or instant, of the kinds that have one. Raises Gone."""
        at: dict[str, Any] = {}
        if isinstance(where, datetime):
            at["Timestamp"] = where
        elif where is not None:
            at["StartingSequenceNumber"] = where
        with self._named():
            try:
                told = self._client.get_shard_iterator(
                    StreamName=self.stream, ShardId=shard.id, ShardIteratorType=kind, **at
                )
            except (
                self._client.exceptions.InvalidArgumentException,
                self._client.exceptions.ResourceNotFoundException,
            ) as error:
                raise Gone(str(error)) from error
        return str(told["ShardIterator"])

    def records(self, iterator: str, limit: int = AT_MOST) -> Answer:
        """The next records, perhaps none although there are more. Raises Expired."""
        with self._named():
            try:
                told = self._client.get_records(ShardIterator=iterator, Limit=limit)
            except self._client.exceptions.ExpiredIteratorException as error:
                raise Expired from error
        return Answer(told["Records"], told.get("NextShardIterator"), told.get("MillisBehindLatest", 0) / 1000)

    def _missing(self) -> InputError:
        try:
            among = self._client.list_streams()["StreamNames"]
        except self._client.exceptions.ClientError:
            among = []  # whom it does not tell
        return InputError(
            f"there is no Kinesis stream {self.stream!r}",
            found=f"{len(among)} streams at {self._at}",
            nearest=nearest(self.stream, among),
            do="create it (`aws kinesis create-stream`), or, for a topic of Kafka, take its name off kinesis.streams",
        )

    @contextmanager
    def _named(self) -> Iterator[None]:
        from botocore import exceptions

        try:
            yield
        except exceptions.ClientError as error:
            raise self._explained(error) from error
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
            raise ConfigError(
                "no AWS credentials were found", found=error, do="see `aws sts get-caller-identity`"
            ) from error
        except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
            raise EngineError(
                f"Kinesis at {self._at} does not answer",
                found=_said(error),
                do="see that it runs (`headrace up kinesis` for the local engine), kinesis.endpoint and kinesis.region",
            ) from error
        except exceptions.BotoCoreError as error:
            raise TerminalError(f"Kinesis at {self._at} cannot be asked", found=_said(error)) from error

    def _explained(self, error: Any) -> Exception:
        code, status = error.response["Error"].get("Code", ""), error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code in _REFUSED:
            return ConfigError(
                f"Kinesis at {self._at} refuses this client",
                found=_said(error),
                do="check the credentials and the policy: docs/kinesis.md lists the actions it must allow",
            )
        kind = TransientError if code in _PASSING or status >= 500 else TerminalError
        return kind(
            f"Kinesis at {self._at} failed", found=_said(error), do="run again" if kind is TransientError else None
        )


def _client(region: str, endpoint: str) -> Any:
    import botocore.session
    from botocore.config import Config

    session = botocore.session.get_session()
    # Of each record's two timestamps' worth of parsing, none is needed.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=float)
    given: dict[str, Any] = {}
    if urlsplit(endpoint).hostname in _LOOPBACK:
        resolver = session.get_component("credential_provider")
        for method in ("container-role", "iam-role"):  # nobody answers there on a laptop, and it takes seconds
            resolver.remove(method)
        if session.get_credentials() is None:
            given = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    options = Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=5,
        read_timeout=30,
        max_pool_connections=16,
    )
    return session.create_client("kinesis", region_name=region, endpoint_url=endpoint or None, config=options, **given)


def _shard(told: dict[str, Any]) -> Shard:
    parents = [told[name] for name in ("ParentShardId", "AdjacentParentShardId") if told.get(name)]
    is_closed = "EndingSequenceNumber" in told["SequenceNumberRange"]
    return Shard(number_of(told["ShardId"]), told["ShardId"], tuple(map(number_of, parents)), is_closed)


def number_of(shard_id: str) -> int:
    """The number that a shard's id is made of.

    >>> number_of("shardId-000000000007")
    7
    """
    match = _SHARD.fullmatch(shard_id)
    if match is None:
        raise TerminalError(f"shard {shard_id!r} has no number", expected="an id such as shardId-000000000007")
    return int(match[1])


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
