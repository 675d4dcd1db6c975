"""Refusals of states that outgrew their exact range: the same text from Python and from inside a Spark job."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from headrace.errors import StateBoundError

if TYPE_CHECKING:
    from pyspark.sql import Column

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

_RAISED = re.compile(r"headrace refuses: (.*?) \(end of refusal\)", re.DOTALL)
# Error classes of Spark under ANSI for arithmetic that leaves 64 bits.
_OVERFLOWS = ("[ARITHMETIC_OVERFLOW", "[CAST_OVERFLOW", "[NUMERIC_VALUE_OUT_OF_RANGE", "[BINARY_ARITHMETIC_OVERFLOW")


def sum_overflow(column: str) -> StateBoundError:
    """A contribution that cannot be a 64-bit count of steps, or a sum of them that cannot."""
    return StateBoundError(
        f"the sum of column {column!r} leaves the exact range",
        found="an infinite or too large number",
        expected="at most 2^63 - 1 steps of either sign in every partial sum",
        do="drop such rows in prepare or declare a larger step",
    )


def too_many(what: str, column: str, bound: int) -> StateBoundError:
    """A set of values or buckets beyond its declared bound."""
    return StateBoundError(
        f"the {what} of column {column!r} outgrew the bound of its state",
        found=f"more than {bound} for one entity",
        expected=f"at most {bound}",
        do="declare a larger bound or count something coarser",
    )


def in_range(total: int, column: str) -> int:
    """`total` if it is a 64-bit integer, else StateBoundError."""
    if INT64_MIN <= total <= INT64_MAX:
        return total
    raise sum_overflow(column)


def spark_refusal(error: StateBoundError) -> Column:
    """An expression that fails the job with the text of `error`; read it back with `explain_overflow`."""
    from pyspark.sql import functions as f

    return f.raise_error(f"headrace refuses: {error} (end of refusal)")


def explain_overflow(exception: BaseException) -> StateBoundError | None:
    """The named refusal behind a failed Spark job, or None when it failed for another reason.

    Raise it from the exception: `raise explained from exception`. An overflow Spark itself found carries no column.
    """
    text = str(exception)
    refused = _RAISED.search(text)
    if refused:
        return StateBoundError(refused[1])
    if any(name in text for name in _OVERFLOWS):
        return StateBoundError(
            "a sum leaves the exact range",
            found="a 64-bit overflow",
            expected="at most 2^63 - 1 steps of either sign in every partial sum",
            do="drop such rows in prepare or declare a larger step",
        )
    return None
