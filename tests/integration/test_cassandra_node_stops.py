"""A node that is killed in the middle of a load: a named error, and afterwards every row once."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from cassandra_world import NOW, count_of, purchases

from headrace.batch import loading
from headrace.batch.loading import load_file
from headrace.errors import DatabaseUnavailable, DownloadError
from headrace.local import engines
from headrace.sources.cassandra import connected

# A Cassandra of its own, started twice.
pytestmark = [pytest.mark.spark, pytest.mark.cassandra, pytest.mark.slow]


def started(settings):
    try:
        (found,) = engines.up(["cassandra"], settings, progress=False)
    except DownloadError as error:
        pytest.skip(f"cassandra: {error}")
    return found


def test_rows_are_equal_at_the_end(spark, headrace_settings, tmp_path, monkeypatch):
    settings = headrace_settings("cassandra.hosts=engine", "cassandra.timeout_s=5", "cassandra.retry_s=2")
    node = started(settings)
    path = purchases(tmp_path / "sales.csv", 200)
    rows = count_of(path)
    monkeypatch.setattr(loading, "SLICE_ROWS", 100)
    append, calls, told = loading.append, [], []

    def kills(frame, target):
        calls.append(target)
        if len(calls) == 3:
            os.kill(node.pid, signal.SIGKILL)
            psutil.wait_procs([psutil.Process(node.pid)] if psutil.pid_exists(node.pid) else [], timeout=20)
        append(frame, target)

    try:
        with connected(settings) as cassandra:
            monkeypatch.setattr(loading, "append", kills)
            with pytest.raises(DatabaseUnavailable, match=r"did not answer while loading .*run again"):
                load_file(spark, settings, cassandra, "online_retail", path, now=NOW, advance=told.append)
        monkeypatch.setattr(loading, "append", append)
        assert started(settings).pid != node.pid
        # Run again by another process: other settings give Spark another connection, as that would have.
        settings = headrace_settings("cassandra.hosts=engine", "cassandra.timeout_s=6")
        with connected(settings) as cassandra:
            done = load_file(spark, settings, cassandra, "online_retail", path, now=NOW)
            assert (len(told), done.resumed, done.in_table) == (2, sum(told), rows)
            counted = cassandra.execute(f"SELECT count(*) AS n FROM {settings.cassandra.keyspace}.online_retail")
            assert counted[0].n == rows
    finally:
        engines.down(["cassandra"], settings)
