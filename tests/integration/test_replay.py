"""A replayed file stands in its topic row by row, none twice and none lost, whatever became of the replay."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from headrace.cli.data import split
from headrace.definitions import load_definition
from headrace.errors import InputError
from headrace.sources.files import fingerprint, read_events
from headrace.sources.kafka import Broker, range_records
from headrace.sources.payloads import decode, good, quarantined
from headrace.speed.replay import ROW_HEADER, Selection, replay

pytestmark = pytest.mark.kafka

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
BEGIN = datetime(2010, 12, 1, 8, 26)  # noqa: DTZ001 - as the file spells it


def line(n: int) -> str:
    at = BEGIN + timedelta(minutes=n)
    return f"{n},85123A,HEART,6,{at.month}/{at.day}/{at.year} {at:%H:%M},2.55,{17000 + n % 50},United Kingdom"


def purchases(folder: Path, *lines: str | bytes, name: str = "purchases.csv") -> Path:
    path = folder / name
    content = b"\n".join(text if isinstance(text, bytes) else text.encode() for text in (HEADER, *lines)) + b"\n"
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.fixture
def broker(kafka, headrace_settings):
    with Broker(headrace_settings().kafka, kafka) as opened:
        yield opened


@pytest.fixture
def definition(request):
    """The segments definition over a stream of this test's own."""
    segments = load_definition("segments")
    name = re.sub(r"\W", "_", f"{request.node.name}_{os.getpid()}")[-60:].lstrip("_0123456789").lower()
    return replace(segments, source=replace(segments.source, name=name))


@pytest.fixture
def send(broker, definition, tmp_path):
    def send(path: Path, *, stop=None, rate=None, multiline=False, **selection):
        return replay(
            broker,
            definition,
            fingerprint(path),
            tmp_path / "ledgers",
            selection=Selection(**selection),
            rate=rate,
            partitions=4,
            multiline=multiline,
            stop=stop or threading.Event(),
            progress=False,
        )

    return send


def arrived(broker, name):
    topic = broker.topic(name)
    ends = {partition: following for partition, (_, following) in broker.held(topic).items()}
    return list(broker.records(topic, {}, ends))


def row_of(record) -> int:
    return int(dict(record.headers)[ROW_HEADER].split(b":")[1])


def test_rows_become_json_under_their_declared_names(broker, definition, send, tmp_path):
    odd = '7,"85""A","a, b",6,12/1/2010 8:26,2.55,,'
    path = purchases(tmp_path, line(0), odd, "", "too,short", "8,x,é,6,12/1/2010 8:26,2.55,17850,UK\r", name="p.csv.gz")
    report = send(path)
    assert (report.sent, report.before, report.unread, report.is_complete) == (4, 0, 1, True)
    records = {row_of(record): record for record in arrived(broker, definition.source.name)}
    assert sorted(records) == [0, 1, 3, 4]
    assert dict(records[0].headers) == {ROW_HEADER: f"{fingerprint(path).sha256}:0".encode()}
    assert json.loads(records[0].value) == {
        "invoice": "0", "stock_code": "85123A", "description": "HEART", "quantity": "6",
        "invoice_date": "12/1/2010 08:26", "price": "2.55", "customer_id": "17000", "country": "United Kingdom",
    }  # fmt: skip
    second = json.loads(records[1].value)
    assert (second["stock_code"], second["description"], second["customer_id"]) == ('85"A', "a, b", None)
    assert [records[n].key for n in (0, 1, 3, 4)] == [b"17000", None, None, b"17850"]
    assert records[3].value == b"too,short"
    assert json.loads(records[4].value)["country"] == "UK"
    assert abs(records[0].timestamp / 1000 - time.time()) < 300


