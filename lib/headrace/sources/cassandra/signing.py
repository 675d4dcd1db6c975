"""SigV4 for Amazon Keyspaces: each new connection is signed with the credentials of that moment."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote

from cassandra.auth import Authenticator, AuthProvider

from headrace.errors import AccessRefused

_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "cassandra"
_NONCE = re.compile(rb"nonce=([0-9A-Za-z]{32})")
INITIAL = b"SigV4\0\0"


class Frozen(Protocol):
    """Credentials as they are at one moment."""

    @property
    def access_key(self) -> str | None: ...

    @property
    def secret_key(self) -> str | None: ...

    @property
    def token(self) -> str | None: ...


class Credentials(Protocol):
    """Credentials that are renewed before they expire, such as those of a role."""

    def get_frozen_credentials(self) -> Frozen: ...


def found_credentials(region: str) -> Credentials:
    """The credentials that boto3 finds: of the environment, a profile, a container or an instance's role.

    Those of a role are renewed as they are asked for. Raises AccessRefused where there are none.
    """
    import boto3

    found = boto3.Session(region_name=region).get_credentials()
    if found is None:
        raise AccessRefused(
            "there are no AWS credentials to sign with",
            expected="those of a role, or short-term ones from STS",
            do="name a profile in $AWS_PROFILE, or set $AWS_ACCESS_KEY_ID and what goes with it",
        )
    return found


class SigV4Provider(AuthProvider):  # type: ignore[misc]  # the driver has no types
    """Gives each new connection an authenticator; a connection that is open stays authenticated."""

    def __init__(self, region: str, credentials: Credentials, now: Callable[[], datetime] | None = None) -> None:
        self._region = region
        self._credentials = credentials
        self._now = now or (lambda: datetime.now(UTC))

    def new_authenticator(self, host: str) -> Authenticator:
        del host
        return _SigV4Authenticator(self._region, self._credentials, self._now)


class _SigV4Authenticator(Authenticator):  # type: ignore[misc]  # the driver has no types
    def __init__(self, region: str, credentials: Credentials, now: Callable[[], datetime]) -> None:
        self._region = region
        self._credentials = credentials
        self._now = now

    def initial_response(self) -> bytes:
        return INITIAL

    def evaluate_challenge(self, challenge: bytes) -> bytes:
        found = _NONCE.search(challenge)
        if found is None:
            raise AccessRefused("the server's challenge has no nonce", expected="Amazon Keyspaces at the other end")
        return signed(found[1], self._region, self._credentials.get_frozen_credentials(), self._now()).encode()

    def on_authentication_success(self, token: Any) -> None:
        del token


def signed(nonce: bytes, region: str, credentials: Frozen, at: datetime) -> str:
    """The answer to a challenge.

    Source: Signature Version 4 as the authentication plugins of Amazon Keyspaces apply it: a PUT of /authenticate on
    host `cassandra` whose body is the nonce, signed in the query, good for 900 s.
    """
    stamp = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
    answer = (
        f"signature={signature(nonce, region, credentials, stamp)},access_key={credentials.access_key},amzdate={stamp}"
    )
    return f"{answer},session_token={credentials.token}" if credentials.token else answer


def signature(nonce: bytes, region: str, credentials: Frozen, stamp: str) -> str:
    """The hexadecimal signature at an instant, `stamp`: ISO 8601 with milliseconds and Z."""
    day = stamp[:10].replace("-", "")
    scope = f"{day}/{region}/{_SERVICE}/aws4_request"
    query = "&".join(
        (
            f"X-Amz-Algorithm={_ALGORITHM}",
            f"X-Amz-Credential={quote(f'{credentials.access_key}/{scope}', safe='')}",
            f"X-Amz-Date={quote(stamp, safe='')}",
            "X-Amz-Expires=900",
        )
    )
    request = f"PUT\n/authenticate\n{query}\nhost:{_SERVICE}\n\nhost\n{hashlib.sha256(nonce).hexdigest()}"
    text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (day, region, _SERVICE, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()
