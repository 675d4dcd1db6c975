"""Quarantined records: looked at, and sent to their topic again, each at most once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.config import Settings
from headrace.errors import InputError, TerminalError, TransientError, nearest
from headrace.local.download import exclusive
from headrace.schemas import HISTORY
from headrace.schemas.lake import FOUND, QUARANTINE_COLUMNS, quarantine_path
from headrace.schemas.positions import PLACE
from headrace.sources.kafka import Broker
from headrace.sources.lake import is_table, quarantine_counts
from headrace.sources.payloads import ORIGIN_HEADER
from headrace.sources.streams import Topic
from headrace.speed.resent import Origin, Resent, ResentLedger

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

_AT_ONCE = 5_000  # records between two notes in the ledger
_SEND_S = 60
_EXAMPLES = 3


@dataclass(frozen=True)
class Replayed:
    """What one replay did. sent: records that re-entered. before: records that had re-entered already.

    from_files: records of files among those asked for, which are left alone.
    """

    sent: int
    before: int
    from_files: int


def records(spark: SparkSession, lake: Path, stream: str, reason: str | None = None) -> DataFrame:
    """The quarantined records of a stream, or those of one kind of fault.

    Out: schemas.lake.QUARANTINE_COLUMNS, `sent_ts` timestamp: when it re-entered, else null.
    Raises InputError for a kind that is not there, naming the nearest.
    """
    from pyspark.sql import functions as F

    path = quarantine_path(lake, stream)
    names = list(PLACE)
    if is_table(spark, path):
        rows = spark.read.format("delta").load(str(path))
    else:
        rows = spark.createDataFrame([], ", ".join(f"{name} {kind}" for name, kind in QUARANTINE_COLUMNS.items()))
    if reason is not None:
        rows = rows.where(F.substring_index("reason", FOUND, 1) == reason)
        if rows.isEmpty():
            kinds = [row["reason"] for row in quarantine_counts(spark, lake, stream).collect()]
            raise InputError(
                f"no record of stream {stream!r} is quarantined for {reason!r}",
                found=kinds or "nothing",
                nearest=nearest(reason, kinds),
            )
    sent = ResentLedger(spark, lake, stream).sent().select(*names, "sent_ts").dropDuplicates(names)
    return rows.join(sent, names, "left").select(*rows.columns, "sent_ts")


def repairs_of(file: Path) -> dict[Origin, bytes]:
    """The values to send in place of bad records, from JSON lines.

    A line: {"incarnation": text, "partition": text, "position": number, "value": text or an object}.
    """
    found: dict[Origin, bytes] = {}
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
            value = said["value"]
            origin = (str(said["incarnation"]), str(said["partition"]), int(said["position"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"line {number} of {file.name} is not a repair",
                found=f"{type(error).__name__}: {error}",
                expected='{"incarnation": .., "partition": .., "position": .., "value": ..}',
            ) from error
        if not isinstance(value, str | dict):
            raise InputError(
                f"line {number} of {file.name} has no value to send",
                found=type(value).__name__,
                expected="the record as text, or as an object",
            )
        if origin in found:
            raise InputError(f"line {number} of {file.name} repairs {_shown(origin)} again")
        found[origin] = (value if isinstance(value, str) else json.dumps(value)).encode()
    return found


def replay(
    spark: SparkSession,
    settings: Settings,
    stream: str,
    bootstrap: str,
    *,
    clock: Callable[[], datetime],
    reason: str | None = None,
    repairs: Mapping[Origin, bytes] | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Replayed:
    """Send quarantined records to their topic again, as new records that say where the bad ones stand.

    Those of one kind of fault, or all; or those that `repairs` names, with its values. A record re-enters at most once,
    whatever crashes: the ledger is written before and after, and the end of the topic is searched for what was sent
    in between; two replays that share a home folder wait for each other. on_step: told when records are `sent`, before
    they are noted.

    Raises InputError for a record that is not in quarantine, or that came from a file: mend the file and ingest it.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    with exclusive(settings.home / f"quarantine-{stream}.lock"), Broker(settings.kafka, bootstrap) as broker:
        topic = broker.topic(stream)
        ledger = ResentLedger(spark, settings.lake, stream)
        ledger.recover(broker, topic, clock())
        chosen = records(spark, settings.lake, stream, reason)
        if repairs is not None:
            chosen = _named(spark, chosen, repairs, stream)
        chosen = chosen.persist()
        try:
            groups = _tally(chosen)
            if repairs is None and groups["all"] and groups["from_files"] == groups["all"]:
                raise _from_files(stream, f"all {groups['all']} records")
            due = chosen.where(f"sent_ts IS NULL AND _incarnation != '{HISTORY}'")
            sent = 0
            rows = due.orderBy(*PLACE).toLocalIterator()
            while some := list(islice(rows, _AT_ONCE)):
                ledger.open(topic, broker.held(topic))
                done = _send(broker, topic, some, repairs or {})
                on_step("sent")
                ledger.close(done, clock())
                sent += len(done)
        finally:
            chosen.unpersist()
    return Replayed(sent, groups["before"], groups["from_files"])


