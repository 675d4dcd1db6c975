"""Amazon Redshift as a source: a query unloaded to S3 through the Data API, fetched as one Parquet file.

The staged files are fetched by boto3 and joined in the manifest's order, as an event's position is its row in one file.
Run against a stand-in of the API over PostgreSQL, and never yet against the service itself.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.config import RedshiftSettings
from headrace.errors import HeadraceError, InputError, SourceUnavailable
from headrace.sources.staged_files import fetched, removed
from headrace.sources.unload import StagingPrefix, unload_statement

log = logging.getLogger(__name__)

_FIRST_S, _LONGEST_S = 0.1, 5.0
_OVER = ("FINISHED", "FAILED", "ABORTED")
# Errors of the API that may pass, and those that say that one may not ask.
_PASSING = (
    *("ThrottlingException", "TooManyRequestsException", "ActiveStatementsExceededException"),
    *("InternalServerException", "ServiceUnavailable", "RequestTimeout", "SlowDown", "ActiveSessionsExceededException"),
)
_REFUSED = ("AccessDenied", "UnrecognizedClient", "ExpiredToken", "InvalidSignature", "InvalidClientTokenId")
_CALLS = 8  # attempts of one call
_CANCELLED_S = 30.0  # how long the end of a cancelled statement is waited for


@dataclass(frozen=True)
class Staged:
    """What a query gave: rows, files of S3 and their bytes, and how long the statement ran."""

    rows: int
    files: int
    bytes: int
    seconds: float


def query_to_parquet(
    settings: RedshiftSettings,
    query: str,
    path: Path,
    *,
    run_id: str | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Staged:
    """Unload the rows of one query and write them to `path`, whole or not at all.

    run_id: what the staging prefix of this run ends in; unique if None. The statement is cancelled when the wait for
    it is interrupted. redshift.cleanup says what becomes of the staged files: `delete`, `keep`, `keep_on_failure`.
    Raises InputError for a refused query or role, an empty result, or files that are not what the manifest says;
    SourceUnavailable for what may pass, such as throttling beyond the retry bound, or a statement that takes too long.
    """
    prefix = StagingPrefix.of(settings.staging, run_id or uuid.uuid4().hex)
    statement = unload_statement(query, prefix, settings)
    s3 = client("s3", settings.region, settings.s3_endpoint)
    done = False
    try:
        seconds = _executed(settings, statement, prefix.run_id, sleep)
        with named("S3"):
            rows, files, size = fetched(s3, prefix, path)
        done = True
        return Staged(rows, files, size, seconds)
    finally:
        if settings.cleanup == "delete" or (settings.cleanup == "keep_on_failure" and done):
            _clean(s3, prefix)
        else:
            log.warning("staged files are kept at %s", prefix.url)


def client(service: str, region: str, endpoint: str) -> Any:
    """A client with short time-outs; retries are ours, so that they are counted and bounded in one place."""
    import boto3
    from botocore.config import Config

    config = Config(
        region_name=region, retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=60, tcp_keepalive=True
    )
    return boto3.client(service, endpoint_url=endpoint or None, config=config)  # type: ignore[call-overload]


@contextmanager
def named(what: str) -> Iterator[None]:
    """Raise what boto3 raises as ours."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _explained(what, error) from error
    except BotoCoreError as error:
        raise SourceUnavailable(f"{what} does not answer", found=str(error), do="run again") from error


def _explained(what: str, error: Any) -> HeadraceError:
    told = error.response.get("Error", {})
    code, found = str(told.get("Code", "")), f"{told.get('Message', '')} ({told.get('Code', '')})"
    if code in _PASSING or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        return SourceUnavailable(f"{what} is throttled or cannot answer now", found=found, do="run again later")
    if code.startswith(_REFUSED):
        return InputError(f"the role is refused by {what}", found=found, do="grant it what docs/sales.md lists")
    return InputError(f"the request is refused by {what}", found=found, do="mend the settings under redshift")


def _executed(settings: RedshiftSettings, statement: str, token: str, sleep: Callable[[float], object]) -> float:
    """Run the statement to its end; the seconds it took by the service's own count."""
    api = client("redshift-data", settings.region, settings.endpoint)
    # The token makes a repeated call the same statement.
    asked = {**_where(settings), "Sql": statement, "StatementName": f"headrace-{token}"[:64], "ClientToken": token[:64]}
    number = ""
    try:
        number = _retried(lambda: api.execute_statement(**asked), sleep)["Id"]
        return _awaited(api, number, settings.timeout_s, sleep)
    except BaseException as error:
        if not isinstance(error, HeadraceError) or isinstance(error, SourceUnavailable):
            _cancel(api, lambda: number or api.execute_statement(**asked)["Id"], sleep)
        raise