def test_a_finished_replay_sends_nothing_again(broker, definition, send, tmp_path):
    path = purchases(tmp_path, *map(line, range(3_000)))
    assert (send(path).sent, send(path).sent) == (3_000, 0)
    assert send(path).before == 3_000
    records = arrived(broker, definition.source.name)
    assert Counter(map(row_of, records)) == Counter(range(3_000))
    keys = {}
    assert all(keys.setdefault(record.key, record.partition) == record.partition for record in records)
    assert len(set(keys.values())) == 4
    # another life of the topic has none of them
    broker._admin.delete_topics([definition.source.name])
    assert send(path).sent == 3_000


def test_selections_overlap_without_repeating_a_row(broker, definition, send, tmp_path):
    path = purchases(tmp_path, *map(line, range(100)), "1,x,soon,6,soon,1,1,UK", "broken")
    at = [BEGIN.replace(tzinfo=UTC) + timedelta(minutes=n) for n in range(100)]
    first = send(path, until=at[40])
    assert (first.sent, first.before, first.unread) == (42, 0, 2)
    second = send(path, since=at[30], until=at[60], limit=25)
    assert (second.sent, second.before) == (15, 10)
    third = send(path)
    assert (third.sent, third.before, third.unread) == (45, 57, 1)
    assert Counter(map(row_of, arrived(broker, definition.source.name))) == Counter(range(102))


def test_what_no_ledger_noted_is_found_in_the_topic(broker, definition, send, tmp_path):
    path = purchases(tmp_path, *map(line, range(2_000)))
    send(path, limit=700)
    (ledger,) = (tmp_path / "ledgers").glob("*.jsonl")
    noted = ledger.read_bytes()
    first, opened = noted.splitlines(keepends=True)[:2]
    assert json.loads(opened) == {"state": "open"}
    # as a crash leaves it: rows were sent, nothing was noted, and the last line is torn
    ledger.write_bytes(first + opened + b'{"rows": [[0, 7')
    broker.producer().send(definition.source.name, b"somebody else's").get(timeout=30)
    report = send(path)
    assert (report.sent, report.before) == (1_300, 700)
    rows = [row_of(record) for record in arrived(broker, definition.source.name) if record.headers]
    assert Counter(rows) == Counter(range(2_000))
    assert send(path).sent == 0


def test_a_damaged_ledger_is_named(send, tmp_path):
    path = purchases(tmp_path, line(0))
    send(path)
    (ledger,) = (tmp_path / "ledgers").glob("*.jsonl")
    ledger.write_bytes(b"noise\n" + ledger.read_bytes())
    with pytest.raises(InputError, match=r"the ledger .* is damaged; found .*noise"):
        send(path)


def test_the_rate_is_steady_and_a_stop_leaves_the_rest(broker, definition, send, tmp_path):
    path = purchases(tmp_path, *map(line, range(400)))
    report = send(path, rate=200, limit=300)
    assert 1.4 < report.seconds < 4
    times = sorted(record.timestamp for record in arrived(broker, definition.source.name))
    assert times[150] - times[0] > 500
    stop = threading.Event()
    stop.set()
    stopped = send(path, stop=stop)
    assert (stopped.sent, stopped.before, stopped.is_complete) == (0, 300, False)
    assert send(path).sent == 100


def test_lines_of_json_are_sent_as_they_are(broker, definition, send, tmp_path):
    lines = [
        '{"InvoiceNo": "1", "price": 1.10, "CustomerID": "a", "InvoiceDate": "12/1/2010 8:26", "x": {"y": [1]}}',
        "[1]",
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(lines))
    assert send(path, since=datetime(2010, 1, 1, tzinfo=UTC)).unread == 1
    records = {row_of(record): record for record in arrived(broker, definition.source.name)}
    assert [records[n].value.decode() for n in (0, 1)] == lines
    assert [records[n].key for n in (0, 1)] == [b"a", None]


NASTY = [
    "", '""', '"a,b"', '"a""b"', 'a"b', '"a', 'a"', '"a"b', ' "a"', '"a" ', "é,é", " ", " 7 ", "null", "NaN", "\t",
    "a\rb", 'a""b', '"a""', '"""a"""', "\x00", "{}", '"x\ty"', "1e3", "\\", '"\\"', "\u2028",
]  # fmt: skip


