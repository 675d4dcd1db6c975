"""Which system carries a stream."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from headrace.cli.replay import replay
from headrace.config import load
from headrace.errors import EngineError, InputError
from headrace.local.endpoints import stream_address
from headrace.sources.feeds import feed_of
from headrace.sources.kafka_stream import KafkaFeed
from headrace.sources.kinesis_stream import KinesisFeed


def settings(home, *assignments):
    return load([f"home={home}", 'kinesis.streams=["clicks"]', "kafka.bootstrap=k:9092", *assignments], "local")


def test_settings_say_what_carries_a_stream(tmp_path):
    own = settings(tmp_path, "kinesis.endpoint=http://127.0.0.1:5")
    assert isinstance(feed_of(own, "clicks", "http://127.0.0.1:5"), KinesisFeed)
    assert isinstance(feed_of(own, "visits", "k:9092"), KafkaFeed)
    assert (stream_address(own, "clicks"), stream_address(own, "visits")) == ("http://127.0.0.1:5", "k:9092")
    assert stream_address(settings(tmp_path, "kinesis.endpoint="), "clicks") == ""  # AWS
    with pytest.raises(EngineError, match="headrace up kinesis"):
        stream_address(settings(tmp_path), "clicks")


def test_replay_to_kinesis_is_refused_by_name(tmp_path):
    file = tmp_path / "purchases.csv"
    file.write_text("invoice\n1\n")
    ran = CliRunner().invoke(replay, [str(file), "--to", "purchases", "--set", 'kinesis.streams=["purchases"]'])
    assert isinstance(ran.exception, InputError)
    assert "nothing is sent to stream 'purchases' from here" in str(ran.exception)
    assert "put_records" in str(ran.exception)
