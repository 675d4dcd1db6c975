"""A producer whose records arrive once and in order, or fail in bounded time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kafka import KafkaProducer

DELIVERY_MS = 60_000  # after which a record that was not acknowledged has failed
_PATIENCE_S = 10.0


def open_producer(options: Mapping[str, Any]) -> KafkaProducer:
    """An idempotent producer; options: how to reach the cluster."""
    from kafka import KafkaProducer

    return KafkaProducer(
        **options,
        enable_idempotence=True,
        acks="all",
        delivery_timeout_ms=DELIVERY_MS,
        allow_auto_create_topics=False,
        linger_ms=5,
        # Large packed batches: the checksum of what is sent is computed in Python.
        batch_size=1 << 17,
        compression_type="gzip",
    )


def close_producer(producer: KafkaProducer) -> None:
    """Send what waits, for a bounded time: a producer without its broker would wait for ever for a new id."""
    from kafka.errors import KafkaTimeoutError

    try:
        producer.close(timeout=_PATIENCE_S)
    except KafkaTimeoutError:
        # What never arrived is given up; else the producer's finalizer would wait for it again.
        producer._sender.force_close()
        producer.close(timeout=_PATIENCE_S)
