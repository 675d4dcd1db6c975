"""AWS Signature Version 4 for DynamoDB's calls, which are all alike: a POST of JSON to one path without a query.

botocore signs any request and builds an object of several parts for it; of what such a call costs a server that is
the larger half. This does the same sums for the one shape there is, and is tested to agree with botocore.
Source: AWS General Reference, "Signature Version 4 signing process".
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

TARGET = "DynamoDB_20120810."
CONTENT_TYPE = "application/x-amz-json-1.0"


class Signer:
    """Headers that make calls to `host` (with its port, unless it is the scheme's own) valid for five minutes."""

    def __init__(self, host: str, region: str) -> None:
        self._host = host
        self._region = region
        self._at: datetime | None = None
        self._stamp = ""
        self._derived: tuple[str, str, bytes] = ("", "", b"")

    def headers(self, keys: ReadOnlyCredentials, operation: str, body: bytes, at: datetime) -> dict[str, str]:
        """The headers of one call at `at`, aware.

        >>> from botocore.credentials import ReadOnlyCredentials
        >>> keys = ReadOnlyCredentials("AKID", "secret", None)
        >>> signer = Signer("localhost:8000", "eu-west-1")
        >>> made = signer.headers(keys, "GetItem", b"{}", datetime(2026, 1, 2, tzinfo=UTC))
        >>> made["X-Amz-Date"], made["Authorization"][:62]
        ('20260102T000000Z', 'AWS4-HMAC-SHA256 Credential=AKID/20260102/eu-west-1/dynamodb/a')
        """
        if at is not self._at:
            self._at, self._stamp = at, at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        stamp = self._stamp
        day = stamp[:8]
        target = TARGET + operation
        named = f"content-type:{CONTENT_TYPE}\nhost:{self._host}\nx-amz-date:{stamp}\n"
        names = "content-type;host;x-amz-date"
        if keys.token:
            named += f"x-amz-security-token:{keys.token}\n"
            names += ";x-amz-security-token"
        names += ";x-amz-target"
        canonical = f"POST\n/\n\n{named}x-amz-target:{target}\n\n{names}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{day}/{self._region}/dynamodb/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key(keys.secret_key or "", day), to_sign.encode(), "sha256").hex()
        credential = f"Credential={keys.access_key}/{scope}"
        signed = {
            "X-Amz-Target": target,
            "X-Amz-Date": stamp,
            "Content-Type": CONTENT_TYPE,
            "Authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}",
        }
        if keys.token:
            signed["X-Amz-Security-Token"] = keys.token
        return signed

    def _key(self, secret: str, day: str) -> bytes:
        """The signing key, which is the same for a whole day."""
        held_secret, held_day, key = self._derived
        if (held_secret, held_day) != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, "dynamodb", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._derived = (secret, day, key)
        return key
