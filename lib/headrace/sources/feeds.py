"""Which system carries a stream, as the settings say."""

from __future__ import annotations

from headrace.config import Settings
from headrace.errors import InputError
from headrace.schemas.lake import events_path
from headrace.sources.kafka_stream import KafkaFeed
from headrace.sources.kinesis_stream import KinesisFeed
from headrace.sources.streams import Feed


def feed_of(settings: Settings, name: str, address: str) -> Feed:
    """The stream of that name; address: of its system, as `local.endpoints.stream_address` gives it."""
    if name in settings.kinesis.streams:
        return KinesisFeed(settings.kinesis, address, name, events_path(settings.lake, name))
    return KafkaFeed(settings.kafka, address, name)


def refuse_counted(settings: Settings, name: str) -> None:
    """Raise InputError for a stream that nothing is sent to from here."""
    if name in settings.kinesis.streams:
        raise InputError(
            f"nothing is sent to stream {name!r} from here",
            found="a stream of Kinesis (kinesis.streams), whose records have no headers to tell what was sent before",
            do="send by the AWS SDK (`put_records`), with the entity as the partition key",
        )
