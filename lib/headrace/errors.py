"""Errors that say what, found, expected, nearest match and what to do, and carry the exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, among: Iterable[str]) -> str | None:
    """The closest spelling of `word` in `among`, or None when nothing is close.

    >>> nearest("recencey", ["recency", "monetary"])
    'recency'
    """
    close = difflib.get_close_matches(word, list(among), n=1, cutoff=0.5)
    return close[0] if close else None


class HeadraceError(Exception):
    """The root of every error the platform raises on purpose.

    The message reads: what; found ...; expected ...; nearest ...; what to do. Empty parts are left out.
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        found: object = None,
        expected: object = None,
        nearest: str | None = None,
        do: str | None = None,
    ) -> None:
        self.what = what
        parts = [what]
        if found is not None:
            parts.append(f"found {found}")
        if expected is not None:
            parts.append(f"expected {expected}")
        if nearest is not None:
            parts.append(f"nearest {nearest!r}")
        if do is not None:
            parts.append(do)
        super().__init__("; ".join(parts))


class TerminalError(HeadraceError):
    """Wrong use or input: the same call fails again, so do not retry (exit 2)."""


class TransientError(HeadraceError):
    """Something passing, such as an engine that does not answer: the same call may succeed later (exit 75)."""

    exit_code = 75


class AnswerIsNo(HeadraceError):
    """The question was understood and the answer is no: unknown key, differences found, gate refused (exit 1)."""

    exit_code = 1


class StartAgain(TransientError):
    """This process cannot go on, such as for want of disk; one that is started later may."""


class ConfigError(TerminalError):
    """A configuration key or value that is not understood."""


class DefinitionError(TerminalError):
    """A definition that cannot mean anything, or cannot be loaded."""


class InputError(TerminalError):
    """Input data that cannot be read as declared."""


class SchemaError(InputError):
    """Columns that do not fit the declared or the landed schema."""


class OverlapError(InputError):
    """Events that may be counted twice because two sources cover the same time."""


class StateBoundError(TerminalError):
    """An exact state outgrew its declared bound."""


class RegistryError(TerminalError):
    """A generation that is missing, unsealed, damaged or of another definition."""


class AccessRefused(TerminalError):
    """Credentials, a certificate or a permission that a database does not accept."""


class DatabaseRefused(TerminalError):
    """A statement that a source or a sink refuses for good."""


class DatabaseUnavailable(TransientError):
    """A source or a sink does not answer, or throttled beyond the retry bound."""


class StoreError(TerminalError):
    """A request the serving store refuses for good."""


class StoreUnavailable(TransientError):
    """The serving store does not answer, or throttled beyond the retry bound."""


class LeaseHeld(TransientError):
    """Another publisher holds the lease of this definition."""


class ChampionMoved(TransientError):
    """The champion item changed between reading and writing it."""


class StreamRecreated(TerminalError):
    """A topic was deleted and made anew: its positions mean other events now."""


class RetentionGap(TerminalError):
    """Events that were not counted yet are no longer held by the stream nor by the lake."""


class IngestFenced(TerminalError):
    """Another driver lands this stream now."""


class Fenced(TerminalError):
    """Another driver counts this generation now, or it was handed over."""


class CannotCatchUp(AnswerIsNo):
    """A candidate that has not counted what the champion has; the champion stays."""


class GateRefused(AnswerIsNo):
    """A generation that fails the gate of its definition; the champion stays."""


class EngineError(TransientError):
    """A local engine does not start or does not answer."""


class SourceUnavailable(TransientError):
    """A database or warehouse that does not answer, or is throttled; the same query may succeed later."""


class DownloadError(TransientError):
    """A download that failed; what has arrived is kept and resumed by the next call."""
