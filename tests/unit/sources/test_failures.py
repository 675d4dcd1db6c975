"""What Spark, Delta and the operating system say is turned into errors that say what to do."""

from __future__ import annotations

import errno

import pytest

from headrace.errors import InputError, SchemaError, TerminalError, TransientError
from headrace.sources.failures import explained, named_failures


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("Job aborted: java.io.IOException: No space left on device", TransientError, "the disk is full; free space"),
        ("java.lang.OutOfMemoryError: Java heap space", TerminalError, "out of memory; .*spark.driver_memory"),
        ("[DELTA_CONCURRENT_APPEND] files were added", TransientError, "another process wrote"),
        ("EOFException: Unexpected end of input stream at file:/d/a.csv.gz", InputError, "file:/d/a.csv.gz ends too"),
        ("Illegal Parquet type: INT64 (TIMESTAMP(NANOS,false)) file:/d/a.parquet", SchemaError, "coerce_timestamps"),
        ("[CANNOT_READ_FILE_FOOTER] Could not read footer: file:/d/a.parquet.", InputError, "is damaged"),
        ("[DELTA_CANNOT_CREATE_LOG_PATH] Cannot create file:/d/_delta_log", TerminalError, "_log cannot be written"),
        ("[FAILED_READ_FILE.FILE_NOT_EXIST] file:/d/a.csv", InputError, "file:/d/a.csv vanished"),
    ],
)
def test_known_causes_are_named(text, kind, message):
    with pytest.raises(kind, match=message), named_failures():
        raise RuntimeError("the job failed") from ValueError(text)


def test_a_full_disk_is_known_by_its_number():
    assert isinstance(explained(OSError(errno.ENOSPC, "nothing left")), TransientError)


def test_unknown_and_own_errors_pass_as_they_are():
    assert explained(ValueError("what is this")) is None
    with pytest.raises(ZeroDivisionError), named_failures():
        raise ZeroDivisionError
    own = InputError("mine: No space left on device")
    with pytest.raises(InputError) as raised, named_failures():
        raise own
    assert raised.value is own
