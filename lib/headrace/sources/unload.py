"""The text of an UNLOAD statement: any query is quoted as one literal, other parts are of a narrow alphabet."""

from __future__ import annotations

import re
from dataclasses import dataclass

from headrace.config import RedshiftSettings
from headrace.errors import InputError

_STAGING = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/[A-Za-z0-9_./=-]*)?")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[A-Za-z0-9+=,.@_/-]{1,512}")
_KEY = re.compile(r"(arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/)?[A-Za-z0-9-]{1,128}")
_RUN = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True)
class StagingPrefix:
    """Where one run's files lie in S3, and no other's.

    >>> StagingPrefix.of("s3://lake/staging", "r1").url
    's3://lake/staging/r1/'
    """

    bucket: str
    key: str
    run_id: str

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @classmethod
    def of(cls, staging: str, run_id: str) -> StagingPrefix:
        """The prefix of a run below `staging`. Raises InputError for what is no such address."""
        found = _STAGING.fullmatch(staging)
        if found is None or ".." in staging:
            raise InputError(
                "redshift.staging is no place to stage files", found=repr(staging), expected="s3://bucket/prefix"
            )
        if not _RUN.fullmatch(run_id):
            raise InputError("a run has no such name", found=repr(run_id), expected="letters, digits and dashes")
        folder = (found.group(2) or "").strip("/")
        return cls(found.group(1), f"{folder}/{run_id}/" if folder else f"{run_id}/", run_id)


def quoted(text: str) -> str:
    r"""A literal of Redshift that means this text, whatever is in it; a NUL, which no literal holds, is an InputError.

    Source: Amazon Redshift, UNLOAD: quotation marks and backslashes in the query are to be escaped.

    >>> print(quoted(r"name = 'O\'"))
    'name = ''O\\'''
    """
    if "\0" in text:
        raise InputError("a query cannot hold a NUL", found=f"one at character {text.index(chr(0))}")
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def unload_statement(query: str, prefix: StagingPrefix, settings: RedshiftSettings) -> str:
    """The statement that writes the rows of a query as Parquet with a manifest of what was written.

    Raises InputError for no query, a role or key that is none.
    """
    statement = query.strip().rstrip(";").rstrip()
    if not statement:
        raise InputError("there is no query", expected="one SELECT")
    if not _ROLE.fullmatch(settings.iam_role) and settings.iam_role != "default":
        raise InputError(
            "redshift.iam_role is no role",
            found=repr(settings.iam_role),
            expected="arn:aws:iam::ACCOUNT:role/NAME, or default",
        )
    if settings.kms_key and not _KEY.fullmatch(settings.kms_key):
        raise InputError("redshift.kms_key is no key", found=repr(settings.kms_key), expected="its id or ARN")
    role = "default" if settings.iam_role == "default" else quoted(settings.iam_role)
    encrypted = f" KMS_KEY_ID {quoted(settings.kms_key)} ENCRYPTED" if settings.kms_key else ""
    parallel = "ON" if settings.parallel else "OFF"
    return (
        f"UNLOAD ({quoted(statement)}) TO {quoted(prefix.url)} IAM_ROLE {role} "
        f"FORMAT AS PARQUET MANIFEST VERBOSE PARALLEL {parallel}{encrypted}"
    )
