"""Land a file's events in the lake: whole, once, with positions; bad rows go to quarantine."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.config import Settings
from headrace.definitions import Definition
from headrace.errors import ConfigError, InputError, OverlapError, SchemaError
from headrace.schemas.lake import FOUND, events_path, quarantine_path
from headrace.sinks.lake import (
    add_columns,
    append_file,
    forget_file,
    refuse_changed_schema,
    replace_history,
)
from headrace.sources.failures import named_failures
from headrace.sources.files import FileFingerprint, blank_lines, fingerprint, read_events
from headrace.sources.lake import LandedLog, is_table, landed_logs, quarantine_counts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from headrace.sources.decoded import Decoded

_EXAMPLES = 3
_SHOWN_LOGS = 3


@dataclass(frozen=True)
class IngestReport:
    """What became of one file. rows_read = landed + quarantined; blank lines are counted apart.

    already_landed: the file was in the lake before and nothing was written.
    ignored: columns of the file that are not declared. absent: declared columns it lacks, read as null.
    """

    source: str
    sha256: str
    rows_read: int
    landed: int
    quarantined: int
    quarantined_by_reason: dict[str, int]
    blank: int
    already_landed: bool
    ignored: tuple[str, ...] = field(default=())
    absent: tuple[str, ...] = field(default=())


def ingest(
    spark: SparkSession,
    settings: Settings,
    definition: Definition,
    path: Path,
    *,
    now: datetime,
    replace: bool = False,
    disjoint: bool = False,
) -> IngestReport:
    """Land one file in the stream of a definition.

    now: the arrival time of its rows, aware. replace: drop in the same commit what earlier files landed.
    disjoint: the caller vouches that this file shares no event with earlier files, whatever times they cover.
    A run that stopped anywhere is completed by running it again.

    Raises InputError for a file that cannot be read or has too many bad rows (these are in quarantine, and
    nothing has landed), SchemaError for columns that do not fit, OverlapError for events that may count twice.
    """
    if now.tzinfo is None:
        raise ConfigError("the arrival time has no time zone", found=now, expected="an aware datetime")
    if replace and disjoint:
        raise ConfigError("replace and disjoint exclude each other", do="give one of them")
    stream = definition.source
    events = events_path(settings.lake, stream.name)
    quarantine = quarantine_path(settings.lake, stream.name)
    file = fingerprint(path)
    with named_failures(file.name):
        new = refuse_changed_schema(spark, events, stream.schema)
        logs = landed_logs(spark, settings.lake, stream.name)
        own = next((log for log in logs if log.is_history and log.partition == file.sha256), None)
        others = [log for log in logs if log is not own]
        drops_something = replace and (new or any(log.is_history for log in others))
        if own is not None and not drops_something:
            return _already_landed(spark, settings, definition, file, own=own, new=new)
        with read_events(
            spark,
            file,
            stream.schema,
            definition.event_time,
            arrival_ts=now,
            multiline=settings.ingest.multiline,
            needed=_needed(definition),
        ) as decoded:
            _refuse_too_many_bad(spark, settings, decoded, file, quarantine)
            _refuse_overlap(definition, decoded, file, others, replace=replace, disjoint=disjoint)
            # Quarantine first: where a file's events are in the lake, its bad rows are in quarantine.
            write = replace_history if replace else append_file
            if decoded.bad or (replace and is_table(spark, quarantine)):
                write(spark, decoded.quarantined, quarantine, file.sha256)
            else:
                forget_file(spark, quarantine, file.sha256)
            write(spark, decoded.events, events, file.sha256)
            return _report(file, decoded)


def _needed(definition: Definition) -> tuple[str, ...]:
    return (definition.entity, *((definition.event_id,) if definition.event_id else ()))


def _report(file: FileFingerprint, decoded: Decoded) -> IngestReport:
    return IngestReport(
        source=file.name,
        sha256=file.sha256,
        rows_read=decoded.rows,
        landed=decoded.good,
        quarantined=decoded.bad,
        quarantined_by_reason=decoded.by_reason,
        blank=decoded.blank,
        already_landed=False,
        ignored=decoded.ignored,
        absent=decoded.absent,
    )


def _already_landed(
    spark: SparkSession,
    settings: Settings,
    definition: Definition,
    file: FileFingerprint,
    *,
    own: LandedLog,
    new: tuple[str, ...],
) -> IngestReport:
    """The counts of the run that landed the file, from the lake and without decoding it again."""
    from headrace.sources.readings import reading

    stream = definition.source
    matched = reading(
        spark, file, stream.schema, definition.event_time, multiline=False, needed=_needed(definition)
    ).matched
    unread = [name for name in new if name not in matched.absent]
    if unread:
        raise SchemaError(
            f"{file.name} landed before column {unread[0]!r} was declared",
            found="landed rows without it",
            do="land the file again with --replace",
        )
    if new:
        add_columns(spark, events_path(settings.lake, stream.name), stream.schema, new)
    counts = quarantine_counts(spark, settings.lake, stream.name, file.sha256).collect()
    by_reason = {row["reason"]: row["rows"] for row in counts}
    bad = sum(by_reason.values())
    return IngestReport(
        source=file.name,
        sha256=file.sha256,
        rows_read=own.rows + bad,
        landed=own.rows,
        quarantined=bad,
        quarantined_by_reason=by_reason,
        blank=blank_lines(file, multiline=settings.ingest.multiline),
        already_landed=True,
        ignored=matched.ignored,
        absent=matched.absent,
    )


def _refuse_too_many_bad(
    spark: SparkSession, settings: Settings, decoded: Decoded, file: FileFingerprint, quarantine: Path
) -> None:
    """Stop where the share of bad rows passes the limit; they are left in quarantine to be looked at."""
    share, limit = decoded.bad / decoded.rows, settings.ingest.max_quarantine_share
    if share <= limit and decoded.good:
        return
    append_file(spark, decoded.quarantined, quarantine, file.sha256)
    examples = _positions(decoded.quarantined)
    counts = "; ".join(
        f"{n:,} x {kind} (positions {', '.join(map(str, examples.get(kind, ())))})"
        for kind, n in decoded.by_reason.items()
    )
    advice = f"nothing was landed; the bad rows are in {quarantine} with their reasons"
    if max(decoded.by_reason, key=lambda kind: decoded.by_reason[kind]) == "not UTF-8":
        advice += "; if the file has another encoding, convert it, for instance with iconv -f LATIN1 -t UTF-8"
    elif decoded.good:
        advice += f"; to accept this many: --set ingest.max_quarantine_share={_rounded_up(share)}"
    raise InputError(
        f"{'every' if not decoded.good else 'too many'} row{'s' * bool(decoded.good)} of {file.name} "
        f"{'is' if not decoded.good else 'are'} bad",
        found=f"{decoded.bad:,} of {decoded.rows:,} ({share:.1%}): {counts}",
        expected=f"at most {limit:.1%}",
        do=advice,
    )


def _rounded_up(share: float) -> float:
    return min(1.0, (int(share * 100) + 1) / 100)


def _positions(quarantined: DataFrame) -> dict[str, list[int]]:
    """The first positions of each kind of fault, never the rows themselves."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    kind = F.substring_index("reason", FOUND, 1)
    order = Window.partitionBy("kind").orderBy("_position")
    rows = (
        quarantined.select(kind.alias("kind"), "_position")
        .withColumn("nth", F.row_number().over(order))
        .where(F.col("nth") <= _EXAMPLES)
        .orderBy("kind", "_position")
        .collect()
    )
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(row["kind"], []).append(row["_position"])
    return found


