"""A champion is one whether or not the lake can be told."""

from __future__ import annotations

import logging

import pytest
from speed_world import Event, World, history

from headrace.cli.opening import promoting
from headrace.registry.timeline import FLIPS
from headrace.schemas.lake import timeline_path
from headrace.testing.plugin import SettingsFactory


def test_a_lake_that_cannot_be_written_to_is_a_warning_and_told_the_next_time(
    headrace_settings: SettingsFactory, caplog: pytest.LogCaptureFixture
) -> None:
    settings = headrace_settings()
    world = World(history([Event("a", 1.0, "x", 0)]))
    world.publish(1, world.head())
    settings.home.mkdir(parents=True)
    settings.lake.write_text("no folder")
    with caplog.at_level(logging.WARNING):
        assert promoting(settings, "plain")(world.store, 1).generation == 1
    assert world.store.champion("plain").generation == 1
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("generation 1 is the champion of plain, but the lake does not know from when on: [Errno ")
    assert said.endswith("headrace promote plain -g 1")
    settings.lake.unlink()
    promoting(settings, "plain")(world.store, 1)
    assert len((timeline_path(settings.lake, "plain") / FLIPS).read_text().split()) == 1
