"""Typed settings and how they are put together."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from headrace.config import variables
from headrace.config.sections import (
    CassandraSettings,
    EnginesSettings,
    IngestSettings,
    KafkaSettings,
    KinesisSettings,
    PostgresSettings,
    PublishSettings,
    RedshiftSettings,
    SalesSettings,
    Section,
    ServeSettings,
    SparkSettings,
    StoreSettings,
    StreamSettings,
)
from headrace.config.texts import text_of
from headrace.errors import ConfigError, nearest


class Settings(Section):
    """Everything a command needs to know that is not in a definition."""

    environment: str
    home: Path
    cache: Path
    source: Literal["files", "cassandra"]
    spark: SparkSettings
    store: StoreSettings
    ingest: IngestSettings
    publish: PublishSettings
    serve: ServeSettings
    kafka: KafkaSettings
    kinesis: KinesisSettings
    postgres: PostgresSettings
    redshift: RedshiftSettings
    sales: SalesSettings
    cassandra: CassandraSettings
    stream: StreamSettings
    engines: EnginesSettings

    @property
    def lake(self) -> Path:
        return self.home / "lake"

    @property
    def registry(self) -> Path:
        return self.home / "registry"

    @property
    def reports(self) -> Path:
        return self.home / "reports"

    @property
    def answers(self) -> Path:
        return self.home / "answers"

    @property
    def staged(self) -> Path:
        return self.home / "staged"

    @property
    def made(self) -> Path:
        """The record of what was made outside of `home`, and what `headrace cleanup` may drop."""
        return self.home / "made.json"

    @property
    def engine_home(self) -> Path:
        return self.home / "engines"


def load(assignments: Iterable[str] = (), environment: str | None = None) -> Settings:
    """Settings of an environment (default $HEADRACE_ENV, else local) with `section.key=value` overrides on top.

    Raises ConfigError for an unknown environment, key or value, naming the nearest match.
    """
    name = environment or variables.environment_name()
    merged = _read(resources.files("headrace").joinpath("base.toml").read_text("utf-8"), "base.toml")
    for text, origin in _overlays(name):
        _merge(merged, _read(text, origin))
    home = variables.home_override()
    if home:
        merged["home"] = home
    known = _paths(merged)
    for assignment in assignments:
        key, sep, value = assignment.partition("=")
        if not sep or key not in known:
            raise ConfigError(
                f"--set {assignment!r} is not understood",
                expected="section.key=value with a known key",
                nearest=nearest(key, known),
                do=_beside(key, known),
            )
        _assign(merged, key.split("."), _value(value))
    merged["environment"] = name
    merged["home"] = Path(merged["home"]).expanduser().resolve()
    merged["cache"] = Path(merged["cache"]).expanduser() if merged["cache"] else variables.cache_folder()
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise _explained(error, known) from None


def redacted(settings: Settings) -> dict[str, Any]:
    """The settings as JSON for logs and manifests; they hold names of secrets, never values."""
    plain: dict[str, Any] = settings.model_dump(mode="json")
    return plain


def _overlays(name: str) -> list[tuple[str, str]]:
    packaged = resources.files("headrace").joinpath(f"{name}.toml")
    deployed = variables.configuration_folder() / f"{name}.toml"
    found = []
    if name != "base" and packaged.is_file():
        found.append((packaged.read_text("utf-8"), f"{name}.toml"))
    if deployed.is_file():
        found.append((text_of(deployed, "the settings"), str(deployed)))
    if not found:
        raise ConfigError(
            f"there is no environment {name!r}",
            expected=f"local, or a file {deployed}",
            do="name it with --env or $HEADRACE_ENV",
        )
    return found


def _read(text: str, origin: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin} is not valid TOML", found=str(error)) from error


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _assign(into: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        into = into[part]
    into[path[-1]] = value


def _paths(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    paths: list[str] = []
    for key, value in tree.items():
        paths += _paths(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
    return paths


def _beside(key: str, known: list[str]) -> str:
    """The keys of the section that was meant; where there is no such section, the sections."""
    section = key.partition(".")[0]
    inside = [path for path in known if path.startswith(f"{section}.")]
    if inside:
        return f"known keys: {', '.join(inside)}"
    return f"known sections: {', '.join(dict.fromkeys(path.partition('.')[0] for path in known))}"


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _explained(error: ValidationError, known: list[str]) -> ConfigError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        real = [path for path in known if path != key]
        return ConfigError(f"unknown configuration key {key!r}", nearest=nearest(key, real))
    return ConfigError(f"configuration key {key!r} has a bad value", found=repr(first["input"]), expected=first["msg"])
