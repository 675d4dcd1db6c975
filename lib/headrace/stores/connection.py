"""Signed DynamoDB calls over a pooled HTTP connection.

The service client of botocore spends three quarters of a bulk write's CPU on building requests and parsing
answers this store does not need, so calls are made directly: botocore finds credentials and signs, urllib3
carries, tenacity repeats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import botocore.session
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from headrace.errors import StoreError, StoreUnavailable

_VERSION = "DynamoDB_20120810."
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

# Error codes that pass by themselves, of whole calls and of single statements.
# Source: DynamoDB developer guide, "Error handling with DynamoDB"; API reference, BatchStatementError.
PASSING = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ProvisionedThroughputExceeded",
        "RequestLimitExceeded",
        "ThrottlingException",
        "ThrottlingError",
        "InternalServerError",
        "ServiceUnavailable",
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
        "LimitExceededException",
    }
)
REFUSED_S = 2.0  # how long a store that has never answered is tried
T = TypeVar("T")
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Again(Exception):
    """A call or statement that may succeed when it is repeated."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused  # nobody listens there


class NoTable(StoreError):
    """The table does not exist."""


class Refusal(Exception):
    """DynamoDB's own error answer: a code, a message and the rest of the body."""

    def __init__(self, code: str, message: str, body: Mapping[str, Any]) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.body = body


class Connection:
    """Where DynamoDB is and who asks; safe to share between threads.

    `endpoint` None means the region's own. Without credentials a loopback endpoint gets stand-in ones, as
    DynamoDB Local takes any; elsewhere their absence is a StoreError.
    """

    def __init__(self, region: str, endpoint: str | None, *, retry_s: float, pool_size: int = 8) -> None:
        session = botocore.session.get_session()
        self.region = region
        self.url = (endpoint or public_endpoint(session, region)).rstrip("/") + "/"
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise StoreError("the store's endpoint is not an address", found=repr(endpoint), expected="http(s)://host")
        self._local = parts.hostname in LOOPBACK
        self._credentials = credentials(session, local=self._local)
        proxy = get_environ_proxies(self.url).get(parts.scheme)
        self.is_proxied = bool(proxy)
        self._pool = _pool(proxy, pool_size)
        self._answered = False
        self.retry_s = retry_s

    def close(self) -> None:
        """Close idle connections."""
        self._pool.clear()

    def call(self, operation: str, request: Mapping[str, Any], *, within_s: float | None = None) -> dict[str, Any]:
        """One call, repeated with jitter while it is throttled or unanswered.

        Raises Refusal for every other error answer, StoreUnavailable when the bound is passed.
        """
        return self.repeating(lambda: self.once(operation, request), within_s)

    def repeating(self, attempt: Callable[[], T], within_s: float | None = None) -> T:
        """Run `attempt` until it no longer raises Again; StoreUnavailable after `within_s` (default `retry_s`)."""
        bound = self.retry_s if within_s is None else min(within_s, self.retry_s)
        retrying = Retrying(
            retry=retry_if_exception_type(Again),
            wait=wait_random_exponential(multiplier=0.05, max=5),
            stop=lambda state: self._hopeless(state.outcome) or stop_after_delay(bound)(state),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except Again as error:
            raise self._unavailable(error, bound) from error

    def once(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """One attempt: the answer, or Again, or Refusal."""
        body = _encode(request).encode("ascii")
        signed = AWSRequest(
            "POST",
            self.url,
            headers={"X-Amz-Target": _VERSION + operation, "Content-Type": "application/x-amz-json-1.0"},
            data=body,
        )
        SigV4Auth(self._credentials.get_frozen_credentials(), "dynamodb", self.region).add_auth(signed)
        try:
            answer = self._pool.urlopen("POST", self.url, body=body, headers=dict(signed.headers.items()))
        except urllib3.exceptions.NewConnectionError as error:
            raise Again(f"connection refused ({error.__class__.__name__})", refused=True) from error
        except urllib3.exceptions.HTTPError as error:
            raise Again(f"no answer ({error.__class__.__name__})") from error
        self._answered = True
        if answer.status == 200:
            return dict(json.loads(answer.data))
        raise refused(answer.status, answer.data)

    def _hopeless(self, outcome: Any) -> bool:
        """Whether nobody has ever listened there, on this very machine: waiting would not help."""
        error = outcome.exception() if outcome is not None else None
        return isinstance(error, Again) and error.refused and self._local and not self._answered

    def _unavailable(self, error: Again, bound: float) -> StoreUnavailable:
        do = "start it with `headrace up dynamodb`" if self._local else "check the network and the region, then rerun"
        if error.refused:
            return StoreUnavailable(f"the store at {self.url} does not answer", found=str(error), do=do)
        return StoreUnavailable(
            f"the store at {self.url} was not ready within {bound:g} s",
            found=str(error),
            do="rerun later, or raise the table's capacity; what was written stays and is not lost",
        )


def refused(status: int, data: bytes) -> Exception:
    """What an answer that is no 200 means: Again, NoTable, StoreError or Refusal."""
    try:
        body = dict(json.loads(data))
    except ValueError:
        body = {}
    code = str(body.get("__type", f"HTTP {status}")).rpartition("#")[2]
    message = str(body.get("message") or body.get("Message") or "")
    if status >= 500 or code in PASSING:
        return Again(f"{code}: {message}")
    if code == "ResourceNotFoundException":
        return NoTable(
            "the store's table does not exist",
            found=message,
            do="create it, or set store.create_table=true and check store.table and store.region",
        )
    if code in {"UnrecognizedClientException", "AccessDeniedException", "InvalidSignatureException"}:
        return StoreError("the store refuses these credentials", found=f"{code}: {message}", do="check them and retry")
    return Refusal(code, message, body)


def public_endpoint(session: botocore.session.Session, region: str) -> str:
    """The region's address as botocore knows it; its client is built for this alone, and only on AWS."""
    try:
        client = session.create_client("dynamodb", region_name=region)
    except BotoCoreError as error:
        raise StoreError(
            f"there is no DynamoDB in region {region!r}", found=str(error), do="check store.region"
        ) from error
    return str(client.meta.endpoint_url)


def credentials(session: botocore.session.Session, *, local: bool) -> Credentials:
    """What botocore finds in its usual places; at a local address stand-ins will do, as any are taken there."""
    if local:
        # Nobody answers there on a laptop, and it takes seconds.
        session.get_component("credential_provider").remove("iam-role")
    found = session.get_credentials()
    if found is not None:
        return found  # type: ignore[no-any-return, unused-ignore]
    if local:
        return Credentials("local", "local")
    raise StoreError(
        "no AWS credentials were found",
        expected="a role, a profile or $AWS_ACCESS_KEY_ID",
        do="`aws sts get-caller-identity` must work in the same shell",
    )


def _pool(proxy: str | None, size: int) -> urllib3.PoolManager:
    options: dict[str, Any] = {
        "maxsize": size,
        "block": True,
        "retries": False,
        "timeout": urllib3.Timeout(connect=REFUSED_S, read=15.0),
        "ca_certs": get_cert_path(True),  # noqa: FBT003 -- botocore's signature
    }
    return urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