def _refuse_overlap(
    definition: Definition,
    decoded: Decoded,
    file: FileFingerprint,
    others: list[LandedLog],
    *,
    replace: bool,
    disjoint: bool,
) -> None:
    """Stop where the file covers event time that another log covers, unless nothing can count twice."""
    if definition.event_id is not None or decoded.earliest is None or decoded.latest is None:
        return
    earliest, latest = decoded.earliest, decoded.latest
    rivals = [
        log
        for log in others
        if log.earliest <= latest and earliest <= log.latest and not (log.is_history and (replace or disjoint))
    ]
    if not rivals:
        return
    covered = "; ".join(
        f"{'file' if log.is_history else 'stream'} {log.source} from {_shown(log.earliest)} to {_shown(log.latest)}"
        for log in rivals[:_SHOWN_LOGS]
    )
    ways = ["declare event_id in the definition, by which copies count once"]
    if all(log.is_history for log in rivals):
        ways = [
            "--replace drops what earlier files landed",
            "--disjoint vouches that the files share no event",
            f"or {ways[0]}",
        ]
    else:
        ways.append("or cut the file off before the stream begins")
    raise OverlapError(
        f"events of {file.name} may count twice in stream {definition.source.name!r}",
        found=f"{_shown(earliest)} to {_shown(latest)} in the file, and landed already: {covered}"
        + (f" and {len(rivals) - _SHOWN_LOGS} more" if len(rivals) > _SHOWN_LOGS else ""),
        expected="logs that cover different times",
        do="; ".join(ways),
    )


def _shown(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%SZ")
