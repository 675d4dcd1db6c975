"""Settings: base < environment < --set, and what is not understood is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headrace import config
from headrace.errors import ConfigError, InputError


def test_later_layers_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_CONF", str(tmp_path))
    (tmp_path / "local.toml").write_text("[serve]\nport = 9000\n[store]\ntable = 'mine'\n", "utf-8")
    settings = config.load(["serve.port=9100"])
    assert (settings.serve.port, settings.store.table, settings.store.endpoint) == (9100, "mine", "engine")


def test_another_environment_does_not_inherit_the_laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_CONF", str(tmp_path))
    (tmp_path / "emr.toml").write_text("", "utf-8")
    settings = config.load([], "emr")
    assert settings.store.endpoint == ""
    assert settings.serve.require_token


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[serve]\nprot = 1\n", r"unknown configuration key 'serve.prot'; nearest 'serve.port'"),
        ("[serve]\nport = 'many'\n", r"'serve.port' has a bad value; found 'many'"),
        ("[serve\n", "not valid TOML"),
        ("[publish]\nlease_s = 1\n", r"'publish.lease_s' has a bad value; found 1"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str) -> None:
    monkeypatch.setenv("HEADRACE_CONF", str(tmp_path))
    (tmp_path / "local.toml").write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=says):
        config.load()


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("store.tabel=x", "nearest 'store.table'; known keys: store.kind, store.table, "),
        ("store.table", "nearest 'store.table'; known keys: store.kind, store.table, "),
        ("store=x", "known keys: store.kind, "),
        ("table=x", "known sections: home, cache, source, spark, store, "),
    ],
)
def test_bad_assignments_list_what_there_is_beside(assignment: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)) as refused:
        config.load([assignment])
    assert "kafka.bootstrap" not in str(refused.value)


def test_what_is_no_text_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_CONF", str(tmp_path))
    (tmp_path / "local.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"the settings .*local\.toml cannot be read; .*expected text in UTF-8"):
        config.load()
    with pytest.raises(InputError, match=r"the query .*nothing\.sql cannot be read; found No such file"):
        config.text_of(tmp_path / "nothing.sql", "the query")


def test_an_unknown_environment_says_where_to_put_it() -> None:
    with pytest.raises(ConfigError, match=r"no environment 'prod'; expected local, or a file conf/prod.toml"):
        config.load([], "prod")


def test_secrets_are_named_and_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_TOKEN", "s3cret")
    assert "s3cret" not in str(config.redacted(config.load()))
    monkeypatch.delenv("HEADRACE_TOKEN")
    with pytest.raises(ConfigError, match="secret 'HEADRACE_TOKEN' is not set"):
        config.secret("HEADRACE_TOKEN")