def _named(spark: SparkSession, rows: DataFrame, repairs: Mapping[Origin, bytes], stream: str) -> DataFrame:
    """The records that are repaired. Raises InputError where one is not there or came from a file."""
    names = list(PLACE)
    if files := [origin for origin in repairs if origin[0] == HISTORY]:
        raise _from_files(stream, _few(files))
    wanted = spark.createDataFrame(list(repairs), "_incarnation string, _partition string, _position bigint")
    if missing := wanted.join(rows, names, "left_anti").collect():
        raise InputError(
            f"{len(missing)} of the repaired records are not in quarantine of stream {stream!r}",
            found=_few([(row[0], row[1], row[2]) for row in missing]),
            do="`headrace quarantine list DEFINITION --json` tells incarnation, partition and position of each",
        )
    return rows.join(wanted, names, "left_semi")


def _tally(rows: DataFrame) -> dict[str, int]:
    from pyspark.sql import functions as F

    is_file = F.col("_incarnation") == HISTORY
    found = rows.agg(
        F.count("*").alias("all"),
        F.count_if(is_file).alias("from_files"),
        F.count_if(~is_file & F.col("sent_ts").isNotNull()).alias("before"),
    ).head()
    return found.asDict() if found is not None else {}


def _send(broker: Broker, topic: Topic, rows: Sequence[Row], repairs: Mapping[Origin, bytes]) -> list[Resent]:
    """Send the records and wait until the brokers have them all."""
    from kafka.errors import KafkaError

    producer = broker.producer()
    futures: list[tuple[Origin, Any]] = []
    try:
        for row in rows:
            origin = (row["_incarnation"], row["_partition"], row["_position"])
            told = "/".join(map(str, origin)).encode()
            value = repairs.get(origin, row["raw_bytes"] if row["raw_bytes"] is not None else _bytes(row["raw"]))
            # Beside the bad one where that partition still is. A record without a value needs a key.
            where = int(origin[1]) if int(origin[1]) in topic.partitions else None
            futures.append((origin, producer.send(topic.name, value, told, [(ORIGIN_HEADER, told)], partition=where)))
        producer.flush()
        sent = [(origin, future.get(_SEND_S)) for origin, future in futures]
    except KafkaError as error:
        kind = TransientError if error.retriable else TerminalError
        raise kind(
            f"records could not be sent to topic {topic.name!r}",
            found=f"{type(error).__name__}: {str(error)[:200]}",
            do="run again: what has arrived is not sent twice",
        ) from error
    finally:
        producer.close()
    return [Resent(origin, (topic.incarnation, str(at.partition), at.offset)) for origin, at in sent]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _lines(file: Path) -> Iterator[str]:
    try:
        with file.open(encoding="utf-8") as lines:
            yield from lines
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read", found=error, expected="JSON lines in UTF-8") from error


def _from_files(stream: str, which: str) -> InputError:
    return InputError(
        f"{which} of stream {stream!r} came from files, which do not re-enter by the topic",
        do="mend the file and ingest it again: headrace ingest DEFINITION --input FILE --replace",
    )


def _few(origins: Sequence[Origin]) -> str:
    more = f" and {len(origins) - _EXAMPLES} more" if len(origins) > _EXAMPLES else ""
    return ", ".join(map(_shown, origins[:_EXAMPLES])) + more


def _shown(origin: Origin) -> str:
    return "/".join(map(str, origin))
