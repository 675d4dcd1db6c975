"""What goes wrong between us and Cassandra, by name: the one place that reads the drivers' texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from headrace.config import CassandraSettings
from headrace.errors import AccessRefused, DatabaseRefused, DatabaseUnavailable, HeadraceError

_SHOWN = 300
# What a passing fault is called by the Python driver, by the connector's Java driver, or by the machine.
_PASSING = re.compile(
    r"NoHostAvailable|OperationTimedOut|ReadTimeout|WriteTimeout|Unavailable|Overloaded|RequestThrottled|RateLimit"
    r"|ConnectionShutdown|ConnectionException|ConnectionBusy|NoConnectionsAvailable|AllNodesFailed|DriverTimeout"
    r"|NoNodeAvailable|HeartbeatException|ClosedConnection|Could not open native connection|Connection refused"
    r"|Failed to open native connection|Failed to write statements|Missing control node|Control channel not available"
    r"|tried for the query failed"
    r"|ReadFailure|WriteFailure|IsBootstrapping|ServerError|ExhaustedRetries"
)


@dataclass(frozen=True)
class _Refusal:
    """A reason not to be let in: what the drivers or the server say of it, and what we do."""

    says: str
    what: str
    do: str
    expected: str | None = None
    of_region: bool = False


# The first match wins.
_REFUSALS = (
    _Refusal(
        r"Hostname mismatch|IP address mismatch|No subject alternative|No name matching",
        "the server's certificate is for another host name",
        "name the host in cassandra.hosts as its certificate does",
        "the name in cassandra.hosts",
    ),
    _Refusal(
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|PKIX path",
        "the server's certificate is not signed by an authority that is trusted",
        "name the authority's PEM file in cassandra.ca_file; for Amazon Keyspaces leave it empty",
    ),
    _Refusal(
        r"WRONG_VERSION_NUMBER|UNSUPPORTED_PROTOCOL|NO_PROTOCOLS|TLSV1_ALERT_PROTOCOL|wrong version number",
        "the server speaks no TLS 1.2 or newer on that port",
        "set cassandra.tls=false for a plain port, or mend the server",
    ),
    _Refusal(
        r"scoped to a valid [Rr]egion",
        "the request was signed for another region than the server's",
        "set cassandra.region to the region of the endpoint",
        of_region=True,
    ),
    _Refusal(
        r"token [^\n]*expired|ExpiredToken",
        "the session token has expired",
        "take new ones from STS, or name a profile with role_arn in $AWS_PROFILE",
        "credentials that are renewed, such as those of a role",
    ),
    _Refusal(
        r"AuthenticationFailed|AuthenticationException|Bad credentials|signature we calculated|Signature expired",
        "the credentials are not accepted",
        "see cassandra.auth, what it names, and with sigv4 cassandra.region",
    ),
    _Refusal(
        r"Unauthorized|has no \w+ permission|is not authorized to perform|AccessDenied",
        "a permission is missing",
        "grant cassandra:Select on the source and system tables, and cassandra:Create and cassandra:Modify on those "
        "that are written",
    ),
)


def whole_text(error: BaseException) -> str:
    """An exception with what it says of each host and what caused it."""
    of_hosts = getattr(error, "errors", None)
    parts = [f"{type(error).__name__}: {error}"]
    if isinstance(of_hosts, dict) and of_hosts:
        # It repeats them in its own text, in one line.
        parts = [type(error).__name__, *(f"{type(cause).__name__}: {cause}" for cause in of_hosts.values())]
    if error.__cause__ is not None:
        parts.append(whole_text(error.__cause__))
    return "\n".join(parts)


def is_passing(error: BaseException) -> bool:
    """Whether the same statement may succeed later."""
    text = whole_text(error)
    return _access(text, None) is None and bool(_PASSING.search(text))


def explained(error: BaseException, settings: CassandraSettings, doing: str) -> HeadraceError | None:
    """The named error behind an exception of a driver or of the connector; None when it is none of theirs."""
    if isinstance(error, HeadraceError):
        return error
    text = whole_text(error)
    refused = _access(text, settings)
    if refused is not None:
        return refused
    if _PASSING.search(text):
        return DatabaseUnavailable(
            f"Cassandra did not answer while {doing}",
            found=_brief(text),
            do="see that it runs (`headrace up cassandra` starts the local one) and run again: what was written stays",
        )
    if re.search(r"InvalidRequest|InvalidQuery|SyntaxException|AlreadyExists|ConfigurationException", text):
        return DatabaseRefused(f"Cassandra refused a statement while {doing}", found=_brief(text))
    return None


@contextmanager
def named(settings: CassandraSettings, doing: str) -> Iterator[None]:
    """Raise what `explained` makes of an exception in the block; others pass as they are."""
    try:
        yield
    except Exception as error:
        found = explained(error, settings, doing)
        if found is None or found is error:
            raise
        raise found from error


def _access(text: str, settings: CassandraSettings | None) -> AccessRefused | None:
    """Why nobody was let in, where that is what the text says."""
    for refusal in _REFUSALS:
        if re.search(refusal.says, text):
            found = _brief(_line(text, refusal.says))
            if refusal.of_region and settings is not None:
                found = f"cassandra.region={settings.region}; {found}"
            return AccessRefused(refusal.what, found=found, expected=refusal.expected, do=refusal.do)
    return None


def _line(text: str, words: str) -> str:
    """The first line that holds one of the words."""
    return next((line for line in text.splitlines() if re.search(words, line)), text)


def _brief(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _SHOWN else plain[: _SHOWN - 1] + "…"
