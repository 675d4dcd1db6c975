"""The warehouse that the settings name: the rows of one query as one Parquet file."""

from __future__ import annotations

from pathlib import Path

from headrace import config
from headrace.config import Settings
from headrace.errors import InputError
from headrace.local.endpoints import ENGINE
from headrace.sources.postgres import Server, query_to_parquet
from headrace.sources.progress import say


def rows_of(settings: Settings, query: str, path: Path) -> None:
    """Write the rows of a query on the warehouse of `sales.source` to `path`, whole or not at all; it is only read.

    Raises EngineError, naming `headrace up postgres`, where the local one does not answer; InputError for a refused or
    empty query; SourceUnavailable for what may pass.
    """
    if settings.sales.source == "redshift":
        from headrace.sources import redshift

        done = redshift.query_to_parquet(settings.redshift, query, path)
        say(f"{done.rows:,} rows in {done.files} files of Redshift are staged")
        return
    server = server_of(settings)
    rows = query_to_parquet(server, query, path)
    say(f"{rows:,} rows of {server.shown} are staged")


def server_of(settings: Settings) -> Server:
    """Where `postgres.address` says the database is, and who asks it."""
    wanted = settings.postgres
    if wanted.address == ENGINE:
        from headrace.local.engines import endpoint
        from headrace.local.postgres import DATABASE, USER, password_of

        host, _, port = endpoint("postgres", settings).rpartition(":")
        return Server(host, int(port), DATABASE, USER, password_of(settings.engine_home / "postgres"))
    host, _, port = wanted.address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError("postgres.address names no server", found=repr(wanted.address), expected="host:port")
    password = config.secret(wanted.password_secret)
    return Server(host, int(port), wanted.database, wanted.user, password, wanted.tls)
