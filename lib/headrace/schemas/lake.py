"""Where a stream's tables lie in the lake, and what a quarantined record looks like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# Columns of quarantine/<stream>: name -> Spark type.
QUARANTINE_COLUMNS: Mapping[str, str] = {
    "raw": "string",  # the record as it came; bytes that are not UTF-8 are shown as U+FFFD
    "raw_bytes": "binary",  # the record's own bytes, where `raw` cannot hold them; else null
    "reason": "string",  # `<kind>`, or `<kind>; found '<text, shortened>'`
    "source": "string",  # for people: a file name, a topic
    "_incarnation": "string",
    "_partition": "string",
    "_position": "bigint",
    "seen_ts": "timestamp",  # when it was quarantined, UTC
}

# Columns of gaps/<stream>, the ledger of what was given up: name -> Spark type.
GAP_COLUMNS: Mapping[str, str] = {
    "_incarnation": "string",
    "_partition": "string",
    "first": "bigint",  # the first position that never landed
    "next": "bigint",  # the position after the last; null: all that the topic's former life still held
    "seen_ts": "timestamp",  # when it was noticed, UTC
}

# Columns of quarantine_replayed/<stream>, the ledger of records that were sent again: name -> Spark type.
REPLAYED_COLUMNS: Mapping[str, str] = {
    "_incarnation": "string",  # where the bad record stands
    "_partition": "string",
    "_position": "bigint",
    "to_incarnation": "string",  # where it re-entered the topic
    "to_partition": "string",
    "to_position": "bigint",
    "sent_ts": "timestamp",
}

# What separates the kind of a reason, which is counted, from the text that was found, which is not.
FOUND = "; found "


def events_path(lake: Path, stream: str) -> Path:
    """The Delta table of a stream's events.

    >>> events_path(Path("lake"), "purchases").as_posix()
    'lake/events/purchases'
    """
    return lake / "events" / stream


def quarantine_path(lake: Path, stream: str) -> Path:
    """The Delta table of a stream's quarantined records."""
    return lake / "quarantine" / stream


def table_snapshot_path(lake: Path, table: str) -> Path:
    """The folder that holds the snapshot of a database's table, which no stream has.

    >>> table_snapshot_path(Path("lake"), "shop.online_retail").as_posix()
    'lake/snapshots/shop.online_retail'
    """
    return lake / "snapshots" / table


def gaps_path(lake: Path, stream: str) -> Path:
    """The Delta table of position ranges that were given up, which exists once there is one."""
    return lake / "gaps" / stream


def replayed_path(lake: Path, stream: str) -> Path:
    """The Delta table of quarantined records that were sent again."""
    return lake / "quarantine_replayed" / stream


def timeline_path(lake: Path, definition: str) -> Path:
    """The log of what was served of a definition when, which is no table."""
    return lake / "timeline" / definition


def by_entity_path(lake: Path, definition: str, definition_sha256: str) -> Path:
    """The Delta table of the events a definition counts, clustered by entity; another one for each of its versions.

    >>> by_entity_path(Path("lake"), "spend", "0123456789abcdef0123").as_posix()
    'lake/by_entity/spend/0123456789abcdef'
    """
    return lake / "by_entity" / definition / definition_sha256[:16]