def nasty_line(noise: random.Random) -> str:
    cells = [line(noise.randrange(900)).split(",")[n] for n in range(8)]
    for _ in range(noise.choice([0, 0, 1, 1, 2, 3])):
        cells[noise.randrange(8)] = noise.choice(NASTY)
    return ",".join(cells) + noise.choice(["", "", "", "\r", ",", " "])


@pytest.mark.spark
def test_a_replayed_file_is_decoded_to_what_the_file_holds(
    spark, kafka, headrace_settings, broker, definition, send, tmp_path
):
    noise = random.Random(5)
    lines = [nasty_line(noise) for _ in range(2_000)]
    path = purchases(tmp_path, *lines, b"1,caf\xe9,HEART,6,12/1/2010 8:26,2.55,1,UK", line(3))
    send(path)
    stream = definition.source
    topic = broker.topic(stream.name)
    ends = {partition: following for partition, (_, following) in broker.held(topic).items()}
    raw = range_records(spark, headrace_settings().kafka, kafka, topic, {}, ends, headers=True)
    number = "cast(split(decode(headers[0].value, 'UTF-8'), ':')[1] as bigint) as offset"
    # With the row for an offset, so that both sides number alike.
    numbered = raw.selectExpr("value", "0 as partition", number, "timestamp", "headers")
    rest = {"payload": "json", "incarnation": "t", "source": "s", "max_ahead_s": 600}
    decoded = decode(numbered, stream.schema, definition.event_time, **rest).persist()
    with read_events(
        spark, fingerprint(path), stream.schema, definition.event_time, arrival_ts=datetime.now(UTC)
    ) as file:
        columns = (*stream.schema.names, "_position")
        ours = [tuple(row) for row in good(decoded).orderBy("_position").select(*columns).collect()]
        theirs = [tuple(row) for row in file.events.orderBy("_position").select(*columns).collect()]
        assert ours == theirs
        assert len(ours) > 700
        bad = quarantined(decoded, datetime.now(UTC)).orderBy("_position").select("_position").collect()
        assert bad == file.quarantined.orderBy("_position").select("_position").collect()
        assert len(bad) > 300
    decoded.unpersist()


def test_records_may_span_lines(broker, definition, send, tmp_path):
    whole = line(0).replace("HEART", '"a\nb\n""c"')
    path = purchases(tmp_path, whole, line(1))
    assert send(path, multiline=True).unread == 0
    records = {row_of(record): json.loads(record.value) for record in arrived(broker, definition.source.name)}
    assert {n: record["description"] for n, record in records.items()} == {0: 'a\nb\n"c', 3: "HEART"}


