"""The bearer token: kept as a hash, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac


class BearerToken:
    """Tells whether an Authorization header carries the token.

    >>> BearerToken("s3cret").admits([b"Bearer s3cret"]), BearerToken("s3cret").admits([b"Bearer guess"])
    (True, False)
    """

    def __init__(self, secret: str) -> None:
        self._digest = hashlib.sha256(secret.encode()).digest()

    def admits(self, authorization: list[bytes]) -> bool:
        """Whether there is exactly one header, of scheme Bearer, with the token."""
        if len(authorization) != 1:
            return False
        scheme, _, given = authorization[0].partition(b" ")
        same = hmac.compare_digest(hashlib.sha256(given.strip()).digest(), self._digest)
        return same and scheme.lower() == b"bearer"
