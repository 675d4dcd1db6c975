"""Cassandra as a catalog of Spark: the connector's settings, made from ours."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headrace import config
from headrace.config import CassandraSettings, Settings
from headrace.errors import ConfigError
from headrace.local.endpoints import cassandra_contact
from headrace.local.java import find_java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_CLASS = "com.datastax.spark.connector.datasource.CassandraCatalog"
# Rows of one unlogged batch; all of one partition, so that one replica set takes it. Amazon Keyspaces allows 30.
_BATCH_ROWS = 10
# Few at once, as Amazon Keyspaces advises; more is no faster on one node either.
_WRITES_AT_ONCE = 4
_RETRIES = 10
# Of a file of public certificates.
_STORE_WORD = "changeit"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


def catalog(spark: SparkSession, settings: Settings) -> str:
    """The name of a catalog of Spark in which tables are `<name>.<keyspace>.<table>`.

    Two calls with the same settings give the same name, others another one, since Spark keeps a catalog once opened.
    """
    hosts, port = cassandra_contact(settings)
    options = connector_options(settings, hosts, port)
    key = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:8]
    name = f"cassandra_{key}"
    # Without the connector's session extensions: they are compiled against another Spark and break every query.
    spark.conf.set(f"spark.sql.catalog.{name}", _CLASS)
    for option, value in options.items():
        spark.conf.set(f"spark.sql.catalog.{name}.{option}", value)
    return name


def connector_options(whole: Settings, hosts: tuple[str, ...], port: int) -> dict[str, str]:
    """The connector's options; with TLS or SigV4 most of them go to a file of the Java driver, below `home`."""
    settings = whole.cassandra
    timeout_ms = str(round(settings.timeout_s * 1000))
    options = {
        "spark.cassandra.input.consistency.level": settings.consistency,
        "spark.cassandra.output.consistency.level": settings.consistency,
        "spark.cassandra.input.fetch.sizeInRows": str(settings.page_size),
        # A null that is written would be a tombstone.
        "spark.cassandra.output.ignoreNulls": "true",
        "spark.cassandra.output.batch.size.rows": str(_BATCH_ROWS),
        "spark.cassandra.output.batch.grouping.key": "partition",
        "spark.cassandra.output.concurrent.writes": str(_WRITES_AT_ONCE),
        # The connector retries idempotent statements only, and its writes are upserts by key.
        "spark.cassandra.query.retry.count": str(_RETRIES),
    }
    if settings.write_mb_per_s:
        options["spark.cassandra.output.throughputMBPerSec"] = str(settings.write_mb_per_s)
    if settings.tls or settings.auth == "sigv4":
        options["spark.cassandra.connection.config.profile.path"] = _profile(whole, hosts, port).as_uri()
        return options
    options |= {
        "spark.cassandra.connection.host": ",".join(hosts),
        "spark.cassandra.connection.port": str(port),
        "spark.cassandra.connection.timeoutMS": timeout_ms,
        "spark.cassandra.read.timeoutMS": timeout_ms,
    }
    if settings.local_dc:
        options["spark.cassandra.connection.localDC"] = settings.local_dc
    if settings.auth == "password":
        options["spark.cassandra.auth.username"] = config.secret(settings.username_secret)
        options["spark.cassandra.auth.password"] = config.secret(settings.password_secret)
    return options


def _profile(whole: Settings, hosts: tuple[str, ...], port: int) -> Path:
    """The Java driver's own file: the connector's options check no host name, and know no SigV4.

    On a cluster it must be at the same place on every machine. It names environment variables, never their values.
    """
    settings, folder = whole.cassandra, whole.home / "cassandra"
    text = json.dumps(driver_profile(settings, hosts, port, _trusted(settings, folder, whole.cache)), indent=1)
    if settings.auth == "password":
        # Substitutions of the driver's own language, which are none inside of quotes.
        for name in (settings.username_secret, settings.password_secret):
            text = text.replace(f'"${{{name}}}"', f"${{{name}}}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"driver-{hashlib.sha256(text.encode()).hexdigest()[:12]}.conf"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(text + "\n", "utf-8")
        part.replace(path)
    return path


def driver_profile(
    settings: CassandraSettings, hosts: tuple[str, ...], port: int, trusted: Path | None
) -> Mapping[str, object]:
    """What the file holds, as JSON, which its language includes. trusted: a PKCS #12 file of authorities."""
    engine: dict[str, object] = {"class": "DefaultSslEngineFactory", "hostname-validation": True}
    if trusted is not None:
        engine |= {"truststore-path": str(trusted), "truststore-password": _STORE_WORD}
    timeout = f"{round(settings.timeout_s * 1000)} milliseconds"
    advanced: dict[str, object] = {
        # Names are resolved anew at each connection, and given to the certificate check as they were configured.
        "resolve-contact-points": False,
        # What Amazon Keyspaces speaks; Cassandra 5 does too.
        "protocol": {"version": "V4"},
        "connection": {"connect-timeout": timeout, "init-query-timeout": timeout},
        "control-connection": {"timeout": timeout},
    }
    if settings.tls:
        advanced["ssl-engine-factory"] = engine
    if settings.auth == "sigv4":
        advanced["auth-provider"] = {"class": "software.aws.mcs.auth.SigV4AuthProvider", "aws-region": settings.region}
    if settings.auth == "password":
        advanced["auth-provider"] = {
            "class": "PlainTextAuthProvider",
            "username": f"${{{settings.username_secret}}}",
            "password": f"${{{settings.password_secret}}}",
        }
    local_dc = settings.local_dc or (settings.region if settings.auth == "sigv4" else "")
    balancing = {"local-datacenter": local_dc} if local_dc else {"class": "DcInferringLoadBalancingPolicy"}
    return {
        "datastax-java-driver": {
            "basic": {
                "contact-points": [f"{host}:{port}" for host in hosts],
                "load-balancing-policy": balancing,
                "request": {
                    "timeout": timeout,
                    "consistency": settings.consistency,
                    "page-size": settings.page_size,
                },
            },
            "advanced": advanced,
        }
    }


def _trusted(settings: CassandraSettings, folder: Path, cache: Path) -> Path | None:
    """The authority's certificates as Java reads them; None: those that Java trusts."""
    if not (settings.tls and settings.ca_file):
        return None
    source = Path(settings.ca_file).expanduser()
    try:
        certificates = _CERTIFICATE.findall(source.read_text("ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cassandra.ca_file {source} cannot be read", found=str(error)) from error
    store = folder / f"trusted-{hashlib.sha256(''.join(certificates).encode()).hexdigest()[:12]}.p12"
    if store.exists():
        return store
    folder.mkdir(parents=True, exist_ok=True)
    part = store.with_suffix(f".{os.getpid()}")
    part.unlink(missing_ok=True)
    # By its class, since the runtime of the Python package has no `keytool` beside its `java`.
    keytool = [str(find_java(cache).executable), "-m", "java.base/sun.security.tools.keytool.Main"]
    for number, certificate in enumerate(certificates):
        into = ["-alias", f"ca{number}", "-keystore", str(part), "-storetype", "PKCS12", "-storepass", _STORE_WORD]
        command = [*keytool, "-importcert", "-noprompt", *into]
        done = subprocess.run(command, input=certificate, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise ConfigError(f"cassandra.ca_file {source} cannot be read", found=done.stdout.strip()[:200])
    if not certificates:
        raise ConfigError(f"cassandra.ca_file {source} holds no certificate", expected="a PEM file of certificates")
    part.replace(store)
    return store
