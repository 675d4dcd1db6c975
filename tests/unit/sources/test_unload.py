"""UNLOAD's text: whatever the query, it stays one literal and nothing of it becomes part of the statement."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redshift_stub import literal, parsed

from headrace.config import RedshiftSettings, load
from headrace.errors import InputError
from headrace.sources.unload import StagingPrefix, quoted, unload_statement

PREFIX = StagingPrefix.of("s3://lake/staging", "run-1")


def settings(**other: Any) -> RedshiftSettings:
    assignments = [f"redshift.{name}={value}" for name, value in other.items()]
    return load(assignments, environment="local").redshift


_texts = st.text(st.characters(exclude_characters="\0"), min_size=1) | st.lists(
    st.sampled_from(["'", "''", "\\", "\\'", "') TO 's3://evil/'", "--", "$$", ";", "\n", "a"]), min_size=1
).map("".join)


@given(_texts)
def test_any_text_survives_as_one_literal(text: str) -> None:
    made = quoted(text)
    assert literal(made, 0) == (text, len(made))


@given(_texts)
def test_a_query_changes_nothing_beside_it(query: str) -> None:
    if not query.strip().rstrip(";").strip():
        with pytest.raises(InputError, match="there is no query"):
            unload_statement(query, PREFIX, settings())
        return
    found = parsed(unload_statement(query, PREFIX, settings()))
    assert found.query == query.strip().rstrip(";").rstrip()
    assert (found.url, found.role) == ("s3://lake/staging/run-1/", "default")
    assert found.options == " FORMAT AS PARQUET MANIFEST VERBOSE PARALLEL OFF"


def test_options_are_those_of_the_settings() -> None:
    role, key = "arn:aws:iam::123456789012:role/unload", "1234abcd-12ab-34cd-56ef-1234567890ab"
    made = unload_statement("SELECT 1;", PREFIX, settings(iam_role=role, kms_key=key, parallel="true"))
    assert made == (
        f"UNLOAD ('SELECT 1') TO 's3://lake/staging/run-1/' IAM_ROLE '{role}' FORMAT AS PARQUET MANIFEST VERBOSE "
        f"PARALLEL ON KMS_KEY_ID '{key}' ENCRYPTED"
    )


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"iam_role": "admin"}, "redshift.iam_role is no role; found 'admin'"),
        ({"iam_role": "arn:aws:iam::1:role/x' FORMAT CSV"}, "redshift.iam_role is no role"),
        ({"kms_key": "key' ENCRYPTED"}, "redshift.kms_key is no key"),
    ],
)
def test_what_is_no_role_or_key_is_named(other: Any, says: str) -> None:
    with pytest.raises(InputError, match="redshift") as refused:
        unload_statement("SELECT 1", PREFIX, settings(**other))
    assert says in str(refused.value)


@pytest.mark.parametrize("staging", ["lake/staging", "s3://Lake/x", "s3://lake/a'b", "s3://lake/../x", "https://lake"])
def test_what_is_no_staging_place_is_named(staging: str) -> None:
    with pytest.raises(InputError, match=r"redshift\.staging is no place"):
        StagingPrefix.of(staging, "run-1")


def test_a_nul_and_a_strange_run_are_refused() -> None:
    with pytest.raises(InputError, match="cannot hold a NUL"):
        quoted("SELECT '\0'")
    with pytest.raises(InputError, match="a run has no such name"):
        StagingPrefix.of("s3://lake", "../other")
