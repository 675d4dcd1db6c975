"""Bearer tokens: kept as hashes, each with a name and scopes; a file of them may change while the server runs."""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from headrace.errors import ConfigError
from headrace.serving.rules import Scope

log = logging.getLogger(__name__)

SCOPES: tuple[str, ...] = tuple(scope for scope in get_args(Scope) if scope != "open")
PREFIX = "hr_"  # so that a token that was published by mistake is found by those who search for such
LOOK_S = 1.0  # how often at most the file is looked at


@dataclass(frozen=True)
class Grant:
    """What a token allows. expires_at: from when on it allows nothing; None: never."""

    name: str
    scopes: frozenset[str]
    expires_at: datetime | None = None


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: Annotated[frozenset[str], Field(min_length=1)]
    expires_at: AwareDatetime | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: Annotated[list[_Entry], Field(min_length=1)]


class Tokens:
    """Tells what an Authorization header allows.

    secret: a token that allows everything. file: entries as `headrace token new` prints them; what it says is in force
    within LOOK_S of its change, and while it cannot be read or understood the entries before stay in force, an error in
    the log saying so. What is compared is the hash of what was given, so that the time it takes tells nothing.

    >>> tokens = Tokens("s3cret", None, lambda: datetime.now(UTC))
    >>> tokens.grant([b"Bearer s3cret"]).name, tokens.grant([b"Bearer guess"])
    ('secret', None)
    """

    def __init__(
        self,
        secret: str | None,
        file: Path | None,
        clock: Callable[[], datetime],
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ConfigError for a file that cannot be read or understood."""
        self._own = {hashlib.sha256(secret.encode()).digest(): Grant("secret", frozenset(SCOPES))} if secret else {}
        self._file = file
        self._clock = clock
        self._elapsed = elapsed
        self._looked = elapsed()
        self._mark = _mark(file) if file is not None else None
        self._held: Mapping[bytes, Grant] = self._own | (read_tokens(file) if file is not None else {})

    def grant(self, authorization: list[bytes]) -> Grant | None:
        """What exactly one header, of scheme Bearer, with a known token that has not expired allows; else None."""
        if len(authorization) != 1:
            return None
        scheme, _, given = authorization[0].partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        self._look()
        found = self._held.get(hashlib.sha256(given.strip()).digest())
        if found is not None and found.expires_at is not None and found.expires_at <= self._clock():
            return None
        return found

    def _look(self) -> None:
        if self._file is None or self._elapsed() - self._looked < LOOK_S:
            return
        self._looked = self._elapsed()
        mark = _mark(self._file)
        if mark == self._mark:
            return
        self._mark = mark
        try:
            self._held = self._own | read_tokens(self._file)
        except ConfigError as error:
            log.error("the tokens stay as they were: %s", error)  # noqa: TRY400 - no defect, and no stack trace
        else:
            log.warning("tokens read anew: %s", ", ".join(sorted(grant.name for grant in self._held.values())))


def read_tokens(file: Path) -> dict[bytes, Grant]:
    """Hash -> grant of every entry. Raises ConfigError naming what cannot be understood; it never repeats a hash."""
    try:
        held = _File.model_validate(tomllib.loads(file.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"the token file {file} cannot be read", found=error) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"the token file {file} is not as it should be",
            found=f"{place}: {first['msg']}",
            expected="[[tokens]] with name, sha256, scopes and, if it ends, expires_at",
            do="make entries with: headrace token new",
        ) from None
    for entry in held.tokens:
        unknown = sorted(entry.scopes.difference(SCOPES))
        if unknown:
            raise ConfigError(
                f"the token {entry.name!r} in {file} has a scope that there is not",
                found=repr(unknown[0]),
                expected=f"some of {list(SCOPES)}",
            )
    return {bytes.fromhex(one.sha256): Grant(one.name, one.scopes, one.expires_at) for one in held.tokens}


def new_token() -> tuple[str, str]:
    """A token of 256 random bits, and its SHA-256: no slower hash is needed for what cannot be guessed."""
    token = PREFIX + secrets.token_urlsafe(32)
    return token, hashlib.sha256(token.encode()).hexdigest()


def entry_text(grant: Grant, sha256: str) -> str:
    """The entry of a token file.

    >>> print(entry_text(Grant("ci", frozenset({"read"}), datetime(2027, 1, 2, tzinfo=UTC)), "ab" * 32))
    [[tokens]]
    name = "ci"
    sha256 = "abababababababababababababababababababababababababababababababab"
    scopes = ["read"]
    expires_at = 2027-01-02T00:00:00Z
    """
    scopes = ", ".join(f'"{scope}"' for scope in SCOPES if scope in grant.scopes)
    lines = ["[[tokens]]", f'name = "{grant.name}"', f'sha256 = "{sha256}"', f"scopes = [{scopes}]"]
    if grant.expires_at is not None:
        lines.append(f"expires_at = {grant.expires_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
    return "\n".join(lines)


def _mark(file: Path) -> tuple[int, int, int] | None:
    """What differs when a file was written or replaced; None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
