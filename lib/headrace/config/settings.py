"""Typed settings and how they are put together."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from headrace.config import variables
from headrace.errors import ConfigError, nearest


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SparkSettings(_Section):
    master: str
    driver_memory: str
    shuffle_partitions: int = Field(ge=0)
    class_data_sharing: bool
    jvm_flags: str


class StoreSettings(_Section):
    kind: Literal["dynamodb", "memory"]
    table: str = Field(pattern=r"^[A-Za-z0-9_.-]{3,255}$")
    region: str
    endpoint: str
    create_table: bool


class IngestSettings(_Section):
    max_quarantine_share: float = Field(ge=0, le=1)
    multiline: bool


class PublishSettings(_Section):
    lease_s: int = Field(ge=5)
    retry_s: int = Field(ge=1)
    rollback_window: int = Field(ge=0)


class ServeSettings(_Section):
    host: str
    port: int = Field(ge=0, le=65535)
    require_token: bool
    token_secret: str
    token_file: str
    tls_certificate: str
    tls_key: str
    champion_cache_s: float = Field(ge=0)
    max_body_bytes: int = Field(ge=1024)
    store_timeout_s: float = Field(gt=0)
    store_down: Literal["refuse", "stale"]
    view: list[str]
    view_refresh_s: float = Field(ge=0)
    view_max_age_s: float = Field(ge=0)
    logged_share: float = Field(ge=0, le=1)
    shadow_share: float = Field(ge=0, le=1)
    past: list[str]
    watch_s: float = Field(ge=0)


class KafkaSettings(_Section):
    bootstrap: str
    security: Literal["plaintext", "tls", "sasl_tls", "msk_iam"]
    mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"]
    username_secret: str
    password_secret: str
    ca_file: str
    max_per_trigger: int = Field(ge=0)
    max_ahead_s: int = Field(ge=0)


class KinesisSettings(_Section):
    streams: tuple[str, ...]
    region: str
    endpoint: str
    since: str
    max_per_trigger: int = Field(ge=0)
    max_ahead_s: int = Field(ge=0)

    @field_validator("since")
    @classmethod
    def _is_a_beginning(cls, since: str) -> str:
        """An instant becomes one of UTC where it says nothing else."""
        if since in {"TRIM_HORIZON", "LATEST"}:
            return since
        try:
            instant = datetime.fromisoformat(since)
        except ValueError:
            raise ValueError("TRIM_HORIZON, LATEST or an instant such as 2026-11-01T00:00:00Z") from None
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).isoformat()


class CassandraSettings(_Section):
    hosts: str
    port: int = Field(ge=1, le=65535)
    keyspace: str = Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")
    replication_factor: int = Field(ge=1)
    local_dc: str
    tls: bool
    ca_file: str
    consistency: Literal["ONE", "LOCAL_ONE", "LOCAL_QUORUM", "QUORUM", "EACH_QUORUM", "ALL"]
    # After what it is checked against.
    auth: Literal["none", "password", "sigv4"]
    username_secret: str
    password_secret: str
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    page_size: int = Field(ge=10, le=100_000)
    write_mb_per_s: float = Field(ge=0)
    timeout_s: float = Field(gt=0)
    retry_s: float = Field(ge=0)

    @field_validator("auth")
    @classmethod
    def _is_safe(cls, auth: str, info: ValidationInfo) -> str:
        """Signed requests go over TLS, and Amazon Keyspaces writes at LOCAL_QUORUM alone."""
        if auth == "sigv4" and not info.data.get("tls"):
            raise ValueError("cassandra.tls=true with sigv4")
        if auth == "sigv4" and info.data.get("consistency") != "LOCAL_QUORUM":
            raise ValueError("cassandra.consistency=LOCAL_QUORUM with sigv4")
        return auth


class StreamSettings(_Section):
    update_interval_s: float = Field(ge=0)
    ingest_interval_s: float = Field(ge=0)
    heartbeat_s: float = Field(gt=0)
    metrics_port: int = Field(ge=0, le=65535)
    handover_s: float = Field(gt=0)
    log_level: Literal["info", "warning"]


class EnginesSettings(_Section):
    kafka_heap_mb: int = Field(ge=128)
    dynamodb_heap_mb: int = Field(ge=64)
    cassandra_heap_mb: int = Field(ge=256)


class Settings(_Section):
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
                do=f"known keys: {', '.join(known)}",
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
        found.append((deployed.read_text("utf-8"), str(deployed)))
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