class Command:
    """`headrace replay` as a process."""

    def __init__(self, kafka: str, home: Path, definition_file: Path, path: Path, stream: str, *options: str) -> None:
        self._arguments = [
            sys.executable, "-m", "headrace.cli", "replay", str(path), "--to", stream,
            "--definition", f"{definition_file}:mine", "--set", f"kafka.bootstrap={kafka}", "--json", *options,
        ]  # fmt: skip
        self._environment = {**os.environ, "HEADRACE_HOME": str(home)}

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._arguments, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def finish(self) -> dict:
        done = subprocess.run(self._arguments, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def command(kafka, tmp_path, definition):
    own = tmp_path / f"own_{os.getpid()}.py"
    own.write_text(
        "from dataclasses import replace\nfrom headrace.definitions.segments import segments\n"
        f"mine = replace(segments, name='mine', source=replace(segments.source, name={definition.source.name!r}))\n"
    )

    def command(path: Path, *options: str) -> Command:
        return Command(kafka, tmp_path / "home", own, path, definition.source.name, *options)

    return command


def held(broker, name: str) -> int:
    topic = broker.topic(name)
    return sum(following for _, following in broker.held(topic).values())


def wait_for_more(broker, name: str, than: int, process) -> int:
    deadline = time.monotonic() + 60
    while (now := held(broker, name)) <= than:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return now


def test_a_replay_that_is_killed_again_and_again(broker, definition, command, tmp_path):
    total, name = 20_000, definition.source.name
    replayed = command(purchases(tmp_path, *map(line, range(total))))
    broker.create(name, 4)
    noise, before, torn = random.Random(2), 0, 0
    for _ in range(4):
        process = replayed.start()
        wait_for_more(broker, name, before, process)
        time.sleep(noise.uniform(0, 0.4))
        process.kill()
        process.communicate()
        before = held(broker, name)
        (ledger,) = (tmp_path / "home" / "replay").glob("*.jsonl")
        noted = sum(b - a for entry in map(json.loads, whole_lines(ledger)) for a, b in entry.get("rows", ()))
        torn += noted < before < total
    assert torn, "no kill came in the middle, so nothing was shown"
    report = replayed.finish()
    assert report["sent"] + report["before"] == total
    assert Counter(map(row_of, arrived(broker, name))) == Counter(range(total))
    assert replayed.finish()["sent"] == 0


def whole_lines(ledger: Path) -> list[bytes]:
    return [text for text in ledger.read_bytes().splitlines(keepends=True) if text.endswith(b"\n")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_a_replay_that_can_be_resumed(broker, definition, command, tmp_path, number):
    name = definition.source.name
    path = purchases(tmp_path, *map(line, range(600)))
    broker.create(name, 2)
    process = command(path, "--rate", "100").start()
    wait_for_more(broker, name, 20, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "run the same command again to resume" in err
    report = json.loads(out)
    assert 0 < report["sent"] < 600
    assert not report["is_complete"]
    assert report["sent"] == held(broker, name)
    assert command(path).finish()["before"] == report["sent"]
    assert Counter(map(row_of, arrived(broker, name))) == Counter(range(600))


def test_two_at_once_send_each_row_once(broker, definition, command, tmp_path):
    replayed = command(purchases(tmp_path, *map(line, range(2_000))))
    both = [replayed.start() for _ in range(2)]
    sent = [json.loads(process.communicate(timeout=120)[0])["sent"] for process in both]
    assert sorted(sent) == [0, 2_000]
    assert Counter(map(row_of, arrived(broker, definition.source.name))) == Counter(range(2_000))


def test_a_stream_that_nobody_reads_is_named(kafka, tmp_path):
    path = purchases(tmp_path, line(0))
    arguments = [sys.executable, "-m", "headrace.cli", "replay", str(path), "--set", f"kafka.bootstrap={kafka}"]
    done = subprocess.run([*arguments, "--to", "purchase"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no built-in stream is 'purchase'" in done.stderr
    assert "nearest 'purchases'" in done.stderr


def test_a_file_is_split_by_event_time(tmp_path):
    rows = [
        '2,"a\r",x,6,11/1/2011 0:00,1,1,UK',
        '1,a,"b,c",6,10/31/2011 23:59,1,1,UK\r',
        "bad",
        "3,a,b,6,12/1/2011 0:00,1,1,UK",
    ]
    path = purchases(tmp_path, *rows, name="p.csv.gz")
    before, after = tmp_path / "before.csv", tmp_path / "after.csv.gz"
    arguments = [str(path), "--at", "2011-11-01", "--before", str(before), "--after", str(after)]
    done = CliRunner().invoke(split, arguments, catch_exceptions=False)
    assert "1 of the rows" in done.stderr
    assert before.read_bytes().split(b"\n") == [text.encode() for text in (HEADER, rows[1], rows[2], "")]
    kept = gzip.decompress(after.read_bytes())
    assert kept.split(b"\n") == [text.encode() for text in (HEADER, rows[0], rows[3], "")]
    with pytest.raises(InputError, match=r"before\.csv is there already"):
        CliRunner().invoke(split, arguments, catch_exceptions=False)
    assert CliRunner().invoke(split, [*arguments, "--replace"], catch_exceptions=False).exit_code == 0
    assert gzip.decompress(after.read_bytes()) == kept
