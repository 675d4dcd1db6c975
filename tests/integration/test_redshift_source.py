"""Redshift as a source, against a stand-in of the Data API over PostgreSQL and S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from redshift_stub import Redshift, running

from headrace.config import RedshiftSettings, load
from headrace.errors import InputError, SourceUnavailable
from headrace.sources.redshift import client, query_to_parquet

pytestmark = [pytest.mark.postgres, pytest.mark.s3]
ROWS = (
    "SELECT n, 'it''s \\ ' || n AS said, n / 2.0::double precision AS half FROM generate_series(1, 2500) n ORDER BY n"
)
ROLE = "arn:aws:iam::123456789012:role"


@pytest.fixture(scope="module")
def bucket(s3: str) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        made = client("s3", "us-east-1", s3)
        made.create_bucket(Bucket="staging")
        yield made


@pytest.fixture
def redshift(postgres: Any, bucket: Any, tmp_path: Path) -> Iterator[Redshift]:
    work = tmp_path / "work"
    work.mkdir()
    with running(postgres, bucket, work) as held:
        yield held
    for one in bucket.list_objects_v2(Bucket="staging").get("Contents", []):
        bucket.delete_object(Bucket="staging", Key=one["Key"])


def settings(held: Redshift, s3: str, **other: Any) -> RedshiftSettings:
    values = {
        "endpoint": held.url,
        "s3_endpoint": s3,
        "cluster": "tickit",
        "db_user": "analyst",
        "staging": "s3://staging/headrace",
        "iam_role": f"{ROLE}/unload",
        **other,
    }
    return load([f"redshift.{name}={value}" for name, value in values.items()], environment="local").redshift


def staged(bucket: Any) -> list[str]:
    return [one["Key"] for one in bucket.list_objects_v2(Bucket="staging").get("Contents", [])]


def no_sleep(_: float) -> None:
    """A pause that a test need not wait for; the statement's thread gets its turn."""
    import time

    time.sleep(0.01)


def test_rows_arrive_in_order_as_one_file_and_staging_is_cleaned(
    redshift: Redshift, s3: str, bucket: Any, tmp_path: Path
) -> None:
    path = tmp_path / "rows.parquet"
    done = query_to_parquet(settings(redshift, s3), ROWS, path, sleep=no_sleep)
    rows = pq.read_table(path).to_pylist()
    assert (done.rows, done.files) == (2_500, 3)
    assert rows == [{"n": n, "said": f"it's \\ {n}", "half": n / 2} for n in range(1, 2_501)]
    assert staged(bucket) == []
    assert redshift.asked[0]["DbUser"] == "analyst"
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_a_workgroup_is_asked_as_the_caller(redshift: Redshift, s3: str, tmp_path: Path) -> None:
    asked = settings(redshift, s3, cluster="", workgroup="serverless")
    query_to_parquet(asked, "SELECT 1 AS a", tmp_path / "rows.parquet", sleep=no_sleep)
    (body,) = redshift.asked
    assert body["WorkgroupName"] == "serverless"
    assert not {"DbUser", "ClusterIdentifier"} & set(body)


@pytest.mark.parametrize(
    ("query", "other", "says"),
    [
        ("SELECT * FROM nowhere", {}, 'the query is refused by Redshift.*relation "nowhere" does not exist'),
        ("SELECT 1 AS a WHERE false", {}, "the query gives no row"),
        ("SELECT 1 AS a", {"iam_role": f"{ROLE}/denied"}, "the role is refused by Redshift.*not authorized to assume"),
        ("SELECT 1 AS a", {"db_user": "nobody"}, "the role is refused by the Redshift Data API"),
        ("SELECT 1 AS a", {"cluster": ""}, "do not say which warehouse"),
        ("SELECT 1 AS a", {"workgroup": "both"}, "do not say which warehouse"),
    ],
)
def test_what_is_refused_is_named_and_nothing_is_written(
    redshift: Redshift, s3: str, bucket: Any, tmp_path: Path, query: str, other: Any, says: str
) -> None:
    path = tmp_path / "out" / "rows.parquet"
    with pytest.raises(InputError, match=says):
        query_to_parquet(settings(redshift, s3, cleanup="delete", **other), query, path, sleep=no_sleep)
    assert not path.exists()
    assert staged(bucket) == []


def test_throttling_is_ridden_out_and_a_statement_is_sent_once(redshift: Redshift, s3: str, tmp_path: Path) -> None:
    redshift.throttled = 5
    done = query_to_parquet(settings(redshift, s3), ROWS, tmp_path / "rows.parquet", sleep=no_sleep)
    assert done.rows == 2_500
    assert len(redshift.sql) == 1
    redshift.throttled = 1_000
    pauses: list[float] = []
    with pytest.raises(SourceUnavailable, match="throttled or cannot answer"):
        query_to_parquet(settings(redshift, s3), ROWS, tmp_path / "rows.parquet", sleep=pauses.append)
    assert len(pauses) == 7
    assert max(pauses) <= 5


def test_a_statement_that_takes_too_long_or_is_interrupted_is_cancelled(
    redshift: Redshift, s3: str, tmp_path: Path
) -> None:
    redshift.hangs = True
    with pytest.raises(SourceUnavailable, match=r"takes too long.*cancelled"):
        query_to_parquet(settings(redshift, s3, timeout_s=2), ROWS, tmp_path / "rows.parquet", sleep=lambda _: None)

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        query_to_parquet(settings(redshift, s3), ROWS, tmp_path / "rows.parquet", sleep=interrupted)
    assert redshift.calls["CancelStatement"] == 2
    assert {one["Status"] for one in redshift.statements.values()} == {"ABORTED"}


def test_a_statement_whose_id_was_not_waited_for_is_cancelled(redshift: Redshift, s3: str, tmp_path: Path) -> None:
    redshift.hangs = redshift.interrupts = True
    with pytest.raises(KeyboardInterrupt):
        query_to_parquet(settings(redshift, s3), ROWS, tmp_path / "rows.parquet", sleep=no_sleep)
    assert redshift.calls["CancelStatement"] == 1
    assert [one["Status"] for one in redshift.statements.values()] == ["ABORTED"]


@pytest.mark.parametrize(("cleanup", "left"), [("keep_on_failure", 2), ("delete", 0), ("keep", 2)])
def test_an_unload_that_dies_half_way_gives_nothing(
    redshift: Redshift, s3: str, bucket: Any, tmp_path: Path, cleanup: str, left: int
) -> None:
    redshift.dies_after = 2
    path = tmp_path / "rows.parquet"
    with pytest.raises(SourceUnavailable, match="the unload ended before its end"):
        query_to_parquet(settings(redshift, s3, cleanup=cleanup), ROWS, path, sleep=no_sleep)
    assert not path.exists()
    assert len(staged(bucket)) == left
    redshift.dies_after = None
    assert query_to_parquet(settings(redshift, s3, cleanup=cleanup), ROWS, path, sleep=no_sleep).rows == 2_500
    assert len(staged(bucket)) == left + (4 if cleanup == "keep" else 0), "a run touches its own prefix only"


def test_a_file_that_is_not_what_the_manifest_says_is_refused(redshift: Redshift, s3: str, tmp_path: Path) -> None:
    redshift.damages = "0001_part_00.parquet"
    with pytest.raises(SourceUnavailable, match=r"not whole.*0001_part_00.*not as long"):
        query_to_parquet(settings(redshift, s3), ROWS, tmp_path / "rows.parquet", sleep=no_sleep)
    assert not (tmp_path / "rows.parquet").exists()
