"""Our signatures are botocore's."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from headrace.stores.signing import CONTENT_TYPE, TARGET, Signer

TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


@given(
    host=st.sampled_from(["localhost:8000", "dynamodb.eu-west-1.amazonaws.com", "10.0.0.1:80", "[::1]:9000"]),
    region=st.sampled_from(["eu-west-1", "us-east-1", "local"]),
    keys=st.builds(ReadOnlyCredentials, TEXT, TEXT, st.none() | TEXT),
    operation=st.sampled_from(["GetItem", "BatchGetItem"]),
    body=st.binary(max_size=200),
)
def test_a_call_is_signed_as_botocore_signs_it(
    host: str, region: str, keys: ReadOnlyCredentials, operation: str, body: bytes
) -> None:
    request = AWSRequest(
        "POST",
        f"https://{host}/",
        headers={"X-Amz-Target": TARGET + operation, "Content-Type": CONTENT_TYPE, "Host": host},
        data=body,
    )
    SigV4Auth(keys, "dynamodb", region).add_auth(request)
    at = datetime.strptime(request.context["timestamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ours = Signer(host, region).headers(keys, operation, body, at)
    assert ours == {name: value for name, value in request.headers.items() if name != "Host"}


@pytest.mark.parametrize("secret", ["one", "two"])
def test_the_key_of_a_day_is_that_days_and_that_secrets(secret: str) -> None:
    held = Signer("h", "r")
    for day in (1, 2, 1):
        at = datetime(2026, 1, day, 23, 59, 59, tzinfo=UTC)
        for key in ("other", secret):
            keys = ReadOnlyCredentials("a", key, None)
            assert held.headers(keys, "GetItem", b"", at) == Signer("h", "r").headers(keys, "GetItem", b"", at)
