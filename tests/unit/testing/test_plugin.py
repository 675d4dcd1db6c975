"""The plugin: cheap to load, isolated settings, and engines that are skipped by name or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

UNREACHABLE = """
from contextlib import contextmanager

import pytest
from headrace.errors import DownloadError, EngineError


@pytest.fixture(scope="session", autouse=True)
def broken_engine():
    import headrace.local.engines

    @contextmanager
    def running(name, folder, settings):
        raise {error}
        yield

    patch = pytest.MonkeyPatch()
    patch.setattr(headrace.local.engines, "running", running)
    yield
    patch.undo()


def test_it(kafka):
    assert kafka
"""


def test_loading_the_plugin_imports_neither_spark_nor_pandas():
    heavy = ("pyspark", "pandas", "pyarrow", "boto3", "pydantic")
    code = f"import sys, headrace.testing.plugin; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_settings_stay_in_the_folder_of_the_test(headrace_settings, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_ENV", "emr")
    monkeypatch.setenv("HEADRACE_HOME", "/nowhere")
    settings = headrace_settings("publish.lease_s=9", endpoint="http://127.0.0.1:1")
    assert tmp_path in settings.home.parents
    assert (settings.environment, settings.publish.lease_s) == ("local", 9)
    assert settings.store.endpoint == "http://127.0.0.1:1"
    assert headrace_settings().store.table == settings.store.table
    assert headrace_settings(f"home={tmp_path / 'other'}").home == tmp_path / "other"


def test_each_test_has_a_table_of_its_own(pytester: pytest.Pytester):
    pytester.makepyfile("""
        tables = []

        def test_one(headrace_settings):
            tables.append(headrace_settings().store.table)

        def test_two(headrace_settings):
            assert headrace_settings().store.table not in tables
        """)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_jars_that_cannot_be_had_skip_by_name_or_fail_on_request(pytester: pytest.Pytester):
    pytester.makepyfile(UNREACHABLE.format(error='DownloadError("kafka.jar does not arrive")'))
    result = pytester.runpytest_subprocess("-ra")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*SKIPPED*kafka is not available: its jars cannot be had: kafka.jar does not arrive*"])
    result = pytester.runpytest_subprocess("--require-engines")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*kafka is not available: its jars cannot be had: kafka.jar does not arrive*"])


def test_an_engine_that_does_not_start_is_an_error(pytester: pytest.Pytester):
    pytester.makepyfile(UNREACHABLE.format(error='EngineError("the local engine kafka does not start")'))
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*EngineError: the local engine kafka does not start*"])


@pytest.mark.spark
def test_the_session_is_small_in_utc_and_reads_delta(spark, tmp_path: Path):
    assert spark.sparkContext.master == "local[2]"
    assert spark.conf.get("spark.sql.shuffle.partitions") == "2"
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    assert spark.sparkContext.uiWebUrl is None
    spark.range(3).write.format("delta").save(str(tmp_path / "table"))
    assert spark.read.format("delta").load(str(tmp_path / "table")).count() == 3


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param("dynamodb", marks=pytest.mark.dynamodb),
        pytest.param("s3", marks=pytest.mark.s3),
        pytest.param("kinesis", marks=pytest.mark.kinesis),
    ],
)
def test_an_engine_answers_at_its_endpoint(engine, request):
    import requests

    # DynamoDB refuses an unsigned request, the S3 stand-in lists no bucket: both are answers
    assert requests.get(request.getfixturevalue(engine), timeout=10).status_code < 500
