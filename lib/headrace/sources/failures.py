"""Spark's own exceptions, said as ours: the one place that reads their text."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headrace.errors import (
    HeadraceError,
    InputError,
    RetentionGap,
    SchemaError,
    StartAgain,
    StreamRecreated,
    TerminalError,
    TransientError,
)

_FILE = re.compile(r"file:/+[^\s'\",;]+")
_AGAIN = "copy or download it again"
_CONFLICTS = (
    "DELTA_CONCURRENT_",
    "DELTA_METADATA_CHANGED",
    "DELTA_PROTOCOL_CHANGED",
    "ConcurrentTransactionException",
    "ConcurrentAppendException",
)

# Texts that give a cause away, and the error it is, made from the name of the file; the first match wins.
_CAUSES: tuple[tuple[tuple[str, ...], Callable[[str], HeadraceError]], ...] = (
    (
        ("No space left on device", "Disk quota exceeded", "File too large"),
        lambda _: StartAgain(
            "the disk is full",
            do="free space under the `home` setting and in Spark's local folder, then run again: what was "
            "committed stays, and the rest is written again",
        ),
    ),
    (
        ("DELTA_CANNOT_CREATE_LOG_PATH",),
        lambda file: TerminalError(
            f"{file} cannot be written", do="set the `home` setting, or $HEADRACE_HOME, to a folder of yours"
        ),
    ),
    (
        ("OutOfMemoryError", "Java heap space"),
        lambda _: TerminalError(
            "Spark ran out of memory", do="give it more, for instance --set spark.driver_memory=4g"
        ),
    ),
    (
        _CONFLICTS,
        lambda _: TransientError("another process wrote to the same lake table at the same time", do="run again"),
    ),
    (
        ("TIMESTAMP(NANOS", "PARQUET_TYPE_ILLEGAL"),
        lambda file: SchemaError(
            f"{file} stores a type that Spark does not read",
            found="perhaps timestamps in nanoseconds",
            expected="microseconds or milliseconds",
            do="write it again, in pandas with to_parquet(..., coerce_timestamps='us')",
        ),
    ),
    (
        ("ParquetCryptoRuntimeException", "encrypted footer", "No decryption key"),
        lambda file: InputError(f"{file} is an encrypted Parquet file", do="decrypt it first"),
    ),
    (
        ("Unexpected end of input stream", "invalid stored block", "incorrect data check"),
        lambda file: InputError(f"{file} ends too early or is damaged", do=_AGAIN),
    ),
    (
        ("FAILED_READ_FILE.FILE_NOT_EXIST", "FileNotFoundException", "PATH_NOT_FOUND"),
        lambda file: InputError(f"{file} vanished while it was read", do="run again when it is in place"),
    ),
    (
        (
            "CANNOT_READ_FILE_FOOTER",
            "is not a Parquet file",
            "ParquetDecodingException",
            "Could not read footer",
            "FAILED_READ_FILE",
            "org.apache.parquet.format",
        ),
        lambda file: InputError(f"{file} is damaged and cannot be read to its end", do=_AGAIN),
    ),
    (
        ("not available in Kafka any more",),
        lambda _: RetentionGap(
            "the topic no longer holds events that were not counted",
            do="start again: it says which are missing, and what can be done",
        ),
    ),
    (
        ("you must specify all TopicPartitions",),
        lambda _: TransientError("a partition was added to the topic at this very moment", do="run again"),
    ),
    (
        ("UnknownTopicOrPartitionException",),
        lambda _: StreamRecreated("the topic was deleted while it was read", do="see who deleted it, and why"),
    ),
    (
        ("Py4JNetworkError", "Answer from Java side is empty", "Error while sending or receiving"),
        lambda _: StartAgain("the Spark process is gone", do="look for memory kills (dmesg), then run again"),
    ),
)


def explained(error: BaseException, reading: str = "the file") -> HeadraceError | None:
    """The named error behind an exception of Spark, Delta or the operating system; None when it is not known.

    reading: what is named as the damaged file where the exception does not say which it was.
    """
    if isinstance(error, HeadraceError):
        return error
    text = _whole_text(error)
    where = _FILE.search(text)
    file = where.group().rstrip(".") if where else reading
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return _CAUSES[0][1](file)
    return next((make(file) for needles, make in _CAUSES if any(needle in text for needle in needles)), None)


def is_conflict(error: BaseException) -> bool:
    """Whether a commit to the lake met another one; nothing was written, and the same write may succeed."""
    text = _whole_text(error)
    return any(needle in text for needle in _CONFLICTS)


@contextmanager
def named_failures(reading: str = "the file") -> Iterator[None]:
    """Raise what `explained` makes of an exception in the block; others pass as they are."""
    try:
        yield
    except Exception as error:
        named = explained(error, reading)
        if named is None or named is error:
            raise
        raise named from error


def _whole_text(error: BaseException | None) -> str:
    parts = []
    while error is not None:
        parts.append(f"{type(error).__name__}: {error}")
        error = error.__cause__
    return "\n".join(parts)
