"""The pytest plugin: a Spark session, the local engines, and settings that touch nothing but the test's folder.

It is loaded by every pytest run of an environment that has headrace, so it imports only pytest; what a fixture
needs is imported when a test first asks for it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from headrace.config import Settings
    from headrace.sources.postgres import Server


class SettingsFactory(Protocol):
    """What the fixture `headrace_settings` gives."""

    def __call__(self, *assignments: str, endpoint: str | None = None) -> Settings:
        """Settings of the local environment with `section.key=value` assignments on top."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("headrace").addoption(
        "--require-engines",
        action="store_true",
        help="an engine or Spark whose jars cannot be fetched is an error, not a skip",
    )


@pytest.fixture(scope="session")
def spark(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One small Spark session with Delta for the whole run: local[2], two shuffle partitions, UTC, no UI."""
    from headrace.config import load
    from headrace.errors import DownloadError
    from headrace.session import open_session

    home = tmp_path_factory.mktemp("spark")
    settings = load(
        [f"home={home}", "spark.master=local[2]", "spark.driver_memory=1g", "spark.shuffle_partitions=2"],
        environment="local",
    )
    extra = {"spark.ui.enabled": "false", "spark.sql.warehouse.dir": str(home / "warehouse")}
    try:
        session = open_session(settings, "headrace-tests", ("delta", "kafka-source", "cassandra-source"), extra)
    except DownloadError as error:
        _cannot_be_had("spark", error, request.config)
    yield session
    session.stop()


@pytest.fixture(scope="session")
def dynamodb(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a DynamoDB Local that keeps its tables in memory."""
    yield from _engine("dynamodb", request, tmp_path_factory)


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of a one-node Kafka in KRaft mode."""
    yield from _engine("kafka", request, tmp_path_factory)


@pytest.fixture(scope="session")
def s3(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of an S3 stand-in."""
    yield from _engine("s3", request, tmp_path_factory)


@pytest.fixture(scope="session")
def kinesis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a Kinesis stand-in."""
    yield from _engine("kinesis", request, tmp_path_factory)


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A PostgreSQL of this run's own."""
    import shutil

    from headrace.local.postgres import DATABASE, USER, data_folder, password_of
    from headrace.sources.postgres import Server

    home = tmp_path_factory.mktemp("postgres")
    for address in _engine("postgres", request, tmp_path_factory, home):
        host, _, port = address.partition(":")
        yield Server(host, int(port), DATABASE, USER, password_of(home / "postgres"))
    shutil.rmtree(data_folder((home / "postgres").resolve()), ignore_errors=True)


@pytest.fixture(scope="session")
def cassandra(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host:port of a one-node Cassandra."""
    yield from _engine("cassandra", request, tmp_path_factory)


@pytest.fixture
def headrace_settings(tmp_path: Path) -> SettingsFactory:
    """A function that gives settings whose home is inside this test's folder and whose table is this test's own.

    `endpoint` is where the store is: usually the fixture `dynamodb`. Two calls in one test share home and table.
    """
    table = f"test-{uuid.uuid4().hex[:12]}"

    def settings(*assignments: str, endpoint: str | None = None) -> Settings:
        from headrace.config import load

        own = [f"home={tmp_path / 'headrace'}", f"store.table={table}"]
        if endpoint is not None:
            own.append(f"store.endpoint={endpoint}")
        return load([*own, *assignments], environment="local")

    return settings


def _engine(
    name: str, request: pytest.FixtureRequest, folders: pytest.TempPathFactory, folder: Path | None = None
) -> Iterator[str]:
    from headrace.config import load
    from headrace.errors import DownloadError, EngineError
    from headrace.local.engines import running

    with ExitStack() as stack:
        try:
            engine = stack.enter_context(running(name, folder or folders.mktemp("engine"), load(environment="local")))
        except DownloadError as error:
            _cannot_be_had(name, error, request.config)
        if engine.endpoint is None:
            raise EngineError(f"the local engine {name} has no endpoint", found=engine.state, do=f"see {engine.log}")
        yield engine.endpoint


def _cannot_be_had(name: str, error: Exception, config: pytest.Config) -> NoReturn:
    reason = f"{name} is not available: its jars cannot be had: {error}"
    if config.getoption("--require-engines"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
