from __future__ import annotations

import json
import socket

import pytest
from click.testing import CliRunner

from headrace import config
from headrace.cli.engines import doctor
from headrace.errors import AnswerIsNo
from headrace.local.doctor import FAIL, OK, WARN, examine


@pytest.fixture(autouse=True)
def _isolated(monkeypatch, tmp_path):
    """No credentials and no cache but what a test gives."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "BOTO_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))


def findings(*assignments):
    return {found.check: found for found in examine(config.load(assignments, environment="local"))}


def test_everything_is_looked_at_and_nothing_is_changed(tmp_path):
    found = findings()
    kinds = {check.split()[0] for check in found}
    assert kinds == {"python", "java", "jars", "engine", "port", "memory", "disk", "credentials"}
    assert found["jars delta"].result == WARN
    assert "7 of 7 not in" in found["jars delta"].found
    assert all(entry.mend for entry in found.values() if entry.result != OK)
    assert not (tmp_path / "home").exists()


def test_credentials_are_named_and_never_shown(monkeypatch):
    assert findings()["credentials"].result == OK
    assert findings("store.endpoint=")["credentials"].result == FAIL
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSECRETNAME")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-itself")
    found = findings("store.endpoint=")["credentials"]
    assert (found.result, found.found) == (OK, "found (env)")
    shown = CliRunner().invoke(doctor, ["--json"])
    assert "AKIDSECRETNAME" not in shown.output
    assert "the-secret-itself" not in shown.output


def test_a_taken_port_and_too_little_memory_are_said():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = findings(f"serve.port={port}", "spark.driver_memory=4000g")
    assert (found["port serve"].result, found["port serve"].found) == (WARN, f"{port} is taken")
    assert found["memory"].result == FAIL
    assert "spark.driver_memory" in found["memory"].mend


def test_a_failed_check_is_exit_1_and_json_has_it_all(tmp_path):
    good = CliRunner().invoke(doctor, ["--json"])
    assert good.exit_code == 0
    assert {"check", "result", "found", "mend"} == set(json.loads(good.output)[0])
    bad = CliRunner().invoke(doctor, ["--set", "spark.driver_memory=4000g"])
    assert isinstance(bad.exception, AnswerIsNo)
    assert bad.exception.exit_code == 1
    assert "fail  memory" in bad.output


def test_a_home_that_cannot_hold_anything_fails(tmp_path):
    (tmp_path / "home").write_text("a file")
    found = findings()["disk home"]
    assert (found.result, found.found) == (FAIL, f"{tmp_path / 'home'} is not a folder")
    assert "$HEADRACE_HOME" in found.mend
