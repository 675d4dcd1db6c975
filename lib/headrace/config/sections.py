"""What each section of the settings holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator


class Section(BaseModel):
    """A table of the settings; a key that it does not have is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SparkSettings(Section):
    master: str
    driver_memory: str
    shuffle_partitions: int = Field(ge=0)
    class_data_sharing: bool
    jvm_flags: str


class StoreSettings(Section):
    kind: Literal["dynamodb", "memory"]
    table: str = Field(pattern=r"^[A-Za-z0-9_.-]{3,255}$")
    region: str
    endpoint: str
    create_table: bool


class IngestSettings(Section):
    max_quarantine_share: float = Field(ge=0, le=1)
    multiline: bool


class PublishSettings(Section):
    lease_s: int = Field(ge=5)
    retry_s: int = Field(ge=1)
    rollback_window: int = Field(ge=0)


class ServeSettings(Section):
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


class KafkaSettings(Section):
    bootstrap: str
    security: Literal["plaintext", "tls", "sasl_tls", "msk_iam"]
    mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"]
    username_secret: str
    password_secret: str
    ca_file: str
    max_per_trigger: int = Field(ge=0)
    max_ahead_s: int = Field(ge=0)


class KinesisSettings(Section):
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


class PostgresSettings(Section):
    address: str
    database: str
    user: str
    password_secret: str
    tls: bool


class RedshiftSettings(Section):
    region: str
    endpoint: str
    s3_endpoint: str
    cluster: str
    workgroup: str
    database: str
    db_user: str
    secret_arn: str
    iam_role: str
    staging: str
    kms_key: str
    parallel: bool
    cleanup: Literal["delete", "keep", "keep_on_failure"]
    timeout_s: float = Field(gt=0)


class SalesSettings(Section):
    source: Literal["postgres", "redshift"]
    query_file: str


class CassandraSettings(Section):
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


class StreamSettings(Section):
    update_interval_s: float = Field(ge=0)
    ingest_interval_s: float = Field(ge=0)
    heartbeat_s: float = Field(gt=0)
    metrics_port: int = Field(ge=0, le=65535)
    handover_s: float = Field(gt=0)
    log_level: Literal["info", "warning"]


class EnginesSettings(Section):
    kafka_heap_mb: int = Field(ge=128)
    dynamodb_heap_mb: int = Field(ge=64)
    cassandra_heap_mb: int = Field(ge=256)
