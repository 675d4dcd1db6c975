"""A file as a live stream: its rows sent one by one, none twice and none lost, however often it is interrupted."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.definitions import Definition
from headrace.errors import InputError
from headrace.local.download import exclusive
from headrace.sources.files import FileFingerprint
from headrace.sources.instants import instant_reader
from headrace.sources.kafka import Broker
from headrace.sources.kafka_producer import DELIVERY_MS
from headrace.sources.progress import say, shown
from headrace.sources.rows import FileRow, rows
from headrace.sources.streams import Topic, check_topic
from headrace.speed.ledger import Ledger

if TYPE_CHECKING:
    from kafka import KafkaProducer
    from kafka.producer.future import FutureRecordMetadata

# Which row a record is: `<SHA-256 of the file>:<row>`.
ROW_HEADER = "headrace-row"
_LANDING_S = DELIVERY_MS / 1000 + 15
_NOTED_EVERY_S = 1.0
_IN_FLIGHT = 20_000
# How long what a killed replay had handed to the network may take to arrive.
_STRAYS_S = 1.0
# A replay that was held up for longer than this does not make up for it in a burst.
_BEHIND_S = 1.0


@dataclass(frozen=True)
class Selection:
    """Which rows: those whose event time is in [since, until), and of these the first `limit` in the file.

    A row whose event time cannot be read is selected, so that it is quarantined rather than lost.
    """

    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Replayed:
    """What came of a replay: rows sent by this call, and rows that earlier ones had sent `before`.

    unread: rows among them that cannot be read as the declared columns, or whose time cannot where it is asked for.
    is_complete: whether all selected rows have been sent; False when it was stopped.
    """

    file: str
    sha256: str
    stream: str
    incarnation: str
    partitions: int
    sent: int
    before: int
    unread: int
    seconds: float
    is_complete: bool


def replay(
    broker: Broker,
    definition: Definition,
    file: FileFingerprint,
    folder: Path,
    *,
    selection: Selection,
    rate: float | None,
    partitions: int,
    multiline: bool,
    stop: threading.Event,
    progress: bool,
) -> Replayed:
    """Send the selected rows of a file to the definition's stream, except those that an earlier replay has sent.

    A CSV row becomes one JSON object of the declared columns with their texts as they stand; a line of JSON, or a row
    that cannot be read, is sent as it is. The key is the entity's text. folder: where the ledgers are. rate: rows a
    second, None for as fast as it goes. partitions: of a topic that has to be created. stop: ends it in order.
    """
    stream = definition.source
    if stream.payload != "json":
        raise InputError(f"stream {stream.name!r} takes no JSON", found=f"payload {stream.payload!r}")
    topic = broker.create(stream.name, partitions)
    ledger = Ledger(folder, file, topic)
    waiting = f"another replay of {file.name} into {topic.name} runs; waiting until it ends"
    with exclusive(ledger.path.with_suffix(".lock"), lambda: say(waiting)):
        ledger.open({partition: following for partition, (_, following) in broker.held(topic).items()})
        try:
            if not ledger.is_certain:
                _find_strays(broker, topic, ledger, file)
            chosen = _Chosen(definition, file, selection, multiline=multiline)
            with shown(f"replaying {file.name} into {topic.name}", chosen.most, "rows", wanted=progress) as advance:
                sent = _send(
                    _Flight(broker, topic, ledger),
                    chosen,
                    message=_Message(definition, file),
                    pace=_Pace(rate, stop),
                    advance=advance,
                )
            check_topic(broker.topic(topic.name), topic.incarnation)
        finally:
            ledger.close()
    return Replayed(
        file=file.name,
        sha256=file.sha256,
        stream=topic.name,
        incarnation=topic.incarnation,
        partitions=len(topic.partitions),
        **asdict(sent),
    )


class _Chosen:
    """The selected rows in the order of the file, each with whether it can be read."""

    def __init__(self, definition: Definition, file: FileFingerprint, selection: Selection, *, multiline: bool) -> None:
        self._selection, self._event_time = selection, definition.event_time
        schema = definition.source.schema
        self._by_time = selection.since is not None or selection.until is not None
        # Read by time only where it is asked for, so that a format it cannot read stops nobody else.
        self._instant = instant_reader(schema.field(definition.event_time)) if self._by_time else None
        self._rows = rows(file, schema, (definition.event_time, definition.entity), multiline=multiline)
        self._lines = file.lines - (file.format == "csv")

    @property
    def most(self) -> int | None:
        """How many they are at most; None where it cannot be said."""
        return None if self._by_time else min(self._lines, self._selection.limit or self._lines)

    def __iter__(self) -> Iterator[tuple[FileRow, bool]]:
        looked_at = ((row, *self._look(row)) for row in self._rows)
        selected = ((row, is_read) for row, is_chosen, is_read in looked_at if is_chosen)
        return islice(selected, self._selection.limit)

    def _look(self, row: FileRow) -> tuple[bool, bool]:
        """Whether the row is selected, and whether it can be read."""
        if row.texts is None or self._instant is None:
            return True, row.texts is not None
        instant = self._instant(row.texts[self._event_time] or "")
        if instant is None:
            return True, False
        since, until = self._selection.since, self._selection.until
        return (since is None or instant >= since) and (until is None or instant < until), True


class _Message:
    """Rows as records."""

    def __init__(self, definition: Definition, file: FileFingerprint) -> None:
        self._entity, self._is_json, self._sha256 = definition.entity, file.format == "json", file.sha256

    def of(self, row: FileRow) -> dict[str, Any]:
        key = None if row.texts is None else row.texts[self._entity]
        if row.texts is None or self._is_json:
            value = row.line
        else:
            value = json.dumps(row.texts, ensure_ascii=False, separators=(",", ":")).encode()
        headers = [(ROW_HEADER, f"{self._sha256}:{row.number}".encode())]
        return {"key": None if key is None else key.encode(), "value": value, "headers": headers}


class _Pace:
    """Lets rows through at a steady rate until it is stopped."""

    def __init__(self, rate: float | None, stop: threading.Event) -> None:
        self._gap = 0.0 if rate is None else 1.0 / rate
        self._stop = stop
        self._due = 0.0

    def waits(self) -> bool:
        """Wait until the next row is due; False when there is to be none."""
        if self._gap:
            now = time.monotonic()
            if now - self._due > _BEHIND_S:
                self._due = now
            if self._due > now:
                self._stop.wait(self._due - now)
            self._due += self._gap
        return not self._stop.is_set()


@dataclass
class _Sent:
    """See Replayed."""

    sent: int = 0
    before: int = 0
    unread: int = 0
    seconds: float = 0.0
    is_complete: bool = False


def _send(flight: _Flight, chosen: _Chosen, *, message: _Message, pace: _Pace, advance: Callable[[int], None]) -> _Sent:
    done, began = _Sent(), 0.0
    try:
        for row, is_read in chosen:
            if flight.has_landed(row.number):
                done.before += 1
            elif pace.waits():
                began = began or time.monotonic()
                flight.send(row.number, message.of(row))
                done.sent += 1
            else:
                break
            done.unread += not is_read
            advance(1)
        else:
            done.is_complete = True
    finally:
        flight.land()
    done.seconds = time.monotonic() - began if began else 0.0
    return done


class _Flight:
    """Records that are on their way, in the order of the file; noted in the ledger as they arrive."""

    def __init__(self, broker: Broker, topic: Topic, ledger: Ledger) -> None:
        self._broker, self._topic, self._ledger = broker, topic, ledger
        self._producer: KafkaProducer | None = None
        self._flying: deque[tuple[int, FutureRecordMetadata]] = deque()
        self._noted = time.monotonic()

    def has_landed(self, number: int) -> bool:
        """Whether the row was there before anything was sent."""
        return number in self._ledger.sent

    def send(self, number: int, record: dict[str, Any]) -> None:
        if self._producer is None:
            self._producer = self._broker.producer()
            self._ledger.begin()
        with self._broker.named():
            self._flying.append((number, self._producer.send(self._topic.name, **record)))
        if len(self._flying) >= _IN_FLIGHT:
            self._note(until=_IN_FLIGHT // 2)
        elif time.monotonic() - self._noted >= _NOTED_EVERY_S:
            self._note(until=len(self._flying))

    def land(self) -> None:
        """Wait for what is on its way. What fails or is interrupted is looked for by the next replay."""
        if self._producer is None:
            return
        with self._broker.named():
            self._producer.flush(timeout=_LANDING_S)
        self._note(until=0)
        self._ledger.end()

    def _note(self, until: int) -> None:
        """Note what has arrived, waiting until at most so many records fly.

        The producer keeps the order in each partition, so what is behind the last noted record was sent after it.
        """
        arrived, offsets = [], {}
        try:
            while self._flying and (len(self._flying) > until or self._flying[0][1].is_done):
                number, future = self._flying[0]
                with self._broker.named():
                    place = future.get()
                offsets[place.partition] = place.offset + 1
                arrived.append(number)
                self._flying.popleft()
        finally:
            self._ledger.note(arrived, offsets)
            self._noted = time.monotonic()


def _find_strays(broker: Broker, topic: Topic, ledger: Ledger, file: FileFingerprint) -> None:
    """Note which rows arrived although the replay that sent them did not live to note them."""
    time.sleep(_STRAYS_S)
    ends = {partition: following for partition, (_, following) in broker.held(topic).items()}
    mine = f"{file.sha256}:".encode()
    found = []
    for record in broker.records(topic, ledger.offsets, ends):
        told = dict(record.headers).get(ROW_HEADER, b"")
        if told.startswith(mine):
            found.append(int(told.removeprefix(mine)))
    ledger.note(found, ends)
    ledger.end()
