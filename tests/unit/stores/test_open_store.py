"""How stores are opened: which one, where, with which credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.config import load
from headrace.errors import StoreError, StoreUnavailable
from headrace.stores import open_store
from headrace.stores.connection import Connection
from headrace.stores.dynamodb import DynamoDBStore
from headrace.stores.memory import MemoryStore


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shell without any AWS credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


def test_a_memory_store_is_one_per_table_of_this_process() -> None:
    one = load(["store.kind=memory", "store.table=one"]).store
    other = load(["store.kind=memory", "store.table=other"]).store
    assert isinstance(open_store(one, None), MemoryStore)
    assert open_store(one, None) is open_store(one, None)
    assert open_store(one, None) is not open_store(other, None)


def test_the_local_engine_must_have_been_resolved() -> None:
    with pytest.raises(StoreError, match="headrace up dynamodb"):
        open_store(load(["store.endpoint=engine"]).store, None)


@pytest.mark.usefixtures("nobody")
def test_a_loopback_endpoint_needs_no_credentials() -> None:
    with pytest.raises(StoreUnavailable, match="connection refused"):
        Connection("us-east-1", "http://127.0.0.1:1", retry_s=1).call("ListTables", {})


@pytest.mark.usefixtures("nobody")
def test_aws_needs_credentials_and_says_so() -> None:
    with pytest.raises(StoreError, match="no AWS credentials were found"):
        Connection("us-east-1", None, retry_s=1)


@pytest.mark.parametrize("table", ["a", 'x"; DELETE', "name with spaces", "t" * 256])
def test_a_table_name_that_is_none_never_reaches_a_statement(table: str) -> None:
    with pytest.raises(StoreError, match="is not a table name"):
        DynamoDBStore(table, "us-east-1", "http://127.0.0.1:1")


@pytest.mark.parametrize("endpoint", ["file:///etc/passwd", "nonsense", "http://"])
def test_an_endpoint_is_an_http_address(endpoint: str) -> None:
    with pytest.raises(StoreError, match="not an address"):
        DynamoDBStore("headrace", "us-east-1", endpoint)


def test_the_public_endpoint_is_the_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert Connection("eu-west-1", None, retry_s=1).url == "https://dynamodb.eu-west-1.amazonaws.com/"
    with pytest.raises(StoreError, match="no DynamoDB in region 'not a region'"):
        Connection("not a region", None, retry_s=1)
