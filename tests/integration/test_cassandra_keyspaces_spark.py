"""Spark over TLS and SigV4, by the command line: the plugin that signs in the Java driver, and its credentials."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid

import pytest
from botocore.credentials import ReadOnlyCredentials
from cassandra_world import count_of, purchases
from keyspaces_endpoint import Endpoint, authority, keyspaces

# Sessions of Spark of their own, with jars that others do not have.
pytestmark = [pytest.mark.spark, pytest.mark.cassandra, pytest.mark.slow]

KEYS = ReadOnlyCredentials("ASIAFIRST", "secret-1", "token-1")


def test_a_table_is_loaded_and_read_over_signed_connections_only(cassandra, tmp_path):
    ca_file, certificate = authority(tmp_path, "right", "localhost")
    path = purchases(tmp_path / "sales.csv")
    with keyspaces(cassandra, Endpoint([KEYS]), certificate) as endpoint:

        def headrace(*arguments: str, expect: int = 0, **changed: str) -> subprocess.CompletedProcess[str]:
            own = {
                "hosts": "localhost",
                "port": str(endpoint.port),
                "tls": "true",
                "auth": "sigv4",
                "region": "us-east-1",
                "local_dc": "datacenter1",
                "ca_file": str(ca_file),
                "keyspace": keyspace,
                "retry_s": "5",
                **changed,
            }
            settings = [part for key, value in own.items() for part in ("--set", f"cassandra.{key}={value}")]
            done = subprocess.run(
                [sys.executable, "-m", "headrace.cli", *arguments, *settings, "--set", "source=cassandra", "--json"],
                check=False,
                env={
                    **os.environ,
                    "HEADRACE_HOME": str(tmp_path / "home"),
                    "AWS_ACCESS_KEY_ID": KEYS.access_key,
                    "AWS_SECRET_ACCESS_KEY": KEYS.secret_key,
                    "AWS_SESSION_TOKEN": str(KEYS.token),
                },
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == expect, done.stdout + done.stderr
            return done

        keyspace = f"t{uuid.uuid4().hex[:12]}"
        loaded = json.loads(headrace("load", "online_retail", "--input", str(path)).stdout)
        by_load = len(endpoint.authenticated)
        assert loaded["in_table"] == count_of(path)
        facts = json.loads(headrace("explore", "online_retail").stdout)
        assert facts["rows"] == count_of(path)
        # The Python driver opens two connections; the others are Spark's.
        assert by_load > 2
        refused = headrace("load", "online_retail", "--input", str(path), expect=2, region="us-west-2")
        assert "signed for another region" in refused.stderr
