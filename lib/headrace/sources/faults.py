"""What can be wrong with a record: conditions with the reasons they give, first match wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from headrace.schemas.lake import QUARANTINE_COLUMNS
from headrace.schemas.positions import PLACE

if TYPE_CHECKING:
    from pyspark.sql import Column

_SHOWN = 40


@dataclass(frozen=True)
class Fault:
    """`when` is true (null counts as false) for a record that is bad for `reason`."""

    when: Column
    reason: Column


def is_faulty(faults: Sequence[Fault]) -> Column:
    """Whether any fault applies; cheap, so it is what every row is asked."""
    from pyspark.sql import functions as F

    faulty = F.lit(col=False)
    for fault in faults:
        faulty = faulty | fault.when
    return F.coalesce(faulty, F.lit(col=False))


def first_reason(faults: Sequence[Fault]) -> Column:
    """The reason of the first fault that applies, for records that are known to be bad."""
    from pyspark.sql import functions as F

    return F.coalesce(*(F.when(fault.when, fault.reason) for fault in faults))


def quarantine_record(raw: Column, reason: Column, source: Column, seen_ts: datetime) -> list[Column]:
    """schemas.lake.QUARANTINE_COLUMNS of a bad record; its position is taken from the columns of that name.

    raw: the record as it came, string or binary.
    """
    from pyspark.sql import functions as F

    text = raw.cast("string")
    record = {
        "raw": F.make_valid_utf8(text),
        "raw_bytes": F.when(~F.is_valid_utf8(text), text.cast("binary")),
        "reason": reason,
        "source": source,
        **{name: F.col(name) for name in PLACE},
        "seen_ts": F.lit(seen_ts),
    }
    return typed_as(QUARANTINE_COLUMNS, record)


def typed_as(columns: Mapping[str, str], values: Mapping[str, Column]) -> list[Column]:
    """The values as columns of these names and types, in their order."""
    return [values[name].cast(kind).alias(name) for name, kind in columns.items()]


def shown(text: Column) -> Column:
    """The text in quotes, cut to 40 characters."""
    from pyspark.sql import functions as F

    cut = F.when(F.length(text) > _SHOWN, F.concat(F.substring(text, 1, _SHOWN), F.lit("..."))).otherwise(text)
    return F.concat(F.lit("'"), cut, F.lit("'"))