def _awaited(api: Any, number: str, timeout_s: float, sleep: Callable[[float], object]) -> float:
    waited, pause = 0.0, _FIRST_S
    while True:
        told = _retried(lambda: api.describe_statement(Id=number), sleep)
        if told["Status"] in _OVER:
            break
        if waited >= timeout_s:
            raise SourceUnavailable(
                "the statement on Redshift takes too long",
                found=f"{told['Status']} after {waited:.0f} s; it is cancelled",
                expected=f"an end within redshift.timeout_s={timeout_s:g}",
                do="raise it, or ask for less",
            )
        sleep(pause)
        waited, pause = waited + pause, min(_LONGEST_S, pause * 1.5)
    if told["Status"] != "FINISHED":
        raise _failed(told["Status"], str(told.get("Error", "")))
    return float(told.get("Duration", 0)) / 1e9


def _failed(status: str, error: str) -> HeadraceError:
    """The error of a statement that ended otherwise; Redshift tells by text alone which."""
    text = error.lower()
    if status == "ABORTED":
        return SourceUnavailable("the statement on Redshift was aborted", found=error or None, do="run again")
    if any(said in text for said in ("not authorized", "access denied", "permission denied", "assume role")):
        return InputError(
            "the role is refused by Redshift",
            found=error,
            do="grant the database user SELECT, and the cluster's IAM role the staging prefix",
        )
    if any(said in text for said in ("s3serviceexception", "s3 query exception", "system error", "out of memory")):
        return SourceUnavailable("the unload ended before its end", found=error, do="run again")
    return InputError("the query is refused by Redshift", found=error, do="mend the query")


def _retried(call: Callable[[], Mapping[str, Any]], sleep: Callable[[float], object]) -> Mapping[str, Any]:
    """The answer of a call, repeated with full jitter while it may pass. Raises as `named`."""
    for attempt in range(_CALLS):
        try:
            with named("the Redshift Data API"):
                return call()
        except SourceUnavailable:
            if attempt == _CALLS - 1:
                raise
            sleep(random.uniform(0, min(_LONGEST_S, _FIRST_S * 2**attempt)))  # noqa: S311 - jitter
    raise AssertionError("unreachable")


def _cancel(api: Any, which: Callable[[], str], sleep: Callable[[float], object]) -> None:
    """Cancel a statement and wait for its end: until then it writes files, which cleaning up would miss.

    which: tells its id, by a call if the answer to the first was not waited for.
    """
    waited, pause, number = 0.0, _FIRST_S, ""
    try:
        with named("the Redshift Data API"):
            number = which()
            api.cancel_statement(Id=number)
            while api.describe_statement(Id=number)["Status"] not in _OVER:
                if waited >= _CANCELLED_S:
                    log.warning("statement %s is cancelled, but has not ended after %.0f s", number, waited)
                    return
                sleep(pause)
                waited, pause = waited + pause, min(_LONGEST_S, pause * 1.5)
    except HeadraceError as error:
        log.warning("statement %s may still run: %s", number or "(its id is not known)", error)


def _clean(s3: Any, prefix: StagingPrefix) -> None:
    try:
        with named("S3"):
            removed(s3, prefix)
    except HeadraceError as error:
        log.warning("staged files are left at %s: %s", prefix.url, error)


def _where(settings: RedshiftSettings) -> dict[str, str]:
    """Cluster or workgroup, and who asks. Raises InputError where the settings name neither or both."""
    if bool(settings.cluster) == bool(settings.workgroup):
        raise InputError(
            "the settings do not say which warehouse",
            found=f"redshift.cluster={settings.cluster!r}, redshift.workgroup={settings.workgroup!r}",
            expected="one of them",
        )
    named_one = {"ClusterIdentifier": settings.cluster} if settings.cluster else {"WorkgroupName": settings.workgroup}
    if settings.secret_arn:
        return {**named_one, "Database": settings.database, "SecretArn": settings.secret_arn}
    # A workgroup takes the caller's own identity.
    user = {"DbUser": settings.db_user} if settings.cluster and settings.db_user else {}
    return {**named_one, "Database": settings.database, **user}
