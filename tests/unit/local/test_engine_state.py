from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from headrace import config
from headrace.errors import EngineError, TerminalError
from headrace.local import engines
from headrace.local.dynamodb import DynamoDB
from headrace.local.launch import Place
from headrace.local.ports import choose, is_free
from headrace.local.process import identify
from headrace.local.s3 import S3


@pytest.fixture
def settings(tmp_path):
    return config.load([f"home={tmp_path / 'home'}"], environment="local")


def leave_state(settings: config.Settings, name: str, text: str) -> None:
    folder = settings.engine_home / name
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(text)


def state(pid: int, started: float, port: int = 20_001) -> str:
    return json.dumps({"ports": {"client": port}, "process": {"pid": pid, "started": started}, "ready": True})


def test_an_engine_that_never_ran_is_stopped(settings):
    (found,) = engines.status(settings, ["dynamodb"])
    assert (found.state, found.endpoint, found.pid) == ("stopped", None, None)
    (found,) = engines.down(["dynamodb"], settings)
    assert found.state == "stopped"
    assert not settings.engine_home.exists()


def test_a_pid_that_somebody_else_got_is_dead_and_survives_down(settings):
    me = identify(os.getpid())
    assert me is not None
    leave_state(settings, "dynamodb", state(me.pid, me.started - 100))
    (found,) = engines.status(settings, ["dynamodb"])
    assert (found.state, found.endpoint) == ("dead", None)
    (found,) = engines.down(["dynamodb"], settings)  # stopping ourselves would end the test run
    assert found.state == "stopped"
    assert engines.kept_ports("dynamodb", settings) == [20_001]


def test_a_process_that_does_not_answer_is_silent(settings):
    me = identify(os.getpid())
    assert me is not None
    leave_state(settings, "dynamodb", state(me.pid, me.started, port=9))
    (found,) = engines.status(settings, ["dynamodb"])
    assert (found.state, found.pid) == ("silent", os.getpid())


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"ports": {}, "process": 7, "ready": true}', '{"ports": 1}'])
def test_a_damaged_state_file_counts_as_none(settings, text):
    leave_state(settings, "kafka", text)
    assert [found.state for found in engines.status(settings, ["kafka"])] == ["stopped"]


@pytest.mark.parametrize("name", list(engines.ENGINES))
def test_the_endpoint_of_a_stopped_engine_names_the_command(settings, name):
    with pytest.raises(EngineError, match=f"engine {name} does not answer.*is stopped.*`headrace up {name}`") as raised:
        engines.endpoint(name, settings)
    assert raised.value.exit_code == 75


def test_an_unknown_engine_names_the_nearest(settings):
    for call in (engines.up, engines.down):
        with pytest.raises(TerminalError, match=r"no engine 'kafak'.*nearest 'kafka'"):
            call(["kafak"], settings)


def test_a_home_that_is_a_file_says_so(settings):
    settings.home.write_text("a file")
    with pytest.raises(EngineError, match=r"engine s3 cannot use its folder .*HEADRACE_HOME"):
        engines.up(["s3"], settings, progress=False)


def test_ports_are_kept_where_free_and_distinct():
    first = choose(("client", "controller"), {})
    assert len(set(first.values())) == 2
    assert choose(("client", "controller"), first) == first
    with socket.create_server(("127.0.0.1", first["client"])):
        assert not is_free(first["client"])
        moved = choose(("client", "controller"), first)
    assert moved["controller"] == first["controller"]
    assert moved["client"] not in first.values()


def test_dynamodb_says_where_it_has_no_native_library(tmp_path):
    place = Place(tmp_path, {"client": 1}, Path("java"), [Path("a.jar")], 64, in_memory=True)
    with pytest.raises(EngineError, match="no SQLite library for this machine; expected Linux on x86_64"):
        DynamoDB().command(place)


def test_a_request_record_keeps_changes_and_drops_a_torn_line(tmp_path):
    place = Place(tmp_path, {"client": 1}, None, [], 0, in_memory=False)
    place.data.mkdir()
    lines = [json.dumps({"method": method, "body": method}) for method in ("PUT", "GET", "POST", "HEAD", "DELETE")]
    record = place.data / "requests.jsonl"
    record.write_text("\n".join(lines) + "\n" + lines[0][:-3])
    S3().prepare(place)
    assert [json.loads(line)["method"] for line in record.read_text().splitlines()] == ["PUT", "POST", "DELETE"]
