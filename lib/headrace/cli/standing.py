"""What `headrace status --streams` shows: generations as the store has them, drivers as they say themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.opening import now, opened_store
from headrace.cli.output import show, table
from headrace.errors import HeadraceError

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.schemas import Vector
    from headrace.sources.streams import Feed
    from headrace.speed.observed import DriverSeen, GenerationSeen, StreamSeen


def show_streams(settings: Settings, watch: float | None, *, as_json: bool) -> None:
    """Once, or with `watch` every so many seconds until interrupted."""
    from headrace.registry import Registry
    from headrace.speed.observed import drivers
    from headrace.speed.standing import standings

    with ExitStack() as opened:
        store = opened.enter_context(opened_store(settings))
        head = Heads(settings, opened)
        while True:
            names = Registry(settings.registry).definitions()
            rows = [asdict(row) for name in names for row in standings(store, name, head, now())]
            seen = [driver for name in names for driver in drivers(settings.home, name, now())]
            told = {"generations": rows, "drivers": [asdict(driver) for driver in seen]}
            show(as_json, told, partial(_drawn, rows, seen))
            if watch is None:
                return
            time.sleep(watch)


class Heads:
    """Where streams end; one that cannot be reached is said once."""

    def __init__(self, settings: Settings, opened: ExitStack) -> None:
        self._settings = settings
        self._opened = opened
        self._feeds: dict[str, Feed | None] = {}

    def __call__(self, stream: str) -> Vector | None:
        from headrace.schemas import Vector

        if stream not in self._feeds:
            self._feeds[stream] = self._reach(stream)
        feed = self._feeds[stream]
        try:
            topic = feed.topic() if feed is not None else None
            return Vector.of(topic.incarnation, feed.head(topic, now()).ends) if feed and topic else None
        except HeadraceError:
            return None

    def _reach(self, stream: str) -> Feed | None:
        from headrace.local.endpoints import stream_address
        from headrace.sources.feeds import feed_of

        try:
            feed = feed_of(self._settings, stream, stream_address(self._settings, stream))
            return self._opened.enter_context(feed)
        except HeadraceError as error:
            click.echo(f"lag of {stream} is not known: {error}", err=True)
            return None


def _drawn(rows: Sequence[Mapping[str, Any]], seen: Sequence[DriverSeen]) -> Any:
    from rich.console import Group
    from rich.text import Text

    said = (Text("\n".join(lines(driver))) for driver in seen)
    return Group(table(rows, "no stream has been counted yet"), *said)


def lines(driver: DriverSeen) -> Iterator[str]:
    """A driver's standing for a person."""
    does = f" ({driver.only})" if driver.only else ""
    yield f"\ndriver of {driver.definition}{does} {driver.owner}: {driver.state}, heard {driver.heard_s:.1f} s ago"
    if driver.champion is not None:
        yield f"  champion      {driver.champion or 'none'}, candidate {driver.candidate or 'none'}"
        took = "" if driver.handover_s is None else f", {driver.handover_s:.2f} s each"
        yield f"  hand-overs    {driver.handovers}{took}"
    if driver.landing is not None:
        yield from _landing(driver.landing)
    for counting in driver.counting:
        yield from _counting(counting)


def _landing(landing: StreamSeen) -> Iterator[str]:
    bad = sum(landing.quarantined.values())
    why = f" ({_pairs(landing.quarantined)})" if bad else ""
    yield f"  landing {landing.stream}"
    yield f"    rows        {landing.rows:,} in, {bad:,} quarantined{why}"
    yield f"    replays     {landing.replayed_batches}"
    yield f"    lag         {_pairs(landing.lag)}"
    yield f"    batch       {_seconds(landing.batch_s)}"
    yield f"    phases      {_pairs(landing.phases_s)}"


def _counting(counting: GenerationSeen) -> Iterator[str]:
    yield f"  generation {counting.generation}"
    yield f"    items       {counting.items:,} written, {counting.guard_failures:,} guard failures"
    yield f"    replays     {counting.replayed_batches}"
    yield f"    lag         {_pairs(counting.lag)}"
    yield f"    freshness   p50 {_seconds(counting.freshness_p50_s)}, p99 {_seconds(counting.freshness_p99_s)}"
    yield f"    batch       {_seconds(counting.batch_s)}"
    yield f"    phases      {_pairs(counting.phases_s)}"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {value:,}" for name, value in values.items()) or "-"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.3f} s"
