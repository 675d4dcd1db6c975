from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path
from threading import Barrier, Thread

import pyspark
import pytest
from file_server import served

from headrace.errors import DownloadError, TerminalError
from headrace.local import jars, lock
from headrace.local.jars import Artifact, ensure_jars

FILES = {f"/g/a{n}/1/a{n}-1.jar": bytes([n]) * 50_000 for n in range(12)}
LOCKED = {
    "all": [Artifact(path[1:], hashlib.sha256(body).hexdigest(), len(body)) for path, body in FILES.items()],
    "one": [Artifact("g/a0/1/a0-1.jar", hashlib.sha256(FILES["/g/a0/1/a0-1.jar"]).hexdigest(), 50_000)],
}


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(jars, "_locked", lambda: LOCKED)
    with served(FILES) as site:
        monkeypatch.setenv("HEADRACE_MAVEN_REPOSITORY", site.url + "/")
        yield site


def test_groups_arrive_once_in_lock_order_and_then_need_no_network(site, tmp_path, monkeypatch, capsys):
    found = ensure_jars(["one", "all"], tmp_path)
    assert found == [tmp_path / "jars" / path[1:] for path in FILES]
    assert [path.read_bytes() for path in found] == list(FILES.values())
    assert len(site.asked) == len(FILES)
    assert f"fetching 12 jars, 1 MB, from {site.url}\n" in capsys.readouterr().err
    monkeypatch.setenv("HEADRACE_MAVEN_REPOSITORY", "http://127.0.0.1:9")
    assert ensure_jars(["all"], tmp_path) == found
    assert capsys.readouterr().err == ""


def test_only_what_is_missing_or_damaged_is_fetched(site, tmp_path):
    found = ensure_jars(["all"], tmp_path, progress=False)
    found[3].unlink()
    found[5].write_bytes(b"?" * 50_000)
    assert [artifact.path for artifact in jars.missing("all", tmp_path)] == ["g/a3/1/a3-1.jar", "g/a5/1/a5-1.jar"]
    site.asked.clear()
    ensure_jars(["all"], tmp_path, progress=False)
    assert sorted(path for path, _ in site.asked) == ["/g/a3/1/a3-1.jar", "/g/a5/1/a5-1.jar"]
    assert jars.missing("all", tmp_path) == []


def test_callers_at_once_fetch_each_file_once(site, tmp_path):
    together, failed = Barrier(4), []

    def call() -> None:
        together.wait()
        try:
            ensure_jars(["all"], tmp_path, progress=False)
        except Exception as error:  # noqa: BLE001 - handed to the assertion below
            failed.append(error)

    threads = [Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(path for path, _ in site.asked) == sorted(FILES)


def test_a_failure_names_the_file_and_a_rerun_gets_the_rest(site, tmp_path):
    missing = "/g/a7/1/a7-1.jar"
    site.files = {path: body for path, body in FILES.items() if path != missing}
    with pytest.raises(DownloadError, match=r"a7-1.jar is refused; found HTTP 404"):
        ensure_jars(["all"], tmp_path, progress=False)
    site.files = FILES
    assert all(path.is_file() for path in ensure_jars(["all"], tmp_path, progress=False))


def test_a_cache_that_cannot_be_used_says_so(site, tmp_path):
    (tmp_path / "jars").write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match=r"cache .* cannot be used.*HEADRACE_CACHE"):
        ensure_jars(["one"], tmp_path, progress=False)


def test_progress_is_a_bar_on_a_terminal(site, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    ensure_jars(["all"], tmp_path)
    assert "12 jars" in capsys.readouterr().err


def test_an_unknown_group_names_the_nearest():
    with pytest.raises(TerminalError, match=r"no group of jars 'delt'.*nearest 'delta'"):
        ensure_jars(["delt"], Path("unused"))


def test_natives_are_for_this_machine_only(monkeypatch):
    monkeypatch.setattr(jars.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(jars.platform, "machine", lambda: "arm64")
    natives = [artifact.path for artifact in jars.artifacts("dynamodb") if not artifact.path.endswith(".jar")]
    assert [Path(path).name for path in natives] == ["libsqlite4java-osx-aarch64-1.0.392.dylib"]


def test_every_group_is_locked_without_naming_a_repository():
    text = resources.files("headrace").joinpath("jars.toml").read_text("utf-8")
    assert "://" not in text
    for name in jars.groups():
        locked = jars.artifacts(name)
        assert locked, name
        assert all(re.fullmatch("[0-9a-f]{64}", artifact.sha256) and artifact.size > 0 for artifact in locked)


def test_no_artifact_is_in_a_group_in_two_versions():
    for name in jars.groups():
        versions = {Path(artifact.path).parent for artifact in jars.artifacts(name)}
        assert len({folder.parent for folder in versions}) == len(versions), name


def test_nothing_beside_pyspark_repeats_what_pyspark_ships():
    def module(name: str) -> str:
        return re.sub(r"-\d.*$", "", name)

    shipped = {module(path.name) for path in (Path(pyspark.__file__).parent / "jars").glob("*.jar")}
    lanes = tomllib.loads(resources.files("headrace").joinpath("jars.toml").read_text("utf-8"))
    for name, group in lanes[jars.LANE].items():
        names = {module(Path(artifact["path"]).name) for artifact in group["artifacts"]}
        assert names & (shipped | {"hadoop-common", "commons-logging"}) == set(), name


def test_the_lock_writes_what_it_reads():
    text = resources.files("headrace").joinpath("jars.toml").read_text("utf-8")
    preface = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    assert preface + lock.render(tomllib.loads(text)) == text


def test_the_lock_refuses_a_group_it_does_not_know():
    with pytest.raises(TerminalError, match="found \\['nothing'\\]"):
        lock.main(["nothing"])


def test_a_reader_of_jars_needs_no_heavy_import():
    code = (
        "import sys, headrace.local.jars; print(sorted({'requests', 'rich', 'pyspark', 'tenacity'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
