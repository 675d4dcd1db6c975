"""The environment variables the platform reads, each once and here."""

from __future__ import annotations

import os
from pathlib import Path

from headrace.errors import ConfigError

MAVEN_CENTRAL = "https://repo1.maven.org/maven2"


def environment_name() -> str:
    """$HEADRACE_ENV: which environment's settings apply; `local` by default."""
    return os.environ.get("HEADRACE_ENV", "local")


def configuration_folder() -> Path:
    """$HEADRACE_CONF: the folder of a deployment's own <environment>.toml; `conf` by default."""
    return Path(os.environ.get("HEADRACE_CONF", "conf"))


def home_override() -> str | None:
    """$HEADRACE_HOME: overrides the `home` setting."""
    return os.environ.get("HEADRACE_HOME")


def cache_folder() -> Path:
    """$HEADRACE_CACHE, else $XDG_CACHE_HOME/headrace, else ~/.cache/headrace."""
    explicit = os.environ.get("HEADRACE_CACHE")
    if explicit:
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace"


def data_folder() -> Path | None:
    """$HEADRACE_DATA: a folder of public data sets, searched before anything is downloaded."""
    value = os.environ.get("HEADRACE_DATA")
    return Path(value) if value else None


def java_home() -> Path | None:
    """$JAVA_HOME, where it is set."""
    value = os.environ.get("JAVA_HOME")
    return Path(value) if value else None


def maven_repository() -> str:
    """$HEADRACE_MAVEN_REPOSITORY: a mirror of Maven Central to fetch jars from."""
    return os.environ.get("HEADRACE_MAVEN_REPOSITORY", MAVEN_CENTRAL).rstrip("/")


def secret(name: str) -> str:
    """The value of the secret called `name`; never logged, and settings hold only its name."""
    value = os.environ.get(name, "")
    if not value:
        raise ConfigError(f"the secret {name!r} is not set", do=f"export {name}=... before starting")
    return value


def is_set(name: str) -> bool:
    """Whether the secret called `name` has a value."""
    return bool(os.environ.get(name))


def under_spark_submit() -> bool:
    """Whether spark-submit started this process, and so has already chosen master, memory and jars."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def spark_submit_flags() -> str:
    """$SPARK_SUBMIT_OPTS: JVM flags the user gave, kept beside ours."""
    return os.environ.get("SPARK_SUBMIT_OPTS", "")
